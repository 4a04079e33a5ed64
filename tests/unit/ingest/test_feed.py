"""The end of a feed."""

from __future__ import annotations

import asyncio

import pytest

from streamsd.programs.ingest.chunks import VIDEO, Message
from streamsd.programs.ingest.feed import Feed

_CONFIG, _KEY = b"\x17\x00\x00\x00\x00" + bytes(16), b"\x17\x01\x00\x00\x00" + bytes(16)


def test_a_child_that_does_not_end_is_killed_though_nobody_waits_any_more() -> None:
    async def run() -> int | None:
        command = ["sh", "-c", "exec sleep 600"]
        feed = Feed(command, command)
        for payload in (_CONFIG, _KEY):
            await feed.take(Message(VIDEO, 0, 1, payload))
        child = feed._child
        assert child is not None
        waiting = asyncio.create_task(feed.end())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        async with asyncio.timeout(60):
            return await child.wait()

    assert asyncio.run(run()) == -9
