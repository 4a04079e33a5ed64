"""Lines appended to a file, each exactly once."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streamsd.core.report import JsonValue
from streamsd.flow.outputs import Batch
from streamsd.flow.spec.sinks import FileSink
from streamsd.programs.flow.life import GRACE, Backoff, Life
from streamsd.programs.flow.outlet import Outlet
from streamsd.programs.flow.telling import log

_BUFFER = 256 * 1024
_KEPT = 5


class FileOutlet(Outlet):
    """The position is the file's inode and size, and when it was begun. After a restart the file is cut there: what was
    written after the state was stored is written again. Files are rotated at that moment only, so that a rotation can
    be taken back."""

    closes_within = GRACE

    def __init__(
        self,
        path: Path,
        rotate: int | None,
        keep: int,
        life: Life,
        header: bytes = b"",
        mode: int = 0o644,
        every: float | None = None,
    ) -> None:
        self._path = path
        self._rotate = rotate
        self._keep = keep
        self._life = life
        self._header = header
        self._mode = mode
        self._every = every
        self._since = time.time()
        self._fd = -1
        self._size = 0
        self._buffer: list[bytes] = []
        self._buffered = 0

    @classmethod
    def of(cls, spec: FileSink, base: Path, life: Life, header: bytes) -> FileOutlet:
        rotate = spec.rotate.bytes if spec.rotate else None
        every = spec.rotate_every.seconds if spec.rotate_every else None
        return cls(base / spec.path, rotate, spec.keep or _KEPT, life, header, every=every)

    def start(self, position: Any) -> None:
        backoff = Backoff()
        while True:
            try:
                self._open(position)
                self.fault = ""
                return
            except OSError as fault:
                self.fault = f"{self._path}: {fault.strerror}"
                self._life.pause(backoff.next() or 0.1)

    def _open(self, position: Any) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if position is not None:
            self._take_back_rotation(position[0])
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, self._mode)
        found = os.fstat(self._fd)
        self._size = found.st_size
        if position is not None and found.st_ino == position[0]:
            self._since = position[2]
            if self._size > position[1]:
                os.ftruncate(self._fd, position[1])
                self._size = position[1]
        self._begin()

    def _begin(self) -> None:
        if self._size == 0 and self._header:
            self._write(self._header)

    def _take_back_rotation(self, inode: int) -> None:
        """A rotation that was made just before a crash, after which the state of before counts."""
        first = self._older(1)
        if not first.exists() or first.stat().st_ino != inode:
            return
        os.replace(first, self._path)
        for number in range(2, self._keep + 1):
            if self._older(number).exists():
                os.replace(self._older(number), self._older(number - 1))

    def _older(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def write(self, batch: Batch) -> None:
        self._buffer.append(batch.block)
        self._buffered += len(batch.block)
        if self._buffered >= _BUFFER:
            self._drain()

    def _drain(self) -> None:
        block, self._buffer, self._buffered = b"".join(self._buffer), [], 0
        backoff = Backoff()
        while True:
            try:
                self._look()
                break
            except OSError as fault:
                self.fault = f"{self._path}: {fault.strerror}"
                self._life.pause(backoff.next() or 0.1)
        self._write(block)

    def _write(self, block: bytes) -> None:
        """All of it, at the known size: what a failed attempt left half written is written over."""
        view = memoryview(block)
        backoff = Backoff()
        while view:
            try:
                done = os.pwrite(self._fd, view, self._size)
                self._size += done
                view = view[done:]
                self.fault = ""
            except OSError as fault:
                self.fault = f"{self._path}: {fault.strerror}"
                self._life.pause(backoff.next() or 0.1)

    def flush(self) -> Any:
        if self._buffer:
            self._drain()
        backoff = Backoff()
        while True:
            try:
                os.fdatasync(self._fd)
                if self._due():
                    self._turn()
                self.fault = ""
                return (os.fstat(self._fd).st_ino, self._size, self._since)
            except OSError as fault:
                self.fault = f"{self._path}: {fault.strerror}"
                self._life.pause(backoff.next() or 0.1)

    def _look(self) -> None:
        """Somebody else may have moved the file away, or removed it: what comes next is not for that one."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            found = None
        mine = os.fstat(self._fd)
        if found is not None and (found.st_ino, found.st_dev) == (mine.st_ino, mine.st_dev):
            return
        os.fdatasync(self._fd)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, self._mode)
        log("file-replaced", path=str(self._path), written=self._size)
        os.close(self._fd)
        self._fd, self._size, self._since = fresh, os.fstat(fresh).st_size, time.time()
        self._begin()

    def _due(self) -> bool:
        if self._rotate is not None and self._size >= self._rotate:
            return True
        if self._size <= len(self._header):
            self._since = time.time()
            return False
        return self._every is not None and time.time() - self._since >= self._every

    def _turn(self) -> None:
        for number in range(self._keep, 0, -1):
            source = self._path if number == 1 else self._older(number - 1)
            if source.exists():
                os.replace(source, self._older(number))
        fresh = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, self._mode)
        os.close(self._fd)
        self._fd, self._size, self._since = fresh, 0, time.time()
        self._begin()

    def figures(self) -> Mapping[str, JsonValue]:
        return {"size": self._size + self._buffered}

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
