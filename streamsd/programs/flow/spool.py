"""A spool: messages on the disk between a source that wants them acknowledged soon and a flow that stores its state
once an epoch.

A broker gives only so many unacknowledged messages (mosquitto: 20), so waiting for the epoch would make it slow.
Messages are acknowledged when they are in the spool, and read from it by position: from there on exactly once. What
was written outlives the process; with `sync` the host's sudden death too.
"""

from __future__ import annotations

import os
import re
import struct
import threading
from pathlib import Path
from typing import Any

import msgspec

from streamsd.programs.flow.intake import MOST_AT_ONCE

_SEGMENT = 16 * 1024 * 1024
_MOST_WAITING = 256 * 1024 * 1024
_HEAD = struct.Struct("<I")
_NAME = re.compile(r"^(\d{12})\.spool$")
_BLOCK = 1 << 20


class Spool:
    """One writer and one reader, in two threads. A position is (segment, offset)."""

    def __init__(self, directory: Path, sync: bool) -> None:
        self._directory = directory
        self._sync = sync
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        segments = self._segments()
        # A new segment at each start: the old one's end may be half a record.
        self._write_segment = (segments[-1] if segments else 0) + 1
        self._write_fd = os.open(self._file(self._write_segment), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._written = 0
        self._lock = threading.Lock()
        self._read_segment, self._read_offset = (segments[0] if segments else self._write_segment), 0
        self._read_fd = -1
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(tuple[list[bytes], list[Any] | None]).decode

    def _segments(self) -> list[int]:
        return sorted(int(found[1]) for file in self._directory.iterdir() if (found := _NAME.match(file.name)))

    def _file(self, segment: int) -> Path:
        return self._directory / f"{segment:012}.spool"

    # --- the writer's side

    def write(self, messages: list[bytes], metas: list[Any] | None) -> None:
        """Append a batch. When this returns it may be acknowledged. OSError when the disk does not take it."""
        if self._written >= _SEGMENT:
            # Before anything is written: what raises has not been taken, and comes again.
            self._turn()
        data = self._encode((messages, metas))
        record = _HEAD.pack(len(data)) + data
        if os.write(self._write_fd, record) != len(record):
            # The disk is full: what was half written is cut off, so that the next record is found.
            os.ftruncate(self._write_fd, self._written)
            raise OSError(28, "no space left for the spool")
        if self._sync:
            os.fdatasync(self._write_fd)
        with self._lock:
            self._written += len(record)

    def _turn(self) -> None:
        """Begin the next segment."""
        fresh = os.open(self._file(self._write_segment + 1), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.close(self._write_fd)
        with self._lock:
            self._write_fd, self._written = fresh, 0
            self._write_segment += 1

    @property
    def full(self) -> bool:
        """Whether the reader is so far behind that no more should be written."""
        return (
            self._write_segment - self._read_segment
        ) * _SEGMENT + self._written - self._read_offset >= _MOST_WAITING

    # --- the reader's side

    def seek(self, position: Any) -> None:
        """Read on from a position; None: from the oldest that is kept."""
        if position is not None:
            segments = [*self._segments(), self._write_segment]
            segment, offset = position
            if segment in segments:
                self._read_segment, self._read_offset = segment, offset
            else:
                self._read_segment, self._read_offset = (
                    next((s for s in segments if s > segment), self._write_segment),
                    0,
                )

    def read(self, most: int) -> list[tuple[list[bytes], list[Any] | None]]:
        """Batches of together about that many messages, or some megabytes; at least one if there is any."""
        out: list[tuple[list[bytes], list[Any] | None]] = []
        left = MOST_AT_ONCE
        while most > 0 and left > 0:
            data = self._block()
            if not data:
                break
            at = 0
            while at + 4 <= len(data) and most > 0:
                (size,) = _HEAD.unpack_from(data, at)
                if at + 4 + size > len(data):
                    break
                batch = self._decode(data[at + 4 : at + 4 + size])
                out.append(batch)
                most -= len(batch[0])
                at += 4 + size
            self._read_offset += at
            left -= at
            if at == 0 and not self._next_segment(data):
                break
        return out

    def _block(self) -> bytes:
        with self._lock:
            if self._read_segment == self._write_segment and self._read_offset >= self._written:
                return b""
        if self._read_fd < 0:
            try:
                self._read_fd = os.open(self._file(self._read_segment), os.O_RDONLY)
            except FileNotFoundError:
                self._next_segment(b"")
                return self._block()
        data = os.pread(self._read_fd, _BLOCK, self._read_offset)
        if len(data) >= 4:
            (size,) = _HEAD.unpack_from(data)
            if size + 4 > len(data) and len(data) == _BLOCK:
                data = os.pread(self._read_fd, size + 4, self._read_offset)
        if not data and self._next_segment(data):
            return self._block()
        return data

    def _next_segment(self, rest: bytes) -> bool:
        """Go on to the next segment, where this one is at its end, or ends in half a record (not acknowledged)."""
        if self._read_segment >= self._write_segment:
            return False
        if self._read_fd >= 0:
            os.close(self._read_fd)
            self._read_fd = -1
        later = [s for s in self._segments() if s > self._read_segment]
        self._read_segment, self._read_offset = (later[0] if later else self._write_segment), 0
        return True

    def position(self) -> tuple[int, int]:
        return self._read_segment, self._read_offset

    def forget(self, position: tuple[int, int]) -> None:
        """Everything before is stored elsewhere: remove the segments that lie wholly before it."""
        for segment in self._segments():
            if segment < position[0]:
                self._file(segment).unlink(missing_ok=True)

    def waiting(self) -> int:
        """Bytes that were not read yet, about."""
        return max(0, (self._write_segment - self._read_segment) * _SEGMENT + self._written - self._read_offset)

    def close(self) -> None:
        os.close(self._write_fd)
        if self._read_fd >= 0:
            os.close(self._read_fd)
            self._read_fd = -1
