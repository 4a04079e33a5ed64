"""Lines of a file, from a position that can be gone back to."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streamsd.core.report import JsonValue
from streamsd.flow.pipeline import Chunk
from streamsd.flow.spec.sources import FileSource
from streamsd.programs.flow.intake import Intake
from streamsd.programs.flow.telling import log

_BLOCK = 512 * 1024
_MOST = 5000
_LOOK = 0.5
"""Seconds between two looks for a file that was rotated, or is not there yet."""


class FileIntake(Intake):
    """The position is the file's inode and the offset of the next line. Read with pread, so that nothing is held back:
    what `poll` gave and what the position says are always the same."""

    def __init__(self, spec: FileSource, base: Path, most_message: int) -> None:
        self._path = base / spec.path
        self._follow = spec.follow
        self._most_message = most_message
        self._fd = -1
        self._inode = 0
        self._offset = 0
        self._passing = False
        self._at_end = False
        self._looked = 0.0

    def start(self, position: Any) -> None:
        if position is not None:
            self._inode, self._offset, self._passing = position
        self._open()

    def _open(self) -> None:
        """Open the file of the position: at its name, or where a rotation of our kind has put it."""
        self._looked = time.monotonic()
        try:
            # Without O_NONBLOCK a pipe that nobody writes to would hold the whole flow up.
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as fault:
            self.fault = f"{self._path}: {fault.strerror}"
            return
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            self.fault = f"{self._path} is not a regular file; what a pipe gives is read by the source stdin"
            return
        self.fault = ""
        if self._inode and found.st_ino != self._inode:
            older = self._path.with_name(self._path.name + ".1")
            if self._follow and older.exists() and older.stat().st_ino == self._inode:
                os.close(fd)
                fd = os.open(older, os.O_RDONLY | os.O_CLOEXEC)
                found = os.fstat(fd)
            else:
                # What was not read of the other file is not to be had any more, if there was any.
                log("file-replaced", path=str(self._path), read=self._offset)
                self._offset, self._passing = 0, False
        self._fd, self._inode = fd, found.st_ino
        if found.st_size < self._offset:
            # It was cut and written anew.
            self._offset, self._passing = 0, False

    def poll(self, most: int) -> list[Chunk]:
        if self._fd < 0:
            if time.monotonic() - self._looked >= _LOOK:
                self._open()
            return []
        if self.fault and time.monotonic() - self._looked < _LOOK:
            return []
        self._looked = time.monotonic() if self.fault else self._looked
        try:
            data = os.pread(self._fd, _BLOCK, self._offset)
            lines = self._cut(data, min(most, _MOST)) if data else []
        except OSError as fault:  # of the disk, or of a network's
            self.fault = f"{self._path}: {fault.strerror}"
            return []
        self.fault = ""
        if not data:
            self._end_of_file()
        return [Chunk("", lines)] if lines else []

    def _cut(self, data: bytes, most: int) -> list[bytes]:
        """Whole lines of a block, and the offset after them. A line that is longer than a message may be is cut."""
        at_end = len(data) < _BLOCK
        pieces = data.split(b"\n")
        rest = pieces.pop()
        if not pieces:
            return self._long(rest, at_end)
        if self._passing:
            self._offset += len(pieces.pop(0)) + 1
            self._passing = False
        taken = pieces[:most]
        self._offset += sum(map(len, taken)) + len(taken)
        if b"\r" in data:
            taken = [line[:-1] if line.endswith(b"\r") else line for line in taken]
        return [line for line in taken if line]

    def _long(self, rest: bytes, at_end: bool) -> list[bytes]:
        """A block without the end of a line: the last line of a file, a line that is being written, or a long one."""
        if self._passing:
            self._offset += len(rest)
            return []
        if at_end and not (len(rest) > self._most_message):
            if self._follow and not self._replaced():
                return []
            self._offset += len(rest)
            return [rest.rstrip(b"\r")] if rest.rstrip(b"\r") else []
        if len(rest) > self._most_message:
            self._offset += self._most_message + 1
            self._passing = True
            return [rest[: self._most_message + 1]]
        return self._longer()

    def _longer(self) -> list[bytes]:
        """A message may be longer than a block."""
        data = os.pread(self._fd, self._most_message + 2, self._offset)
        line, found, _ = data.partition(b"\n")
        if found:
            self._offset += len(line) + 1
            return [line]
        if len(line) > self._most_message:
            self._offset += self._most_message + 1
            self._passing = True
            return [line[: self._most_message + 1]]
        if self._follow and not self._replaced():
            return []
        self._offset += len(line)
        return [line]

    def _replaced(self) -> bool:
        """Whether another file stands under the name now, so that ours will not grow any more. Looks now and then."""
        now = time.monotonic()
        if now - self._looked < _LOOK:
            return False
        self._looked = now
        try:
            found = self._path.stat()
        except OSError:
            return False
        if found.st_ino == self._inode and found.st_size < self._offset:
            # It was cut, and is written anew from the beginning.
            self._offset, self._passing = 0, False
        return found.st_ino != self._inode

    def _end_of_file(self) -> None:
        if not self._follow:
            self._at_end = True
        elif self._replaced() and os.fstat(self._fd).st_size <= self._offset:
            os.close(self._fd)
            self._fd, self._offset, self._passing, self._inode = -1, 0, False, 0
            self._open()

    def position(self) -> Any:
        return (self._inode, self._offset, self._passing) if self._inode else None

    def done(self) -> bool:
        return self._at_end

    def figures(self) -> Mapping[str, JsonValue]:
        if self._fd < 0:
            return {}
        size = os.fstat(self._fd).st_size
        return {"offset": self._offset, "size": size, "lag_bytes": max(0, size - self._offset)}

    def left(self) -> int | None:
        try:
            return max(0, os.fstat(self._fd).st_size - self._offset)
        except OSError:
            return None  # it is not there yet, or was closed just now

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
