"""What programs print: stdout and stderr together, into one file a unit, rotated, and cut when it floods.

Inside supervisord. All pipes hang on one epoll descriptor, so that supervisord's own loop, which visits every
descriptor it knows each time round, sees one. Nothing is kept in memory: what is read is written at once or counted
as dropped. The file is opened for each write: it may be moved, removed, or on a disk that is full.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import time
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path

from streamsd.runtime.supervisord.timers import Timer, Timers
from streamsd.runtime.supervisord.wire import LogWire

_CHUNK = 64 * 1024
_FLOOD_PIPE = 1024 * 1024
"""Pipe size of a flooding program: what it can write between two drains without waiting."""
_DRAIN_EVERY = 0.1
_DRAIN_AT_MOST = 4 * 1024 * 1024
"""Bytes thrown away in one go, so that one program cannot hold the loop."""


class Watch:
    """One epoll for many descriptors, itself a member of supervisord's loop (see `plugin`)."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._calls: dict[int, Callable[[], None]] = {}

    def fileno(self) -> int:
        return self._epoll.fileno()

    def add(self, fd: int, call: Callable[[], None]) -> None:
        """`call` whenever the descriptor is readable or its other end has closed."""
        self._calls[fd] = call
        self._epoll.register(fd, select.EPOLLIN)

    def remove(self, fd: int) -> None:
        """Nothing if it is not watched."""
        if self._calls.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def run_ready(self) -> None:
        for fd, _ in self._epoll.poll(0, 256):
            call = self._calls.get(fd)
            if call is None:
                continue
            try:
                call()
            except Exception:
                self.remove(fd)  # or it would fail again at once, for ever
                raise


class LogFile:
    """Appends to one file, 0600, and turns it over at `max_bytes`: `x.log` becomes `x.log.1` and so on to `keep`."""

    def __init__(self, path: Path, policy: LogWire) -> None:
        self._path = str(path)
        self._policy = policy

    def append(self, data: bytes) -> int:
        """The number of bytes written: fewer than given where the disk is full or the directory gone.

        A file is turned over between lines, if it has any.
        """
        written = 0
        try:
            while written < len(data):
                written += self._append_some(data[written:])
        except OSError:
            return written  # counted as dropped by the caller, and said in the log once there is room again
        return written

    def _append_some(self, data: bytes) -> int:
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(fd).st_size
            space = self._policy["max_bytes"] - size
            if len(data) <= space:
                return os.write(fd, data)
            fits = data.rfind(b"\n", 0, max(0, space)) + 1
            if size > 0 and fits == 0:
                self._turn_over()
                return 0
            return os.write(fd, data[: fits or max(1, space)])
        finally:
            os.close(fd)

    def _turn_over(self) -> None:
        for number in range(self._policy["keep"], 0, -1):
            newer = self._path if number == 1 else f"{self._path}.{number - 1}"
            with contextlib.suppress(FileNotFoundError):
                os.replace(newer, f"{self._path}.{number}")
        if self._policy["keep"] == 0:
            Path(self._path).unlink()


class _Read(Enum):
    LOGGED = auto()
    EMPTY = auto()
    FLOOD = auto()
    END = auto()


class LogPipe:
    """The reading end of one program's output.

    A bucket of `rate` bytes fills each second. While it lasts, output is logged as it comes. When it is empty the
    descriptor is no longer watched; ten times a second what has gathered is thrown away without being copied
    (splice to /dev/null) and counted. A flood so costs next to nothing: its writer waits for the pipe instead.
    """

    def __init__(
        self,
        fd: int,
        file: LogFile,
        rate: int,
        watch: Watch,
        timers: Timers,
        sink: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fd = fd
        self._file = file
        self._rate = max(rate, 1024)
        self._watch = watch
        self._timers = timers
        self._sink = sink
        self._clock = clock
        self._tokens = float(self._rate)
        self._filled = clock()
        self._dropped = 0
        self._at_line_start = True
        self._drain: Timer | None = None
        os.set_blocking(fd, False)
        watch.add(fd, self._readable)

    def close(self) -> None:
        """Log what is still in the pipe, within the rate, and let go of it."""
        if self._fd < 0:
            return
        if self._drain is not None:
            self._drain.cancel()
        while self._read_once() is _Read.LOGGED:
            pass
        self._discard()
        self._say_dropped()
        self._watch.remove(self._fd)
        os.close(self._fd)
        self._fd = -1

    def _readable(self) -> None:
        match self._read_once():
            case _Read.FLOOD:
                self._begin_flood()
            case _Read.END:
                self._watch.remove(self._fd)  # every writer has gone; close() comes with the process's end
            case _Read.LOGGED | _Read.EMPTY:
                pass

    def _read_once(self) -> _Read:
        """Log one chunk, if the bucket holds anything."""
        self._fill()
        if self._tokens < 1:
            return _Read.FLOOD
        try:
            data = os.read(self._fd, min(_CHUNK, int(self._tokens)))
        except BlockingIOError:
            return _Read.EMPTY
        if not data:
            return _Read.END
        self._tokens -= len(data)
        self._say_dropped()
        self._append(data)
        return _Read.LOGGED

    def _fill(self) -> None:
        now = self._clock()
        self._tokens = min(float(self._rate), self._tokens + (now - self._filled) * self._rate)
        self._filled = now

    def _begin_flood(self) -> None:
        self._watch.remove(self._fd)
        with contextlib.suppress(OSError):  # a user's quota of pipe memory: the writer waits a little more
            fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, _FLOOD_PIPE)
        self._drain = self._timers.call(_DRAIN_EVERY, self._drain_flood)

    def _drain_flood(self) -> None:
        """Throw away what has gathered; go back to logging when it was little."""
        self._drain = None
        gathered = self._discard()
        self._fill()
        if gathered > self._rate * _DRAIN_EVERY and self._tokens < self._rate * 0.9:
            self._drain = self._timers.call(_DRAIN_EVERY, self._drain_flood)
            return
        self._say_dropped()
        self._watch.add(self._fd, self._readable)

    def _discard(self) -> int:
        gone = 0
        while gone < _DRAIN_AT_MOST:
            try:
                count = os.splice(self._fd, self._sink, _FLOOD_PIPE, flags=os.SPLICE_F_NONBLOCK)
            except BlockingIOError:
                break
            except OSError as fault:
                if fault.errno != errno.EINVAL:
                    raise
                count = len(os.read(self._fd, _CHUNK))  # a file system whose /dev/null cannot be spliced to
            if count == 0:
                break
            gone += count
        self._dropped += gone
        return gone

    def _say_dropped(self) -> None:
        if not self._dropped:
            return
        start = b"" if self._at_line_start else b"\n"
        text = start + f"streamsd: {self._dropped} bytes dropped\n".encode()
        if self._file.append(text) == len(text):
            self._dropped = 0
            self._at_line_start = True

    def _append(self, data: bytes) -> None:
        written = self._file.append(data)
        self._dropped += len(data) - written
        if written:
            self._at_line_start = data[written - 1 : written] == b"\n"
