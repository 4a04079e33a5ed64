"""Lines over TCP: each connection is read as fast as the flow takes it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from streamsd.core.report import JsonValue
from streamsd.flow.spec.sources import TcpSource
from streamsd.programs.flow.ends import Place
from streamsd.programs.flow.intake import Lines, QueueIntake
from streamsd.programs.flow.network import address, server_context


class TcpIntake(QueueIntake):
    """What was read from a connection is the flow's: nothing is acknowledged, and a crash loses what was not stored."""

    def __init__(self, spec: TcpSource, place: Place, most_message: int) -> None:
        super().__init__()
        self._spec = spec
        self._place = place
        self.most_message = most_message
        self.connections: set[_Connection] = set()
        self.refused = 0
        self.inbox.on_room = lambda: place.network.soon(self._resume)

    def start(self, position: Any) -> None:
        self._place.network.spawn(self._listen())

    async def _listen(self) -> None:
        """Listen, and try again while the port is taken."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                context = server_context(self._spec.tls, self._place.base)
                host, port = address(self._spec.listen)
                await loop.create_server(lambda: _Connection(self), host, port, ssl=context, backlog=1024)
                self.fault = ""
                break
            except OSError as fault:
                self.fault = f"cannot listen on {self._spec.listen}: {fault.strerror or fault}"
                await asyncio.sleep(1.0)
        if self._spec.idle is not None:
            await self._reap(self._spec.idle.seconds)

    async def _reap(self, idle: float) -> None:
        while True:
            await asyncio.sleep(min(idle, 1.0))
            limit = time.monotonic() - idle
            for connection in [c for c in self.connections if c.heard < limit and not c.paused]:
                connection.close()

    @property
    def most_connections(self) -> int:
        return self._spec.max_connections

    def _resume(self) -> None:
        for connection in list(self.connections):
            connection.resume()

    def figures(self) -> Mapping[str, JsonValue]:
        return {"waiting": self.inbox.depth, "connections": len(self.connections), "refused": self.refused}


class _Connection(asyncio.Protocol):
    def __init__(self, intake: TcpIntake) -> None:
        self._intake = intake
        self._lines = Lines(intake.most_message)
        self._transport: asyncio.Transport | None = None
        self._meta: dict[str, str] = {}
        self.heard = time.monotonic()
        self.paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        intake = self._intake
        if len(intake.connections) >= intake.most_connections:
            intake.refused += 1
            transport.abort()
            return
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._meta = {"peer": f"{peer[0]}:{peer[1]}"} if peer else {}
        intake.connections.add(self)
        if intake.inbox.full:
            self._pause()

    def data_received(self, data: bytes) -> None:
        self.heard = time.monotonic()
        self._put(self._lines.feed(data))

    def _put(self, lines: list[bytes]) -> None:
        if lines and not self._intake.inbox.put(lines, [self._meta] * len(lines)):
            self._pause()

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._intake.connections:
            self._intake.connections.discard(self)
            self._put(self._lines.end())

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _pause(self) -> None:
        if self._transport is not None and not self.paused and not self._transport.is_closing():
            self._transport.pause_reading()
            self.paused = True

    def resume(self) -> None:
        if self._transport is not None and self.paused:
            self.paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
