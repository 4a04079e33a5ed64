"""A unit's process tree: its main process and whatever that started, setsid or not. Inside supervisord.

With cgroups the kernel keeps the tree. Without, a process belongs to a unit when its environment says so, when it is
in the main process's session, or when it was seen to descend from it; the kernel sends us the orphans (we are their
subreaper), so they can still be seen. What such a tree cannot hold is a process that left its session, cleared its
environment and lost its parent before anyone looked.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from streamsd.runtime.cgroups import Place
from streamsd.runtime.procfs import Process, all_pids, read_environment, read_process
from streamsd.runtime.supervisord.child import Kernel
from streamsd.runtime.supervisord.wire import INSTANCE_VARIABLE, UNIT_VARIABLE

_PR_SET_CHILD_SUBREAPER = 36
_FRESH = 0.005
"""Seconds a look at /proc serves: many units that end together share one."""


class Tree(Protocol):
    def members(self) -> list[int]:
        """Everything alive in it, the main process included."""
        ...

    def kill(self) -> None:
        """SIGKILL to all of it."""
        ...


@dataclass(frozen=True, slots=True)
class GroupTree:
    """A tree that is a control group."""

    place: Place

    def members(self) -> list[int]:
        return self.place.members()

    def kill(self) -> None:
        self.place.kill()


class Scanner:
    """Looks at /proc, and remembers what each process's environment said."""

    def __init__(self, instance: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._instance = instance
        self._clock = clock
        self._own = os.getpid()
        self._units: dict[tuple[int, float], str] = {}
        self._seen: list[tuple[Process, str]] = []
        self._at = -1.0

    def look(self) -> list[tuple[Process, str]]:
        """Every living process with the unit it says it belongs to, or an empty text."""
        if self._clock() - self._at < _FRESH:
            return self._seen
        seen: list[tuple[Process, str]] = []
        units: dict[tuple[int, float], str] = {}
        for pid in all_pids():
            process = read_process(pid)
            if process is None or process.state in "ZX":
                continue
            key = (pid, process.started)
            unit = self._units.get(key)
            if unit is None:
                environment = read_environment(pid)
                ours = environment.get(INSTANCE_VARIABLE) == self._instance
                unit = environment.get(UNIT_VARIABLE, "") if ours else ""
            # Between fork and exec a child of ours still shows our own environment: ask it again next time.
            if unit or process.parent != self._own:
                units[key] = unit
            seen.append((process, unit))
        self._units, self._seen, self._at = units, seen, self._clock()
        return seen


class TaggedTree:
    """A tree known by its marks."""

    def __init__(self, scanner: Scanner, unit: str, main: int) -> None:
        self._scanner = scanner
        self._unit = unit
        self._main = main
        self._known: set[tuple[int, float]] = set()

    def members(self) -> list[int]:
        seen = self._scanner.look()
        found = {
            process.pid
            for process, unit in seen
            if unit == self._unit
            or self._main in (process.session, process.pid)
            or (process.pid, process.started) in self._known
        }
        grown = True
        while grown:
            heirs = {p.pid for p, _ in seen if p.parent in found and p.pid not in found}
            found |= heirs
            grown = bool(heirs)
        self._known = {(p.pid, p.started) for p, _ in seen if p.pid in found}
        return sorted(found)

    def kill(self) -> None:
        kill_each(self.members())


def become_subreaper() -> None:
    """Orphans of our trees come to us instead of init, so that they are reaped and can be found (prctl(2))."""
    Kernel().prctl(_PR_SET_CHILD_SUBREAPER, 1)


def kill_each(pids: Iterable[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue  # gone already; or became another user's, which only a cgroup could hold
