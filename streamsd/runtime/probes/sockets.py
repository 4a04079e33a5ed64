"""Questions that a connection answers. Raw sockets on the loop: a probe is asked often and must cost nearly nothing."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from streamsd.runtime.probes.answer import Answer

_LONGEST_ANSWER = 1 << 16


async def connect_unix(path: str | bytes) -> socket.socket:
    """A connection to a unix socket; the caller closes it. OSError when it is refused."""
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        await asyncio.get_running_loop().sock_connect(peer, path)
        peer.getpeername()  # a full backlog is EAGAIN, which asyncio takes for "under way" and then for connected
    except BaseException:
        peer.close()
        raise
    return peer


async def receive(peer: socket.socket, count: int) -> bytes:
    """Exactly `count` bytes. EOFError when the other side closes first."""
    loop = asyncio.get_running_loop()
    parts: list[bytes] = []
    while count > 0:
        part = await loop.sock_recv(peer, count)
        if not part:
            raise EOFError("the connection was closed")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


class TcpAccepts:
    """A TCP connection is accepted."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    async def put(self, pid: int) -> Answer:
        _, writer = await asyncio.open_connection(self._host, self._port)
        writer.close()
        return Answer(True, f"port {self._port} accepts")


class UnixAccepts:
    """A connection to a unix socket is accepted."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    async def put(self, pid: int) -> Answer:
        (await connect_unix(self._path)).close()
        return Answer(True, "accepts")


class SocketTalks:
    """What is asked over a unix socket is answered. A process that is stopped accepts connections all the same: the
    kernel does that for it."""

    def __init__(self, path: Path, ask: str, answer: str) -> None:
        self._path = str(path)
        self._ask = ask.encode()
        self._answer = answer.encode()

    async def put(self, pid: int) -> Answer:
        loop = asyncio.get_running_loop()
        with await connect_unix(self._path) as peer:
            await loop.sock_sendall(peer, self._ask)
            said = b""
            while self._answer not in said and len(said) < _LONGEST_ANSWER:
                part = await loop.sock_recv(peer, _LONGEST_ANSWER)
                if not part:
                    break
                said += part
        return Answer(True, "answers") if self._answer in said else Answer(False, "answers something else")
