"""Reading processes' log files: the last lines, and what comes after them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

_BLOCK = 64 * 1024
_MOST = 8 * 1024 * 1024
"""The most that is read back from one file for the last lines, in bytes."""
_LINE = 64 * 1024
"""A longer line is cut here, in bytes: a program that writes no newline must not fill the memory."""
_EVERY = 0.25
"""Seconds between looks at the files while following."""

Line = tuple[str, str]
"""(role, line without its newline)."""


def last_lines(path: Path, count: int) -> tuple[list[str], int]:
    """The last `count` whole or unfinished lines, with the offset after them. A file that is not there has none.

    Where the newest file has too few, the one rotated before it (`NAME.1`) adds its own.
    """
    lines, end = _tail(path, count)
    if len(lines) < count:
        older, _ = _tail(path.with_name(path.name + ".1"), count - len(lines))
        lines = older + lines
    return lines, end


def _tail(path: Path, count: int) -> tuple[list[str], int]:
    try:
        file = path.open("rb")
    except OSError:
        return [], 0
    with file:
        end = file.seek(0, os.SEEK_END)
        start, data = end, b""
        while start > 0 and data.count(b"\n") <= count and len(data) < _MOST:
            step = min(_BLOCK, start)
            start -= step
            file.seek(start)
            data = file.read(step) + data
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [_text(line) for line in lines[-count:]] if count else [], end


def _text(line: bytes) -> str:
    return line[:_LINE].decode("utf-8", "replace").rstrip("\r")


@dataclass
class _Followed:
    """One file being followed; `rest` is a line that has no end yet."""

    role: str
    path: Path
    offset: int
    file: BufferedReader | None = None
    rest: bytes = b""

    def new_lines(self) -> list[str]:
        """What was written since the last call, over a rotation or truncation too."""
        lines: list[str] = []
        if self.file is None and not self._open():
            return lines
        lines += self._read()
        if self._moved():
            lines += self._read()  # what came between reading and rotating
            self.close()
            self.offset = 0
            if self._open():
                lines += self._read()
        return lines

    def _open(self) -> bool:
        try:
            self.file = self.path.open("rb")
        except OSError:
            return False
        self.file.seek(self.offset)
        return True

    def _read(self) -> list[str]:
        assert self.file is not None
        data = self.rest + self.file.read(_MOST)
        *whole, self.rest = data.split(b"\n")
        if len(self.rest) > _LINE:
            whole.append(self.rest)
            self.rest = b""
        return [_text(line) for line in whole]

    def _moved(self) -> bool:
        assert self.file is not None
        held = os.fstat(self.file.fileno())
        try:
            now = self.path.stat()
        except OSError:
            return False  # between the two renames of a rotation, or deleted: wait for the next look
        return (held.st_dev, held.st_ino) != (now.st_dev, now.st_ino) or now.st_size < self.file.tell()

    def close(self) -> None:
        if self.file:
            self.file.close()
            self.file = None


async def read(files: Sequence[tuple[str, Path]], lines: int) -> AsyncIterator[Line]:
    """The last lines of each file, one file after the other."""
    for role, path in files:
        found, _ = await asyncio.to_thread(last_lines, path, lines)
        for line in found:
            yield role, line


async def follow(files: Callable[[], Sequence[tuple[str, Path]]], lines: int) -> AsyncIterator[Line]:
    """The last lines of each file, then every line that is written; processes that come later are followed too.

    `files` is asked again at every look. Endless: close the iterator to stop.
    """
    followed: dict[tuple[str, Path], _Followed] = {}
    try:
        for role, path in files():
            found, end = await asyncio.to_thread(last_lines, path, lines)
            followed[role, path] = _Followed(role, path, end)
            for line in found:
                yield role, line
        while True:
            for role, path in files():
                one = followed.setdefault((role, path), _Followed(role, path, 0))
                for line in one.new_lines():
                    yield role, line
            await asyncio.sleep(_EVERY)
    finally:
        for one in followed.values():
            one.close()
