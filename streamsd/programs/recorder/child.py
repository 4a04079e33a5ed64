"""The ffmpeg that copies from the relay into segments."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def arguments(ffmpeg: str, directory: Path, seconds: float, serial: int) -> list[str]:
    """Segments are named `<serial>-<number>.mkv`; each finished one is a line on stdout. (Names with the time would be
    the same for two that begin in one second, as they do while ffmpeg catches up, and one would overwrite the other.)

    A cluster a second at most, flushed at once: what a crash loses is about a second.
    """
    return [
        *(ffmpeg, "-hide_banner", "-loglevel", "error", "-nostdin", "-f", "nut", "-i", "pipe:0"),
        *("-map", "0", "-c", "copy", "-f", "segment", "-segment_format", "matroska"),
        *("-segment_time", f"{seconds:g}", "-reset_timestamps", "1"),
        *("-segment_format_options", "cluster_time_limit=1000:flush_packets=1"),
        *(
            "-segment_list",
            "pipe:1",
            "-segment_list_type",
            "csv",
            f"{directory}/".replace("%", "%%") + f"{serial}-%d.mkv",
        ),
    ]


class Child:
    """One run of it, since `started` (monotonic). `complaints` are its newest lines on stderr."""

    def __init__(self, process: asyncio.subprocess.Process, source: socket.socket) -> None:
        self.process = process
        self._source = source
        self.started = time.monotonic()
        self.complaints: deque[str] = deque(maxlen=20)
        self._listening = asyncio.ensure_future(self._listen())

    @classmethod
    async def start(cls, argv: list[str], source: socket.socket) -> Child:
        """`source` is connected to the relay; ffmpeg reads it as its stdin. OSError when it cannot be started."""
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=source.fileno(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # A group of its own: whoever stops the recorder's group leaves finishing the segment to the recorder.
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        return cls(process, source)

    async def finished(self) -> AsyncIterator[str]:
        """Names of segments as they are finished, until the child ends."""
        assert self.process.stdout
        async for line in self.process.stdout:
            # name,start,end: the name holds no comma, it is ours
            yield line.decode().split(",", 1)[0].strip().strip('"')
        await self.process.wait()
        await self._listening

    def finish(self) -> None:
        """Let it come to the end of what it reads: it then finishes the segment as it should. (A signal would leave it
        waiting for a frame, and a second signal leaves the segment without its end.)"""
        with contextlib.suppress(OSError):
            self._source.shutdown(socket.SHUT_RD)

    async def end(self, grace: float) -> None:
        """Let it finish, and kill it when it does not in time."""
        self.finish()
        try:
            await asyncio.wait_for(self.process.wait(), grace)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()

    async def _listen(self) -> None:
        assert self.process.stderr
        async for line in self.process.stderr:
            said = line.decode("utf-8", "replace").rstrip()
            self.complaints.append(said)
            print(said, file=sys.stderr, flush=True)


def _die_with_parent() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
