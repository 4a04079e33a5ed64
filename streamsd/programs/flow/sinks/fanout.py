"""Results to everybody who is connected: WebSocket, and Server-Sent Events for browsers."""

from __future__ import annotations

import asyncio
import hmac
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import h11

from streamsd.core.report import JsonValue
from streamsd.core.secret import Secret
from streamsd.flow.outputs import Batch
from streamsd.flow.spec.sinks import FanOut, GrpcSink, WebsocketSink
from streamsd.programs.flow.ends import Place
from streamsd.programs.flow.network import address, server_context
from streamsd.programs.flow.outlet import Outlet
from streamsd.programs.flow.parcels import pieces, size_of

_BEHIND = 1024 * 1024
"""Bytes that may wait for a reader when more results come; who is slower loses results, and those are counted. As much
of the newest is kept for those who come later."""
_MOST_AT_ONCE, _MOST_TOGETHER = 8 * 1024 * 1024, 64 * 1024 * 1024
"""Bytes that may wait for a reader while results come all at once, and for all readers together, where they have more
than `_BEHIND` each."""
_MOST_SPREADING = 8 * 1024 * 1024
"""Bytes that may wait for the network's thread: it is not the readers that are waited for then, but the host."""


def _split(target: str) -> tuple[str, str]:
    """(path, query) of what a client asks for; both empty where it is no address."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return "", ""
    return parts.path, parts.query


def allowed(token: Secret | None, target: str, authorization: str) -> bool:
    """Whether a client may read: a browser's EventSource and WebSocket can send a token only in the address."""
    if token is None:
        return True
    given = parse_qs(_split(target)[1]).get("token", [""])[0]
    wanted = token.reveal().encode()
    bearer = authorization.removeprefix("Bearer ").encode() if authorization.startswith("Bearer ") else b""
    return hmac.compare_digest(bearer, wanted) or hmac.compare_digest(given.encode(), wanted)


class Backlog:
    """The newest results: at most so many, and no more of them than may wait for a reader."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: deque[bytes] = deque()
        self._bytes = 0

    def add(self, items: Sequence[bytes]) -> None:
        for item in items[-self._most :] if self._most else ():
            self._items.append(item)
            self._bytes += len(item)
            while len(self._items) > self._most or (self._bytes > _BEHIND and len(self._items) > 1):
                self._bytes -= len(self._items.popleft())

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._items)


class Reader(ABC):
    """Somebody who is connected. Everything here runs in the network's thread."""

    behind = False

    @abstractmethod
    def waiting(self) -> float:
        """Bytes that wait for it; infinite for one that is gone."""

    @abstractmethod
    def send(self, items: Sequence[bytes]) -> None:
        """Hand them on, in order."""

    def give(self, items: Sequence[bytes], first: bool, most: float) -> int:
        """Send a piece of what came at once, the `first` one or another. Returns how many were lost, because the reader
        is too slow, or because more than `most` bytes wait for it."""
        waiting = self.waiting()
        if first:
            self.behind = waiting > _BEHIND
        if self.behind or waiting > most:
            return len(items)
        self.send(items)
        return 0


class FanOutlet(Outlet):
    """Listens as soon as the flow starts. Readers are never waited for."""

    def __init__(self, spec: FanOut | WebsocketSink | GrpcSink, place: Place) -> None:
        self.spec: FanOut | WebsocketSink | GrpcSink = spec
        self.place = place
        self.backlog = Backlog(spec.backlog)
        self._given = self._done = 0
        self._pieces: deque[tuple[bool, Sequence[bytes]]] = deque()
        self._news = asyncio.Event()
        self.readers: set[Any] = set()
        self.lost = 0
        self.refused = 0
        place.network.spawn(self._listen())
        place.network.spawn(self._spread())

    def start(self, position: Any) -> None:
        pass

    async def _listen(self) -> None:
        while True:
            try:
                await self.serve(*address(self.spec.listen or ""))
                self.fault = ""
                return
            except OSError as fault:
                self.fault = f"cannot listen on {self.spec.listen}: {fault.strerror or fault}"
                await asyncio.sleep(1.0)

    @abstractmethod
    async def serve(self, host: str, port: int) -> None:
        """Listen there. OSError when that cannot be."""

    def write(self, batch: Batch) -> None:
        size = size_of(batch.items)
        while self._given > self._done and self._given + size - self._done > _MOST_SPREADING:
            self.place.life.pause(0.001)
        self._given += size
        self.place.network.soon(self._take, batch.items)

    def _take(self, items: Sequence[bytes]) -> None:
        self._pieces += [(not place, piece) for place, piece in pieces(items)]
        self._news.set()

    async def _spread(self) -> None:
        """Piece by piece, so that what came at once can leave meanwhile."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._pieces:
                first, piece = self._pieces.popleft()
                self.backlog.add(piece)
                readers = list(self.readers)
                most = min(_MOST_AT_ONCE, max(_BEHIND, _MOST_TOGETHER // max(1, len(readers))))
                for reader in readers:
                    self.lost += reader.give(piece, first, most)
                self._done += size_of(piece)
                await asyncio.sleep(0)

    def flush(self) -> Any:
        while self._done < self._given:
            self.place.life.pause(0.001)
        return None

    def figures(self) -> Mapping[str, JsonValue]:
        return {"readers": len(self.readers), "lost": self.lost, "refused": self.refused}


class SseOutlet(FanOutlet):
    def __init__(self, spec: FanOut, place: Place) -> None:
        self._path = spec.path
        super().__init__(spec, place)

    async def serve(self, host: str, port: int) -> None:
        context = server_context(self.spec.tls, self.place.base)
        await asyncio.start_server(self._client, host, port, ssl=context, backlog=256)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._answer(reader, writer)
        except (OSError, h11.ProtocolError, TimeoutError):
            pass  # a reader that went away, or that speaks something else
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        while (event := connection.next_event()) is h11.NEED_DATA:
            connection.receive_data(await asyncio.wait_for(reader.read(65536), 15))
        if not isinstance(event, h11.Request):
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        target = event.target.decode("latin-1")
        status = 200
        if _split(target)[0] != self._path:
            status = 404
        elif not allowed(self.spec.token, target, headers.get("authorization", "")):
            status = 401
        elif len(self.readers) >= self.spec.max_connections:
            self.refused += 1
            status = 503
        if status != 200:
            writer.write(f"HTTP/1.1 {status} No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
            await writer.drain()
            return
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\n"
            b"access-control-allow-origin: *\r\nconnection: close\r\n\r\n"
        )
        one = _SseReader(writer)
        one.send(list(self.backlog))
        self.readers.add(one)
        try:
            # A comment now and then finds out who is gone.
            while not writer.is_closing():
                try:
                    if not await asyncio.wait_for(reader.read(1024), 15):
                        return
                except TimeoutError:
                    writer.write(b": \n\n")
        finally:
            self.readers.discard(one)


class _SseReader(Reader):
    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    def waiting(self) -> float:
        return math.inf if self._writer.is_closing() else self._writer.transport.get_write_buffer_size()

    def send(self, items: Sequence[bytes]) -> None:
        self._writer.write(b"".join(b"data: " + item.replace(b"\n", b"\ndata: ") + b"\n\n" for item in items))


class WebsocketOutlet(FanOutlet):
    def __init__(self, spec: WebsocketSink, binary: bool, place: Place) -> None:
        self.binary = binary
        self._path = spec.path
        super().__init__(spec, place)

    async def serve(self, host: str, port: int) -> None:
        import picows

        outlet = self
        kind = picows.WSMsgType.BINARY if self.binary else picows.WSMsgType.TEXT

        class _WebsocketReader(Reader, picows.WSListener):
            def on_ws_connected(self, transport: Any) -> None:
                self.transport = transport
                self.send(list(outlet.backlog))
                outlet.readers.add(self)

            def on_ws_disconnected(self, transport: Any) -> None:
                outlet.readers.discard(self)

            def on_ws_frame(self, transport: Any, frame: Any) -> None:
                if frame.msg_type == picows.WSMsgType.CLOSE:
                    transport.disconnect()

            def waiting(self) -> float:
                under = self.transport.underlying_transport
                return math.inf if under.is_closing() else under.get_write_buffer_size()

            def send(self, items: Sequence[bytes]) -> None:
                for item in items:
                    self.transport.send(kind, item)

        def admit(request: Any) -> Any:
            target = request.path.decode("latin-1") if isinstance(request.path, bytes) else str(request.path)
            authorization = str(request.headers.get("authorization", ""))
            if _split(target)[0] != self._path or not allowed(self.spec.token, target, authorization):
                return None
            if len(self.readers) >= self.spec.max_connections:
                self.refused += 1
                return None
            return _WebsocketReader()

        context = server_context(self.spec.tls, self.place.base)
        await picows.ws_create_server(admit, host, port, enable_auto_ping=True, ssl=context, max_frame_size=65536)
