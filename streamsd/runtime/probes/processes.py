"""Questions that /proc answers."""

from __future__ import annotations

import os
import time
from pathlib import Path

from streamsd.runtime.probes.answer import Answer

_TICKS = os.sysconf("SC_CLK_TCK")


def started_at(pid: int) -> float | None:
    """When the process started, in seconds on the boot clock; None when it is gone or a zombie.

    Field 22 of /proc/PID/stat (proc(5)); the name in field 2 may hold spaces and brackets, so fields count from the
    last bracket.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19]) / _TICKS


def lived(pid: int) -> float | None:
    """Seconds since the process started; None when it is gone."""
    started = started_at(pid)
    return None if started is None else time.clock_gettime(time.CLOCK_BOOTTIME) - started


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
