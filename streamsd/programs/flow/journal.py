"""A shard's state beside Bytewax's store: its newest whole form and all that was applied since, in one file.

Bytewax stores the state of a shard whole, once an epoch; with 150,000 keys in each of 64 shards that would take
seconds. A journal costs what changed. A record is written before it takes effect, and applying it again gives the same
state to the last bit. The state in Bytewax's store is then the file's name and its length: what lies behind it belongs
to no epoch, and is cut off.
"""

from __future__ import annotations

import os
import zlib
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from struct import Struct

from streamsd.programs.flow.durable import StateDamaged, sync_directory

_HEAD = Struct("<II")
"""Of a record: its length and its CRC-32."""
_WRITERS = 8
_TOGETHER = 8
"""Files that one writer syncs: to hand each over by itself costs the flow's thread 2 ms."""


class Journal:
    """One file. The first record is a whole state, the others are changes."""

    def __init__(self, path: Path, fd: int, length: int) -> None:
        self.path = path
        self.length = length
        self._fd = fd
        self._waiting: list[bytes] = []

    @classmethod
    def begin(cls, path: Path, state: bytes) -> Journal:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        made = cls(path, fd, 0)
        made.add(state)
        return made

    @classmethod
    def resume(cls, path: Path, length: int) -> tuple[Journal, list[bytes]]:
        """Open one as it was at that length. Returns it and its records. StateDamaged when it is shorter or other."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise StateDamaged(f"{path} is missing: the windows it holds are lost") from None
        try:
            with open(fd, "rb", closefd=False) as file:
                records = list(_records(file.read(length), length, path))
            os.ftruncate(fd, length)
            os.lseek(fd, length, os.SEEK_SET)
        except BaseException:
            os.close(fd)
            raise
        return cls(path, fd, length), records

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
        raise StateDamaged(f"{path} ends at byte {len(data)} of {length}: the windows it holds are lost")
    while at < length:
        whole = at + _HEAD.size <= length
        size, check = _HEAD.unpack_from(data, at) if whole else (0, 0)
        record = data[at + _HEAD.size : at + _HEAD.size + size]
        if not whole or len(record) != size or zlib.crc32(record) != check:
            raise StateDamaged(f"{path} is damaged at byte {at}: the windows it holds are lost")
        yield record
        at += _HEAD.size + size


class JournalRoom:
    """The journals of a process. Files are synced side by side, and waited for once, with the sinks' own state."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._pool = ThreadPoolExecutor(_WRITERS, thread_name_prefix="journal")
        self._unsynced: list[Journal] = []
        self._syncing: list[Future[None]] = []
        self._new = False
        """A file was made whose name may not be on the disk."""
        self._compacted = False
        self._opened: list[Journal] = []
        self._before: dict[int, list[Path]] | None = None

    def begin(self, shard: int, number: int, state: bytes) -> Journal:
        if not self.directory.exists():
            self.directory.mkdir(mode=0o700)
            sync_directory(self.directory.parent)
        self._new = True
        return self._held(Journal.begin(self.directory / f"{shard}-{number}.journal", state))

    def resume(self, name: str, length: int) -> tuple[Journal, list[bytes]]:
        """See `Journal.resume`."""
        journal, records = Journal.resume(self.directory / name, length)
        return self._held(journal), records

    def _held(self, journal: Journal) -> Journal:
        self._opened = [*(one for one in self._opened if not one.closed), journal]
        return journal

    def sweep(self, shard: int, keep: str | None) -> int:
        """Remove the files that a shard had when the process began, but that one. Returns a number greater than
        theirs."""
        number = 0
        for path in self._found().pop(shard, ()):
            number = max(number, int(path.stem.rpartition("-")[2]) + 1)
            if path.name != keep:
                path.unlink(missing_ok=True)
        return number

    def _found(self) -> dict[int, list[Path]]:
        """What was there at the start, looked at once: 64 looks at 64 files are a pause."""
        if self._before is None:
            self._before = defaultdict(list)
            for path in self.directory.glob("*-*.journal"):
                self._before[int(path.stem.partition("-")[0])].append(path)
        return self._before

    def sync(self, journal: Journal) -> None:
        self._unsynced.append(journal)
        if len(self._unsynced) == _TOGETHER:
            self._begin_sync()

    def _begin_sync(self) -> None:
        journals, self._unsynced = self._unsynced, []
        if journals:
            self._syncing.append(self._pool.submit(_sync, journals))

    def may_compact(self) -> bool:
        """Once an epoch, so that not all shards write themselves anew at the same time."""
        first, self._compacted = not self._compacted, True
        return first

    def settle(self) -> None:
        """Wait for what is being synced: an epoch ends. OSError when the disk failed."""
        self._compacted = False
        self._begin_sync()
        if self._new:
            self._new = False
            self._syncing.append(self._pool.submit(sync_directory, self.directory))
        syncing, self._syncing = self._syncing, []
        for one in syncing:
            one.result()

    def close(self) -> None:
        self._pool.shutdown()
        for journal in self._opened:
            journal.close()


def _sync(journals: list[Journal]) -> None:
    for journal in journals:
        journal.sync()
