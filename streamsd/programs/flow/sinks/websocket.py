"""Messages to a WebSocket server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import picows

from streamsd.core.report import JsonValue
from streamsd.flow.outputs import Batch
from streamsd.flow.spec.sinks import WebsocketSink
from streamsd.programs.flow.ends import Place
from streamsd.programs.flow.life import Backoff
from streamsd.programs.flow.network import client_context
from streamsd.programs.flow.outlet import Outlet
from streamsd.programs.flow.parcels import pieces

_MOST_BUFFERED = 1024 * 1024
"""Bytes that may wait for the server; beyond, the flow waits."""


class WebsocketClientOutlet(Outlet):
    """WebSockets acknowledge nothing: what was on the way when a connection broke is lost. While there is no server the
    flow waits."""

    def __init__(self, spec: WebsocketSink, binary: bool, place: Place) -> None:
        self._spec = spec
        self._place = place
        self._kind = picows.WSMsgType.BINARY if binary else picows.WSMsgType.TEXT
        self._transport: Any = None
        self._settled = threading.Event()
        self._ok = False
        self._sent = 0

    def start(self, position: Any) -> None:
        self._place.network.spawn(self._stay_connected())

    async def _stay_connected(self) -> None:
        backoff = Backoff(0.2, 3.0)
        spec, url = self._spec, self._spec.url or ""
        headers = {"Authorization": f"Bearer {spec.token.reveal()}"} if spec.token else None
        while True:
            await asyncio.sleep(backoff.next())
            try:
                context = client_context(spec.tls, self._place.base)
                transport, _ = await picows.ws_connect(
                    _Listener, url, ssl_context=context, extra_headers=headers, enable_auto_ping=True
                )
                self._transport = transport
                self.fault = ""
                backoff.reset()
                await transport.wait_disconnected()
                self.fault = f"{url}: the connection is lost"
            except (OSError, picows.WSError, TimeoutError) as fault:
                self.fault = f"{url}: {fault or type(fault).__name__}"
            self._transport = None

    def write(self, batch: Batch) -> None:
        for _, items in pieces(batch.items):
            while not self._handed_over(items):
                self._place.life.pause(0.02)
            self._sent += len(items)

    def _handed_over(self, items: Sequence[bytes]) -> bool:
        """Whether the connection's buffer took them; it is asked in the network's thread."""
        if self._transport is None:
            return False
        self._settled.clear()
        self._place.network.soon(self._hand_over, items)
        while not self._settled.wait(0.2):
            self._place.life.beat += 1
        return self._ok

    def _hand_over(self, items: Sequence[bytes]) -> None:
        transport = self._transport
        under = transport.underlying_transport if transport is not None else None
        self._ok = under is not None and not under.is_closing() and under.get_write_buffer_size() < _MOST_BUFFERED
        if self._ok:
            for item in items:
                transport.send(self._kind, item)
        self._settled.set()

    def flush(self) -> Any:
        return None

    def figures(self) -> Mapping[str, JsonValue]:
        return {"connected": self._transport is not None, "sent": self._sent}

    def close(self) -> None:
        transport = self._transport
        if transport is not None:
            self._place.network.settle(_leave(transport))


async def _leave(transport: Any) -> None:
    """The closing handshake, once everything before it is sent."""
    transport.send_close(picows.WSCloseCode.OK)
    await transport.wait_disconnected()


class _Listener(picows.WSListener):
    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        """What the server says is not asked for; when it closes, so do we."""
        if frame.msg_type == picows.WSMsgType.CLOSE:
            transport.disconnect()
