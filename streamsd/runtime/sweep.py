"""What an earlier runtime of this instance left behind, found and ended before a new one starts anything.

supervisord that is killed takes its direct children along (their parent-death signal); what those had started lives
on without a parent. It is found by its control group where there are any, and by its environment everywhere.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from streamsd.core.runtime import RuntimeFault
from streamsd.runtime import cgroup_files, cgroups
from streamsd.runtime.procfs import all_pids, ancestors, is_alive, read_environment
from streamsd.runtime.supervisord.wire import INSTANCE_VARIABLE, RUNTIME_VARIABLE

_PATIENCE = 20.0


def sweep(instance: str, record: Path) -> int:
    """Kill every process of the instance, supervisord included, and take its control groups away.

    `record`: where the plugin noted its groups. Returns how many were killed. RuntimeFault SweepFailed when something
    survives SIGKILL. Blocks for as long as they take to die.
    """
    killed: set[int] = set()
    until = time.monotonic() + _PATIENCE
    bases = _bases(instance, record)
    while True:
        # supervisord first, or it would report deaths and tidy up under our hands.
        found = [*_tagged(instance, RUNTIME_VARIABLE), *_tagged(instance, INSTANCE_VARIABLE)]
        for base in bases:
            for place in cgroups.places_in(base):
                found.extend(place.members())
                place.kill()
        for pid in found:
            _kill(pid)
        killed.update(found)
        if not found:
            break
        if time.monotonic() > until:
            raise RuntimeFault("SweepFailed", f"processes of an earlier runtime survive SIGKILL: {found[:10]}")
        time.sleep(0.005)
    for base in bases:
        cgroup_files.remove_tree(base)
    return len(killed)


def _bases(instance: str, record: Path) -> tuple[Path, ...]:
    remembered = cgroups.remembered_bases(record, instance)
    mounts = cgroups.read_mounts()
    here = [mounts.unified, mounts.unified_own, mounts.v1.get("memory"), mounts.v1.get("cpu")]
    guessed = (parent / cgroups.base_name(instance) for parent in here if parent is not None)
    return tuple(dict.fromkeys([*remembered, *(base for base in guessed if base.is_dir())]))


def _tagged(instance: str, variable: str) -> Iterator[int]:
    """Living processes whose environment names the instance; not us, nor what we were started from."""
    spared = ancestors(os.getpid())
    for pid in all_pids():
        if pid not in spared and read_environment(pid).get(variable) == instance and is_alive(pid):
            yield pid


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
