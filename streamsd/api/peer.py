"""Who is at the other end of the socket: only root and the daemon's own user are served."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from dataclasses import dataclass

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_CREDENTIALS = struct.Struct("3i")
"""struct ucred: pid, uid, gid; unix(7), SO_PEERCRED."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The process that connected, as the kernel says it."""

    pid: int
    uid: int
    gid: int


class PeerProtocol(H11Protocol):
    """uvicorn's HTTP protocol, with the peer in each request's scope as `scope["state"]["peer"]`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the parent has it
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        self.app_state = {**self.app_state, "peer": Peer(*_CREDENTIALS.unpack(raw))}


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
