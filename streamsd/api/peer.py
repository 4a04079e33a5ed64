"""Who is at the other end of the socket: only root and the daemon's own user are served, so many at once, and those who
ask for something first."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from dataclasses import dataclass

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_CREDENTIALS = struct.Struct("3i")
"""struct ucred: pid, uid, gid; unix(7), SO_PEERCRED."""

_MOST = 600
"""Connections at once, most of them followers. The daemon has descriptors left then: it reads profiles with them."""
_SILENT = 30.0
"""Seconds until a connection on which nobody has asked for anything is closed."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The process that connected, as the kernel says it."""

    pid: int
    uid: int
    gid: int


class PeerProtocol(H11Protocol):
    """uvicorn's HTTP protocol, with the peer in each request's scope as `scope["state"]["peer"]`. A connection that
    stays silent is closed; one too many takes the place of such a one, or is told that there is none."""

    _silence: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the parent has it
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        self.app_state = {**self.app_state, "peer": Peer(*_CREDENTIALS.unpack(raw))}
        if len(self.connections) > _MOST and not self._in_place_of_a_silent_one():
            transport.write(_too_many())
            transport.close()
            return
        self._silence = self.loop.call_later(_SILENT, self._end_silence)

    def _in_place_of_a_silent_one(self) -> bool:
        """Whether there was one to close: the one that has been silent longest."""
        silent = [
            (other._silence.when(), other)
            for other in self.connections
            if isinstance(other, PeerProtocol) and other._silence is not None and other.cycle is None
        ]
        if silent:
            _, longest = min(silent, key=lambda pair: pair[0])
            longest._silence = None  # it counts until it has gone, and must not be chosen again
            longest.transport.abort()
        return bool(silent)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._silence is not None:
            self._silence.cancel()

    def _end_silence(self) -> None:
        if self.cycle is None:  # no head of a request has come whole
            self.transport.close()


def _too_many() -> bytes:
    message = f"more than {_MOST} connections to the daemon are open"
    body = json.dumps({"error": "too-many-connections", "message": message, "hint": "end some that follow"}).encode()
    head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class OwnerOnly:
    """Refuses everybody but root and the user the daemon runs as. A request without a peer is refused as well."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._allowed = {0, os.geteuid()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        peer = scope.get("state", {}).get("peer")
        if scope["type"] == "http" and not (isinstance(peer, Peer) and peer.uid in self._allowed):
            answer = {
                "error": "forbidden",
                "message": "only root and the user who runs streamsd may use its API",
                "hint": "run the command as that user, or with sudo",
            }
            await JSONResponse(answer, 403)(scope, receive, send)
            return
        await self._app(scope, receive, send)
