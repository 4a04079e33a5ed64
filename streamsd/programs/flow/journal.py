"""A shard's state beside Bytewax's store: its newest whole form and all that was applied since, in one file.

Bytewax stores the state of a shard whole, once an epoch; with 150,000 keys in each of 64 shards that would take
seconds. A journal costs what changed. A record is written before it takes effect, and applying it again gives the same
state to the last bit. The state in Bytewax's store is then the file's name and its length: what lies behind it belongs
to no epoch, and is cut off.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from struct import Struct

_HEAD = Struct("<II")
"""Of a record: its length and its CRC-32."""
_WRITERS = 8


class JournalDamaged(Exception):
    """The journal is not what the stored state says."""


class Journal:
    """One file. The first record is a whole state, the others are changes."""

    def __init__(self, path: Path, fd: int, length: int, base: int) -> None:
        self.path = path
        self.length = length
        self.base = base
        """Bytes of the first record."""
        self._fd = fd
        self._waiting: list[bytes] = []

    @classmethod
    def begin(cls, path: Path, state: bytes) -> Journal:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        made = cls(path, fd, 0, _HEAD.size + len(state))
        made.add(state)
        return made

    @classmethod
    def resume(cls, path: Path, length: int) -> tuple[Journal, list[bytes]]:
        """Open one as it was at that length. Returns it and its records. JournalDamaged when it is shorter or other."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise JournalDamaged(f"{path} is missing: the windows it holds are lost") from None
        try:
            with open(fd, "rb", closefd=False) as file:
                records = list(_records(file.read(length), length, path))
            os.ftruncate(fd, length)
            os.lseek(fd, length, os.SEEK_SET)
        except BaseException:
            os.close(fd)
            raise
        return cls(path, fd, length, _HEAD.size + len(records[0])), records

    def add(self, record: bytes) -> None:
        """Write a record with the next `write`."""
        self._waiting += (_HEAD.pack(len(record), zlib.crc32(record)), record)

    def write(self) -> int:
        """Hand everything to the kernel. Returns the length. OSError when the disk is full."""
        data = memoryview(b"".join(self._waiting))
        self._waiting = []
        while data:
            written = os.write(self._fd, data)
            self.length += written
            data = data[written:]
        return self.length

    def sync(self) -> None:
        """Wait until it lies on the disk."""
        os.fdatasync(self._fd)

    @property
    def closed(self) -> bool:
        return self._fd < 0

    def close(self) -> None:
        if not self.closed:
            os.close(self._fd)
            self._fd = -1


def _records(data: bytes, length: int, path: Path) -> Iterator[bytes]:
    at = 0
    if len(data) < length:
        raise JournalDamaged(f"{path} ends at byte {len(data)} of {length}: the windows it holds are lost")
    while at < length:
        whole = at + _HEAD.size <= length
        size, check = _HEAD.unpack_from(data, at) if whole else (0, 0)
        record = data[at + _HEAD.size : at + _HEAD.size + size]
        if not whole or len(record) != size or zlib.crc32(record) != check:
            raise JournalDamaged(f"{path} is damaged at byte {at}: the windows it holds are lost")
        yield record
        at += _HEAD.size + size


class JournalRoom:
    """The journals of a process. Files are synced side by side, and waited for once, with the sinks' own state."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._pool = ThreadPoolExecutor(_WRITERS, thread_name_prefix="journal")
        self._syncing: list[Future[None]] = []
        self._compacted = False
        self._opened: list[Journal] = []

    def begin(self, shard: str, number: int, state: bytes) -> Journal:
        self.directory.mkdir(mode=0o700, exist_ok=True)
        return self._held(Journal.begin(self.directory / f"{shard}-{number}.journal", state))

    def resume(self, name: str, length: int) -> tuple[Journal, list[bytes]]:
        """See `Journal.resume`."""
        journal, records = Journal.resume(self.directory / name, length)
        return self._held(journal), records

    def _held(self, journal: Journal) -> Journal:
        self._opened = [*(one for one in self._opened if not one.closed), journal]
        return journal

    def sweep(self, shard: str, keep: str | None) -> int:
        """Remove a shard's files but that one. Returns a number greater than theirs."""
        number = 0
        for path in self.directory.glob(f"{shard}-*.journal"):
            number = max(number, int(path.stem.rpartition("-")[2]) + 1)
            if path.name != keep:
                path.unlink()
        return number

    def sync(self, journal: Journal) -> None:
        self._syncing.append(self._pool.submit(journal.sync))

    def may_compact(self) -> bool:
        """Once an epoch, so that not all shards write themselves anew at the same time."""
        first, self._compacted = not self._compacted, True
        return first

    def settle(self) -> None:
        """Wait for what is being synced: an epoch ends. OSError when the disk failed."""
        self._compacted = False
        syncing, self._syncing = self._syncing, []
        for one in syncing:
            one.result()

    def close(self) -> None:
        self._pool.shutdown()
        for journal in self._opened:
            journal.close()
