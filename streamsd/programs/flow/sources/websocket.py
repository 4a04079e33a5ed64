"""WebSocket messages: of a server that we connect to, or of clients that connect to us."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import picows

from streamsd.core.report import JsonValue
from streamsd.flow.spec.sources import WebsocketSource
from streamsd.programs.flow.ends import Place
from streamsd.programs.flow.intake import QueueIntake
from streamsd.programs.flow.life import Backoff
from streamsd.programs.flow.network import address, client_context, server_context

_WHOLE = (picows.WSMsgType.TEXT, picows.WSMsgType.BINARY)
_DATA = (picows.WSMsgType.TEXT, picows.WSMsgType.BINARY, picows.WSMsgType.CONTINUATION)


class WebsocketIntake(QueueIntake):
    """WebSockets acknowledge nothing: a crash loses what was not stored."""

    def __init__(self, spec: WebsocketSource, place: Place, most_message: int) -> None:
        super().__init__()
        self.spec = spec
        self.most_message = most_message
        self._place = place
        self.connections: set[_Listener] = set()
        self.refused = 0
        self.inbox.on_room = lambda: place.network.soon(self._resume)

    def start(self, position: Any) -> None:
        self._place.network.spawn(self._listen() if self.spec.listen else self._stay_connected())

    def _resume(self) -> None:
        for connection in list(self.connections):
            connection.resume()

    async def _listen(self) -> None:
        assert self.spec.listen is not None
        while True:
            try:
                context = server_context(self.spec.tls, self._place.base)
                host, port = address(self.spec.listen)
                most = self.most_message + 1024
                await picows.ws_create_server(
                    self._admit, host, port, enable_auto_ping=True, ssl=context, max_frame_size=most
                )
                self.fault = ""
                return
            except OSError as fault:
                self.fault = f"cannot listen on {self.spec.listen}: {fault.strerror or fault}"
                await asyncio.sleep(1.0)

    def _admit(self, request: Any) -> Any:
        """None is answered 404: an asker without the token need not know that there is something."""
        path = request.path.decode("latin-1") if isinstance(request.path, bytes) else str(request.path)
        if urlsplit(path).path != self.spec.path:
            return None
        if self.spec.token is not None:
            given = str(request.headers.get("authorization", ""))
            if not hmac.compare_digest(given.encode(), f"Bearer {self.spec.token.reveal()}".encode()):
                return None
        if len(self.connections) >= self.spec.max_connections:
            self.refused += 1
            return None
        return _Listener(self)

    async def _stay_connected(self) -> None:
        backoff = Backoff(0.2, 10.0)
        url = self.spec.url or ""
        headers = {"Authorization": f"Bearer {self.spec.token.reveal()}"} if self.spec.token else None
        while True:
            await asyncio.sleep(backoff.next())
            try:
                context = client_context(self.spec.tls, self._place.base)
                transport, _ = await picows.ws_connect(
                    lambda: _Listener(self),
                    url,
                    ssl_context=context,
                    extra_headers=headers,
                    enable_auto_ping=True,
                    max_frame_size=self.most_message + 1024,
                )
                self.fault = ""
                backoff.reset()
                await transport.wait_disconnected()
                self.fault = f"{url}: the connection is lost"
            except (OSError, picows.WSError, TimeoutError) as fault:
                self.fault = f"{url}: {fault or type(fault).__name__}"

    def figures(self) -> Mapping[str, JsonValue]:
        return {"waiting": self.inbox.depth, "connections": len(self.connections), "refused": self.refused}


class _Listener(picows.WSListener):
    """Messages of one read are one batch: they are put when the loop comes round."""

    def __init__(self, intake: WebsocketIntake) -> None:
        self._intake = intake
        self._batch: list[bytes] = []
        self._parts: bytearray | None = None
        """What came of a message in fragments."""
        self._meta: dict[str, str] = {}
        self._transport: Any = None
        self._paused = False
        self._unread = False
        """The other side does not read what we answer."""
        self._loop = asyncio.get_running_loop()

    def on_ws_connected(self, transport: Any) -> None:
        self._transport = transport
        peer = transport.underlying_transport.get_extra_info("peername")
        self._meta = {"peer": f"{peer[0]}:{peer[1]}"} if peer else {}
        self._intake.connections.add(self)
        if self._intake.inbox.full:
            self._pause()

    def on_ws_disconnected(self, transport: Any) -> None:
        self._intake.connections.discard(self)
        self._put()

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        kind = frame.msg_type
        if frame.fin and kind in _WHOLE and self._parts is None:
            self._take(frame.get_payload_as_bytes())
            return
        if kind not in _DATA:
            if kind == picows.WSMsgType.CLOSE:
                transport.send_close(picows.WSCloseCode.OK)
                transport.disconnect()
            return
        if (self._parts is None) == (kind not in _WHOLE):
            # RFC 6455, 5.4: a fragment of nothing, or a message amid the fragments of another.
            self._end(transport, picows.WSCloseCode.PROTOCOL_ERROR)
            return
        if self._parts is None:
            self._parts = bytearray()
        self._parts += frame.get_payload_as_memoryview()
        if len(self._parts) > self._intake.most_message:
            self._end(transport, picows.WSCloseCode.MESSAGE_TOO_BIG)
        elif frame.fin:
            data, self._parts = bytes(self._parts), None
            self._take(data)

    def _end(self, transport: Any, code: picows.WSCloseCode) -> None:
        self._parts = None
        transport.send_close(code)
        transport.disconnect()

    def _take(self, data: bytes) -> None:
        if not self._batch:
            self._loop.call_soon(self._put)
        self._batch.append(data)

    def _put(self) -> None:
        if self._batch:
            batch, self._batch = self._batch, []
            if not self._intake.inbox.put(batch, [self._meta] * len(batch)):
                self._pause()

    def pause_writing(self) -> None:
        # Every ping is answered: one who sends them and never reads would have us keep the answers.
        self._unread = True
        self._pause()

    def resume_writing(self) -> None:
        self._unread = False
        if not self._intake.inbox.full:
            self.resume()

    def _pause(self) -> None:
        under = self._transport.underlying_transport
        if not self._paused and not under.is_closing():
            under.pause_reading()
            self._paused = True

    def resume(self) -> None:
        if self._paused and not self._unread:
            self._paused = False
            under = self._transport.underlying_transport
            if not under.is_closing():
                under.resume_reading()
