"""A running unit's limits: read as they are, and changed in place. Inside supervisord."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterable

from streamsd.runtime.cgroups import Place
from streamsd.runtime.supervisord.wire import Fault, LimitsWire


def measured_limits(pid: int, place: Place | None, asked: LimitsWire) -> LimitsWire:
    """What holds now. A limit that cannot be measured here (no cgroups) is given as it was asked for."""
    try:
        return {
            "memory_bytes": place.memory_limit(asked["memory_bytes"]) if place else asked["memory_bytes"],
            "cpu_percent": place.cpu_limit(asked["cpu_percent"]) if place else asked["cpu_percent"],
            "nice": os.getpriority(os.PRIO_PROCESS, pid),
            "open_files": _open_files(pid, asked["open_files"]),
        }
    except (ProcessLookupError, FileNotFoundError):
        return asked  # it ends right now: its exit is what will be reported


def change_limits(members: Iterable[int], place: Place | None, limits: LimitsWire) -> None:
    """Set memory, cpu and priority of a running tree. Fault LimitRefused when the kernel says no."""
    try:
        if place is not None:
            place.limit_memory(limits["memory_bytes"])
            place.limit_cpu(limits["cpu_percent"])
    except OSError as fault:
        why = "more memory is in use" if fault.errno == errno.EBUSY else fault.strerror
        raise Fault("LimitRefused", f"the limit cannot be set: {why}") from None
    # By process group: the one form of setpriority(2) that reaches every thread.
    for group in sorted({group for pid in members if (group := _group(pid)) > 0}):
        try:
            if os.getpriority(os.PRIO_PGRP, group) != limits["nice"]:
                os.setpriority(os.PRIO_PGRP, group, limits["nice"])
        except ProcessLookupError:
            continue
        except PermissionError as fault:
            raise Fault("LimitRefused", f"the priority cannot be set: {fault.strerror}") from None


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def _open_files(pid: int, asked: int | None) -> int | None:
    if asked is None:
        return None
    try:
        return resource.prlimit(pid, resource.RLIMIT_NOFILE)[0]
    except PermissionError:
        return asked  # another user's process, seen by one who is not root
