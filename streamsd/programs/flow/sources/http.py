"""Messages that clients send with POST or PUT."""

from __future__ import annotations

import asyncio
import hmac
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import h11

from streamsd.core.report import JsonValue
from streamsd.flow.spec.sources import HttpSource
from streamsd.programs.flow.ends import Place
from streamsd.programs.flow.intake import QueueIntake
from streamsd.programs.flow.network import address, server_context

_LINES = ("application/x-ndjson", "application/jsonl", "application/json-lines", "text/csv", "text/plain")
_PATIENCE = 60.0
"""Seconds a client may be silent within a request."""
_SMALL = 64 * 1024
"""Bytes of a body that any client may send at any time."""
_MOST_BODIES = 64 * 1024 * 1024
"""Bytes that larger bodies may come to while they are on the way; further ones are not read on until there is room."""
_SLOWEST = 64 * 1024
"""Bytes a second that a body must come with that others wait for."""


class HttpIntake(QueueIntake):
    """With `respond: stored` a request is answered when its messages are safe: a client that repeats what was not
    answered loses nothing."""

    def __init__(self, spec: HttpSource, place: Place) -> None:
        super().__init__()
        self.spec = spec
        self._place = place
        self.connections = 0
        self.refused = 0
        self.room = asyncio.Event()
        self._bodies = 0
        self._fewer = asyncio.Condition()
        self.inbox.on_room = lambda: place.network.soon(self.room.set)

    def start(self, position: Any) -> None:
        self._place.network.spawn(self._listen())

    async def _listen(self) -> None:
        while True:
            try:
                context = server_context(self.spec.tls, self._place.base)
                host, port = address(self.spec.listen)
                await asyncio.start_server(self._serve, host, port, ssl=context, backlog=1024)
                self.fault = ""
                return
            except OSError as fault:
                self.fault = f"cannot listen on {self.spec.listen}: {fault.strerror or fault}"
                await asyncio.sleep(1.0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.connections >= self.spec.max_connections:
            self.refused += 1
            writer.close()
            return
        self.connections += 1
        try:
            await _Conversation(self, reader, writer).run()
        except (OSError, ssl.SSLError, TimeoutError, h11.ProtocolError, asyncio.IncompleteReadError):
            pass  # a client that went away, or that speaks something else: its connection ends, that is all
        finally:
            self.connections -= 1
            writer.close()

    @asynccontextmanager
    async def large(self, size: int) -> AsyncIterator[None]:
        """For a body of so many bytes: waits until there is room for it, and keeps it meanwhile."""
        async with self._fewer:
            await self._fewer.wait_for(lambda: not self._bodies or self._bodies + size <= _MOST_BODIES)
            self._bodies += size
        try:
            yield
        finally:
            async with self._fewer:
                self._bodies -= size
                self._fewer.notify_all()

    def acknowledge(self, tokens: list[Any]) -> None:
        def answer() -> None:
            for token in tokens:
                if not token.done():
                    token.set_result(None)

        self._place.network.soon(answer)

    def figures(self) -> Mapping[str, JsonValue]:
        return {"waiting": self.inbox.depth, "connections": self.connections, "refused": self.refused}


class _Conversation:
    """One connection: requests one after the other."""

    def __init__(self, intake: HttpIntake, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._intake = intake
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=64 * 1024)
        self._method = b""
        peer = writer.get_extra_info("peername")
        self._peer = f"{peer[0]}:{peer[1]}" if peer else ""

    async def run(self) -> None:
        while True:
            request = await self._next()
            if not isinstance(request, h11.Request):
                return
            await self._request(request)
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    async def _next(self) -> Any:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as fault:
                await self._answer(fault.error_status_hint, str(fault), close=True)
                raise
            if event is not h11.NEED_DATA:
                return event
            if self._http.they_are_waiting_for_100_continue:
                self._writer.write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
            data = await asyncio.wait_for(self._reader.read(1 << 18), _PATIENCE)
            self._http.receive_data(data)

    async def _request(self, request: h11.Request) -> None:
        spec = self._intake.spec
        self._method = request.method
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        refusal = self._refusal(request, headers)
        if refusal:
            await self._answer(*refusal, close=True)
            return
        most = spec.max_body.bytes
        said = headers.get("content-length", "")
        size = min(int(said), most) if said.isdigit() else most
        kind = headers.get("content-type", "").split(";")[0].strip().lower()
        body = bytearray()
        whole = await self._body(body, min(_SMALL, most))
        if whole is None:
            async with self._intake.large(size):
                async with asyncio.timeout(_PATIENCE + size / _SLOWEST):
                    whole = await self._body(body, most)
                token = await self._put(body, kind) if whole else None
        else:
            token = await self._put(body, kind) if whole else None
        if whole is None:
            await self._answer(413, f"a request has at most {most} bytes", close=True)
        elif token is not None:
            await self._taken(*token)

    async def _body(self, body: bytearray, most: int) -> bool | None:
        """Read on. Whether the body is whole; None when it is longer than `most`."""
        while len(body) <= most:
            event = await self._next()
            if isinstance(event, h11.Data):
                body += event.data
            else:
                return isinstance(event, h11.EndOfMessage)
        return None

    def _refusal(self, request: h11.Request, headers: Mapping[str, str]) -> tuple[int, str] | None:
        spec = self._intake.spec
        if request.target.decode("latin-1").partition("?")[0] != spec.path:
            return 404, "no such path"
        if request.method not in (b"POST", b"PUT"):
            return 405, "send messages with POST"
        if "transfer-encoding" in headers and "content-length" in headers:
            # RFC 9112, 6.3: who stands before us may have taken the other one for the length.
            return 400, "a request has one of transfer-encoding and content-length"
        if headers.get("content-encoding", "identity").strip().lower() != "identity":
            return 415, "send messages as they are, without a content-encoding"
        if spec.token is not None:
            given = headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {spec.token.reveal()}".encode()):
                return 401, "the token is missing or wrong"
        return None

    async def _put(self, body: bytearray, kind: str) -> tuple[int, asyncio.Future[None] | None]:
        """Hand the messages of a body over. Returns how many they are, and what is set when they are stored."""
        intake, data = self._intake, bytes(body)
        body.clear()
        messages = [line for line in data.splitlines() if line.strip()] if kind in _LINES else [data] if data else []
        while intake.inbox.full:
            intake.room.clear()
            if not intake.inbox.full:
                break
            await intake.room.wait()
        stored = intake.spec.respond == "stored"
        token = asyncio.get_running_loop().create_future() if stored and messages else None
        if messages:
            intake.inbox.put(messages, [{"peer": self._peer}] * len(messages), token=token)
        return len(messages), token

    async def _taken(self, count: int, stored: asyncio.Future[None] | None) -> None:
        if stored is not None:
            await stored
        await self._answer(200 if self._intake.spec.respond == "stored" else 202, "", taken=count)

    async def _answer(self, status: int, words: str, close: bool = False, taken: int | None = None) -> None:
        body = f'{{"accepted":{taken}}}\n'.encode() if taken is not None else words.encode() + b"\n"
        kind = "application/json" if taken is not None else "text/plain; charset=utf-8"
        headers = [("content-type", kind), ("content-length", str(len(body)))]
        if close:
            headers.append(("connection", "close"))
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        out = self._http.send(h11.Response(status_code=status, headers=headers)) or b""
        if self._method != b"HEAD":
            out += self._http.send(h11.Data(data=body)) or b""
        out += self._http.send(h11.EndOfMessage()) or b""
        self._writer.write(out)
        await self._writer.drain()
