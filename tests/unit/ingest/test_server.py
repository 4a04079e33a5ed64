"""The server's rules, with a publisher of a few bytes: who may publish, and that there is one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from streamsd.programs.ingest import amf, chunks, server
from streamsd.programs.ingest.chunks import Message
from streamsd.programs.ingest.feed import Feed
from streamsd.programs.ingest.server import Ingest, Refused, Settings


class _Writer:
    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    async def drain(self) -> None:
        pass

    def close(self) -> None:
        pass


class _SlowFeed(Feed):
    """One whose ffmpeg takes its time to end."""

    def __init__(self) -> None:
        super().__init__((), ())
        self.moved = float("-inf")
        self.ended = asyncio.Event()

    async def end(self) -> None:
        await self.ended.wait()


def _ingest() -> Ingest:
    return Ingest(Settings("127.0.0.1", 1, "live", "key", "rtmp://127.0.0.1:1/live", (), (), Path("/nowhere")))


def _peer(name: str) -> server._Peer:
    return server._Peer(name, "127.0.0.1", _Writer(), app="live")  # type: ignore[arg-type]  # only written to


async def test_two_who_take_over_at_once_do_not_both_publish() -> None:
    ingest, old, first, second = _ingest(), _peer("old"), _peer("first"), _peer("second")
    old.feed = feed = _SlowFeed()
    ingest._live = old
    publish = Message(chunks.COMMAND, 0, 1, amf.encode("publish", 0.0, None, "key", "live"))
    one = asyncio.ensure_future(ingest._take(first, publish))
    await asyncio.sleep(0)
    assert await ingest._take(second, publish)
    feed.ended.set()
    with pytest.raises(Refused):
        await one
    assert (first.feed is None, ingest._live) == (True, second)


async def test_a_number_that_is_none_is_not_said_back() -> None:
    peer = _peer("any")
    long = b"\x0c\0\x01\x11\x70" + b"a" * 70_000
    await _ingest()._take(peer, Message(chunks.COMMAND, 0, 0, amf.encode("createStream") + long + b"\x05"))
    assert b"_result" in peer.writer.data  # type: ignore[attr-defined]  # a _Writer
