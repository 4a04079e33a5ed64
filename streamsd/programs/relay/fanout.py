"""The readers: each with its own bounded queue, none able to hold up another or the encoder."""

from __future__ import annotations

import itertools
import socket
from collections import deque
from dataclasses import dataclass, field

QUEUE_BYTES = 32 * 1024 * 1024
"""What one reader may be behind. Past it, it loses what is queued and resumes on the next keyframe."""

CACHE_BYTES = 24 * 1024 * 1024
CACHE_PARTS = 6000
"""How much of the running group of pictures is kept for whoever joins (less than a queue holds); a longer one is
joined at its end."""

_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Coded:
    """`frames` frames as they go out, one after another. `start`: a reader may begin with the first of them."""

    data: bytes
    start: bool
    frames: int


@dataclass(slots=True)
class Cache:
    """Everything since the last frame that a reader may begin with."""

    parts: list[Coded] = field(default_factory=list)
    size: int = 0

    def add(self, coded: Coded) -> None:
        if coded.start:
            self.clear()
        elif not self.parts:
            return
        self.parts.append(coded)
        self.size += len(coded.data)
        if self.size > CACHE_BYTES or len(self.parts) > CACHE_PARTS:
            self.clear()

    def clear(self) -> None:
        self.parts = []
        self.size = 0


class Client:
    """One reader. `dropped` counts the frames it lost; `closing`: it gets what is queued, then the end."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.dropped = 0
        self.closing: float | None = None
        self.greeted = False
        self._queue: deque[tuple[bytes | memoryview, int]] = deque()
        self._queued = 0
        self._keep_first = False
        self._waits = True
        self._began = False

    @property
    def behind(self) -> bool:
        """Whether bytes wait for the reader."""
        return bool(self._queue)

    def greet(self, preamble: bytes, cache: Cache) -> None:
        """Begin: headers, then what came since the last keyframe."""
        self.greeted = True
        self._push(preamble, 0)
        self._keep_first = True
        for coded in cache.parts:
            self._waits = False
            self._began = True
            self._push(coded.data, coded.frames)

    def offer(self, coded: Coded) -> None:
        """Take a frame, or lose it: never blocks. OSError when the reader is gone."""
        if self.closing is not None or not self.greeted:
            return
        if self._waits:
            if not coded.start:
                self.dropped += coded.frames if self._began else 0
                return
            self._waits = False
            self._began = True
        if self._queue:
            if self._queued + len(coded.data) > QUEUE_BYTES:
                self._overflow(coded)
                return
            self._push(coded.data, coded.frames)
            return
        sent = _send(self.socket, coded.data)
        if sent < len(coded.data):
            self._push(memoryview(coded.data)[sent:], coded.frames)
            self._keep_first = True

    def _overflow(self, coded: Coded) -> None:
        """Drop what is queued, but for headers and a frame that is partly sent, so that the bytes stay NUT."""
        kept = self._queue.popleft() if self._keep_first else None
        self.dropped += sum(frames for _, frames in self._queue)
        self._queue.clear()
        self._queued = 0
        if kept is not None:
            self._push(*kept)
        if coded.start:
            self._push(coded.data, coded.frames)
        else:
            self._waits = True
            self.dropped += coded.frames

    def _push(self, data: bytes | memoryview, frames: int) -> None:
        self._queue.append((data, frames))
        self._queued += len(data)

    def drain(self) -> None:
        """Send what the socket takes now. OSError when the reader is gone."""
        queue = self._queue
        while queue:
            batch = [data for data, _ in itertools.islice(queue, _AT_ONCE)]
            try:
                sent = self.socket.sendmsg(batch)
            except BlockingIOError:
                return
            self._queued -= sent
            left = sent
            while queue and left >= len(queue[0][0]):
                left -= len(queue.popleft()[0])
                self._keep_first = False
            if left:
                data, frames = queue[0]
                queue[0] = (memoryview(data)[left:], frames)
                self._keep_first = True
            if sent < sum(map(len, batch)):
                return


def _send(sock: socket.socket, data: bytes) -> int:
    try:
        return sock.send(data)
    except BlockingIOError:
        return 0
