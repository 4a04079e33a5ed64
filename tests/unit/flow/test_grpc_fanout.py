"""What one subscriber is sent at once."""

from __future__ import annotations

import asyncio

from streamsd.programs.flow.grpc_frames import read_batch
from tests.programs_needed import need_module


def test_a_batch_is_of_a_size_that_clients_take() -> None:
    need_module("grpc")
    from streamsd.programs.flow.sinks.grpc_fanout import _Reader

    results = [bytes([n]) * 100_000 for n in range(60)]
    results.insert(20, b"-" * 2_000_000)

    async def read() -> list[bytes]:
        reader = _Reader()
        reader.send(results)
        reader.end()
        found = []
        while (batch := await reader.next(500)) is not None:
            messages = read_batch(batch)[1]
            assert len(batch) < 1_050_000 or len(messages) == 1
            found += messages
        return found

    assert asyncio.run(read()) == results
