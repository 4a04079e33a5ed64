"""The ffmpeg that hands a publisher's pictures and sound to the relay: begun at a keyframe, and again when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import signal
import sys
import time
from collections.abc import Sequence

from streamsd.programs.ingest import flv
from streamsd.programs.ingest.chunks import AUDIO, DATA, VIDEO, Message

_PR_SET_PDEATHSIG = 1
_AGAIN = 1.0
"""Seconds from one start to the next at least: a relay that is away is no reason to start ffmpeg at each keyframe."""
_GRACE = 2.0
"""Seconds that ffmpeg has for what it still holds."""


class Feed:
    """One publisher's. `picture`: ffmpeg's command line without sound, `both`: with. `frames` were handed over."""

    def __init__(self, picture: Sequence[str], both: Sequence[str]) -> None:
        self._picture = picture
        self._both = both
        self._info: bytes | None = None
        self._sound_told = False
        self._configs: dict[int, Message] = {}
        self._child: asyncio.subprocess.Process | None = None
        self._started = 0.0
        self.frames = 0
        self.bytes = 0
        self.moved = time.monotonic()

    async def info(self, payload: bytes, *, sound: bool) -> None:
        """What the publisher says of what it will send (onMetaData)."""
        self._info = payload
        self._sound_told = sound

    async def take(self, message: Message) -> None:
        """A message of pictures or sound. MediaFault for what the relay cannot take."""
        if len(message.payload) < 2:
            return
        flv.check(message)
        self.moved = time.monotonic()
        self.bytes += len(message.payload)
        if flv.is_config(message):
            known = self._configs.get(message.type)
            self._configs[message.type] = message
            if self._child is not None and known is not None and known.payload != message.payload:
                await self.end()  # another size, another rate: what follows is another programme
            elif self._child is not None and known is None:
                await self._write(flv.tag(message))
            return
        if self._child is not None and self._child.returncode is not None:
            self._child = None
        if self._child is None:
            if not flv.is_key(message) or VIDEO not in self._configs or time.monotonic() < self._started + _AGAIN:
                return
            await self._begin(message)
        if message.type == VIDEO:
            self.frames += 1
        await self._write(flv.tag(message))

    async def end(self) -> None:
        """Let ffmpeg come to its end."""
        child, self._child = self._child, None
        if child is None:
            return
        assert child.stdin is not None
        child.stdin.close()
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(child.wait(), _GRACE)
        finally:  # whoever waits may be sent away meanwhile: a child that stays would hold the place
            if child.returncode is None:
                child.kill()
        await child.wait()

    async def _begin(self, message: Message) -> None:
        sound = self._sound_told or AUDIO in self._configs
        self._started = time.monotonic()
        self._child = await asyncio.create_subprocess_exec(
            *(self._both if sound else self._picture),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=sys.stderr,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        out = flv.header(sound=sound)
        if self._info is not None:
            out += flv.tag(Message(DATA, message.time, 0, self._info))
        for config in self._configs.values():
            out += flv.tag(Message(config.type, message.time, 0, config.payload))
        await self._write(out)

    async def _write(self, data: bytes) -> None:
        """Into ffmpeg; a full pipe holds up the publisher, which is what TCP is for."""
        child = self._child
        if child is None or child.stdin is None:
            return
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it ended: begun anew at the next keyframe
            child.stdin.write(data)
            await child.stdin.drain()


def _die_with_parent() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
