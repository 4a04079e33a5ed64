"""Batches of messages that clients stream to us over gRPC (schemas/flow.proto)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc  # type: ignore[import-untyped]  # it ships no types

from streamsd.core.report import JsonValue
from streamsd.flow.spec.sources import GrpcSource
from streamsd.programs.flow import grpc_frames, grpc_server
from streamsd.programs.flow.ends import Place
from streamsd.programs.flow.intake import QueueIntake


class _Call:
    """One client's call. `stored`: the id that may be acknowledged; `said`: the one that was."""

    def __init__(self) -> None:
        self.stored = self.said = self.given = 0
        self.news = asyncio.Event()
        self.heard = asyncio.Event()


class GrpcIntake(QueueIntake):
    """A token is (call, id). With `respond: stored` a batch is acknowledged when its messages are safe: a client that
    sends again what was not loses nothing."""

    def __init__(self, spec: GrpcSource, place: Place) -> None:
        super().__init__()
        self._spec = spec
        self._place = place
        self._calls: set[_Call] = set()
        self._refused = 0
        self._room = asyncio.Event()
        self._server: Any = None
        self.inbox.on_room = lambda: place.network.soon(self._room.set)

    def start(self, position: Any) -> None:
        self._place.network.spawn(self._listen())

    async def _listen(self) -> None:
        spec = self._spec
        handler = grpc.stream_stream_rpc_method_handler(
            self._publish, request_deserializer=grpc_frames.read_batch, response_serializer=grpc_frames.ack
        )
        while True:
            try:
                self._server = await grpc_server.listening(
                    spec.listen, spec.tls, self._place.base, grpc_frames.PUBLISH, handler, spec.max_batch.bytes
                )
                self.fault = ""
                return
            except OSError as fault:
                self.fault = f"cannot listen on {spec.listen}: {fault.strerror or fault}"
                await asyncio.sleep(1.0)

    async def _publish(self, batches: AsyncIterator[tuple[int, list[bytes]]], context: Any) -> None:
        await grpc_server.authorize(context, self._spec.token)
        if len(self._calls) >= self._spec.max_connections:
            self._refused += 1
            await grpc_server.refuse(context)
        call = _Call()
        self._calls.add(call)
        saying = asyncio.ensure_future(self._acknowledge_on(call, context))
        try:
            meta = {"peer": context.peer().removeprefix("ipv4:").removeprefix("ipv6:")}
            async for id, messages in batches:
                await self._put(call, id, messages, meta)
            while call.said < call.given:
                # The client has sent everything, and wants to hear of the last of it.
                call.heard.clear()
                await call.heard.wait()
        finally:
            self._calls.discard(call)
            saying.cancel()

    async def _put(self, call: _Call, id: int, messages: list[bytes], meta: dict[str, str]) -> None:
        while self.inbox.full:
            self._room.clear()
            if not self.inbox.full:
                break
            await self._room.wait()
        call.given = max(call.given, id)
        stored = self._spec.respond == "stored"
        # An empty batch too is acknowledged in its turn: that acknowledges those before it.
        self.inbox.put(messages, [meta] * len(messages), token=(call, id) if stored else None)
        if not stored:
            self._may(call, id)

    async def _acknowledge_on(self, call: _Call, context: Any) -> None:
        while True:
            await call.news.wait()
            call.news.clear()
            if call.stored > call.said:
                id = call.stored
                await context.write(id)
                call.said = id
                call.heard.set()

    @staticmethod
    def _may(call: _Call, id: int) -> None:
        call.stored = max(call.stored, id)
        call.news.set()

    def acknowledge(self, tokens: list[Any]) -> None:
        def tell() -> None:
            for call, id in tokens:
                self._may(call, id)

        self._place.network.soon(tell)

    def figures(self) -> Mapping[str, JsonValue]:
        return {"waiting": self.inbox.depth, "connections": len(self._calls), "refused": self._refused}

    def close(self) -> None:
        if self._server is not None:
            # Acknowledgements that are on their way go out first.
            self._place.network.settle(self._server.stop(0.5))
