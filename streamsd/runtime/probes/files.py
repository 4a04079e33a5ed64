"""Questions that files answer: there, growing, or holding a report."""

from __future__ import annotations

import asyncio
import glob
import os
from pathlib import Path

from streamsd.core.report import JsonValue, Report, read_report
from streamsd.runtime.probes.answer import Answer, Movement
from streamsd.runtime.probes.processes import is_of

_LONGEST_LINE = 300


class Exists:
    """The file exists and is not empty."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def put(self, pid: int) -> Answer:
        size = self._path.stat().st_size
        return Answer(size > 0, "is there" if size else f"{self._path} is empty")


class Grows:
    """The newest file that matches moves on; at first: it is not empty and not of an earlier process."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._movement = Movement()

    async def put(self, pid: int) -> Answer:
        # In a thread: the disk of a recording may be slow, remote or hung.
        newest = await asyncio.to_thread(_newest, self._pattern)
        if newest is None:
            return Answer(False, f"no file matches {self._pattern}")
        path, status = newest
        observed: dict[str, JsonValue] = {"file": path, "size_bytes": status.st_size}
        if self._movement.first and (status.st_size == 0 or not is_of(pid, status.st_mtime)):
            return Answer(False, f"nothing written to {path} yet", observed)
        if self._movement.moves((path, status.st_size, status.st_mtime_ns)):
            return Answer(True, "grows", observed)
        return Answer(False, f"{path} has not grown for {self._movement.still():.0f}s", observed)


def _newest(pattern: str) -> tuple[str, os.stat_result] | None:
    found: tuple[str, os.stat_result] | None = None
    for path in glob.iglob(pattern, recursive=True):  # noqa: PTH207 - an absolute pattern, whole
        try:
            status = Path(path).stat()
        except OSError:
            continue  # a segment that was deleted meanwhile
        if found is None or status.st_mtime_ns > found[1].st_mtime_ns:
            found = path, status
    return found


class Reported:
    """The program says that it is ready, and its beat moves on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._movement = Movement()

    async def put(self, pid: int) -> Answer:
        report = read_report(self._path)
        if report is None:
            return Answer(False, "has not reported yet")
        if self._movement.first and not is_of(pid, self._path.stat().st_mtime):
            return Answer(False, "has not reported yet")
        if not report.ready:
            return Answer(False, _words(report, "says that it is not ready"), report.observed)
        if self._movement.moves(report.beat):
            return Answer(True, _words(report, "ready"), report.observed)
        return Answer(False, f"its beat stands still for {self._movement.still():.0f}s", report.observed)


class Uncriticised:
    """Nobody complains; else the first line of the complaint."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def put(self, pid: int) -> Answer:
        try:
            with self._path.open(encoding="utf-8", errors="replace") as file:
                return Answer(False, file.readline(_LONGEST_LINE).strip() or "it hangs")
        except FileNotFoundError:
            return Answer(True, "nobody complains")


def _words(report: Report, otherwise: str) -> str:
    return report.message or report.reason or otherwise
