"""Questions that /proc answers."""

from __future__ import annotations

import time

from streamsd.runtime.probes.answer import Answer
from streamsd.runtime.procfs import read_process


def lived(pid: int) -> float | None:
    """Seconds since the process started; None when it is gone or a zombie."""
    process = read_process(pid)
    if process is None or process.state in "ZX":
        return None
    return time.clock_gettime(time.CLOCK_BOOTTIME) - process.started


def is_of(pid: int, changed: float) -> bool:
    """Whether a file last changed at `changed` (wall clock) can be the work of this process, and not of the one
    before it. A second is allowed for clocks of different grain."""
    age = lived(pid)
    return age is not None and changed >= time.time() - age - 1.0


class Lives:
    """The process has lived so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def put(self, pid: int) -> Answer:
        age = lived(pid)
        if age is None:
            return Answer(False, "the process is gone")
        if age < self._seconds:
            return Answer(False, f"has lived {age:.1f}s of {self._seconds:g}s")
        return Answer(True, "lives")
