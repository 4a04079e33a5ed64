"""Results to everybody who calls Subscribe (schemas/flow.proto)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

import grpc  # type: ignore[import-untyped]  # it ships no types

from streamsd.flow.spec.sinks import GrpcSink
from streamsd.programs.flow import grpc_frames, grpc_server
from streamsd.programs.flow.ends import Place
from streamsd.programs.flow.sinks.fanout import FanOutlet, Reader


class GrpcFanOutlet(FanOutlet):
    """Each reader has a queue of its own, bounded in bytes; gRPC's flow control says when the next batch may go."""

    def __init__(self, spec: GrpcSink, place: Place) -> None:
        self._batch = spec.batch
        self._server: Any = None
        super().__init__(spec, place)

    async def serve(self, host: str, port: int) -> None:
        handler = grpc.unary_stream_rpc_method_handler(self._subscribe)
        spec = self.spec
        assert spec.listen is not None
        self._server = await grpc_server.listening(
            spec.listen, spec.tls, self.place.base, grpc_frames.SUBSCRIBE, handler, None
        )

    async def _subscribe(self, request: bytes, context: Any) -> None:
        await grpc_server.authorize(context, self.spec.token)
        if len(self.readers) >= self.spec.max_connections:
            self.refused += 1
            await grpc_server.refuse(context)
        reader = _Reader()
        reader.send(list(self.backlog))
        self.readers.add(reader)
        try:
            # The client learns that it is in before there is a result.
            await context.send_initial_metadata(())
            while (batch := await reader.next(self._batch)) is not None:
                await context.write(batch)
        finally:
            self.readers.discard(reader)

    def close(self) -> None:
        if self._server is not None:
            self.place.network.settle(self._end())

    async def _end(self) -> None:
        for reader in list(self.readers):
            reader.end()
        await self._server.stop(0.5)


class _Reader(Reader):
    """What waits for one subscriber."""

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._id = 0
        self._lost = 0
        self._ended = False
        self._news = asyncio.Event()

    def waiting(self) -> float:
        return self._bytes

    def send(self, items: Sequence[bytes]) -> None:
        self._waiting.extend(items)
        self._bytes += sum(map(len, items))
        self._news.set()

    def give(self, items: Sequence[bytes], first: bool, most: float) -> int:
        lost = super().give(items, first, most)
        self._lost += lost
        return lost

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._news.set()

    async def next(self, most: int) -> bytes | None:
        """The next batch, of at most so many results and some megabyte; None at the end."""
        while not self._waiting:
            if self._ended:
                return None
            self._news.clear()
            await self._news.wait()
        messages = [self._waiting.popleft()]
        size = len(messages[0])
        while self._waiting and len(messages) < most and size + len(self._waiting[0]) <= grpc_frames.MOST_AT_ONCE:
            messages.append(self._waiting.popleft())
            size += len(messages[-1])
        self._bytes -= size
        self._id += 1
        lost, self._lost = self._lost, 0
        return grpc_frames.batch(self._id, messages, lost)
