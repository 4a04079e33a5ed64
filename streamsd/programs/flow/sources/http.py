"""Messages that clients send with POST or PUT."""

from __future__ import annotations

import asyncio
import hmac
import ssl
from collections.abc import Mapping
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
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        refusal = self._refusal(request, headers)
        if refusal:
            await self._answer(*refusal, close=True)
            return
        body = bytearray()
        while True:
            event = await self._next()
            if isinstance(event, h11.Data):
                body += event.data
                if len(body) > spec.max_body.bytes:
                    await self._answer(413, f"a request has at most {spec.max_body.bytes} bytes", close=True)
                    return
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return
        kind = headers.get("content-type", "").split(";")[0].strip().lower()
        data = bytes(body)
        messages = [line for line in data.splitlines() if line.strip()] if kind in _LINES else [data] if data else []
        await self._take(messages)

    def _refusal(self, request: h11.Request, headers: Mapping[str, str]) -> tuple[int, str] | None:
        spec = self._intake.spec
        if request.target.decode("latin-1").partition("?")[0] != spec.path:
            return 404, "no such path"
        if request.method not in (b"POST", b"PUT"):
            return 405, "send messages with POST"
        if spec.token is not None:
            given = headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {spec.token.reveal()}".encode()):
                return 401, "the token is missing or wrong"
        return None

    async def _take(self, messages: list[bytes]) -> None:
        intake = self._intake
        while intake.inbox.full:
            intake.room.clear()
            if not intake.inbox.full:
                break
            await intake.room.wait()
        stored = intake.spec.respond == "stored"
        token = asyncio.get_running_loop().create_future() if stored and messages else None
        if messages:
            intake.inbox.put(messages, [{"peer": self._peer}] * len(messages), token=token)
        if token is not None:
            await token
        await self._answer(200 if stored else 202, "", taken=len(messages))

    async def _answer(self, status: int, words: str, close: bool = False, taken: int | None = None) -> None:
        body = f'{{"accepted":{taken}}}\n'.encode() if taken is not None else words.encode() + b"\n"
        kind = "application/json" if taken is not None else "text/plain; charset=utf-8"
        headers = [("content-type", kind), ("content-length", str(len(body)))]
        if close:
            headers.append(("connection", "close"))
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        out = self._http.send(h11.Response(status_code=status, headers=headers)) or b""
        out += self._http.send(h11.Data(data=body)) or b""
        out += self._http.send(h11.EndOfMessage()) or b""
        self._writer.write(out)
        await self._writer.drain()
