"""As much of the X11 protocol as asking questions takes: connection setup with a cookie, requests and their replies.

From "X Window System Protocol, version 11" (X.Org), appendix B, the encoding. Little-endian, one request at a time.
It needs no thread and hangs nobody: a caller bounds it with a timeout, which a library that blocks cannot be.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from streamsd.runtime.probes.sockets import connect_unix, receive

COOKIE = b"MIT-MAGIC-COOKIE-1"
_EVENT_MASK, _SUBSTRUCTURE_NOTIFY = 0x800, 0x80000
_DISPLAY = re.compile(r"^:(\d+)(?:\.\d+)?$")


class XFault(OSError):
    """The X server refused the connection, or answered a request with an error."""


@dataclass(frozen=True, slots=True)
class Screen:
    """The first screen: its root window, size in pixels and in millimetres."""

    root: int
    width: int
    height: int
    width_mm: int
    height_mm: int


def display_number(display: str) -> int:
    """`:7` or `:7.0` as 7. ValueError when it is not a display of this host."""
    match = _DISPLAY.match(display)
    if not match:
        raise ValueError(f"not a display of this host: {display!r}")
    return int(match[1])


def socket_path(number: int) -> Path:
    """Where the server of a display listens."""
    return Path(f"/tmp/.X11-unix/X{number}")


class XConnection:
    """One client of an X server: `async with await XConnection.open(...) as x`. One request at a time."""

    def __init__(self, peer: socket.socket, screen: Screen) -> None:
        self._peer = peer
        self._told = False
        self.screen = screen

    @classmethod
    async def open(cls, display: str, authority: Path | None) -> XConnection:
        """Connect and authenticate. XFault when refused; OSError, EOFError and ValueError as the world goes.

        `authority` None: without a cookie, as a stranger would.
        """
        number = display_number(display)
        cookie = None if authority is None else read_cookie(authority, number)
        peer = await connect_unix(str(socket_path(number)))
        try:
            screen = await _set_up(peer, cookie)
        except BaseException:
            peer.close()
            raise
        return cls(peer, screen)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._peer.close()

    def __del__(self) -> None:
        self._peer.close()

    async def send(self, opcode: int, detail: int = 0, body: bytes = b"") -> None:
        """A request that has no reply. Its error, if any, meets whoever asks next."""
        body += b"\0" * (-len(body) % 4)
        request = struct.pack("<BBH", opcode, detail, 1 + len(body) // 4) + body
        await asyncio.get_running_loop().sock_sendall(self._peer, request)

    async def ask(self, opcode: int, detail: int = 0, body: bytes = b"") -> bytes:
        """A request's whole reply. XFault for the server's error."""
        await self.send(opcode, detail, body)
        while True:
            reply = await receive(self._peer, 32)
            match reply[0]:
                case 0:
                    raise XFault(f"X error {reply[1]} for request {reply[10]}.{reply[8] | reply[9] << 8}")
                case 1:
                    more = struct.unpack_from("<I", reply, 4)[0] * 4
                    return reply + (await receive(self._peer, more) if more else b"")
                case _:
                    self._told = True  # an event: one that was selected, or that every client gets

    async def watch(self, window: int) -> None:
        """Have the server tell of what is made, moved, raised and closed directly in a window (`told`)."""
        await self.send(2, 0, struct.pack("<III", window, _EVENT_MASK, _SUBSTRUCTURE_NOTIFY))  # ChangeWindowAttributes

    async def told(self, seconds: float) -> bool:
        """Whether the server has told of something since the last call, or does so within that time."""
        if not self._told:
            try:
                async with asyncio.timeout(seconds):
                    # Waited for without reading: a message that a timeout cut in two would never be whole again.
                    await _readable(self._peer)
            except TimeoutError:
                return False
            await self.round_trip()  # reads what has come, and an error instead of it
        told, self._told = self._told, False
        return told

    async def round_trip(self) -> None:
        """GetInputFocus: the cheapest request that has a reply. XFault for the error of an earlier `send`."""
        await self.ask(43)


async def _readable(peer: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(peer, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(peer)


async def _set_up(peer: socket.socket, cookie: bytes | None) -> Screen:
    name = b"" if cookie is None else COOKIE
    data = cookie or b""
    hello = struct.pack("<BxHHHH2x", ord("l"), 11, 0, len(name), len(data))
    for part in (name, data):
        hello += part + b"\0" * (-len(part) % 4)
    await asyncio.get_running_loop().sock_sendall(peer, hello)
    head = await receive(peer, 8)
    body = await receive(peer, struct.unpack_from("<H", head, 6)[0] * 4)
    if head[0] != 1:
        words = body[: head[1]].decode("latin-1").strip() or "no reason given"
        raise XFault(f"the X server refuses: {words}")
    vendor, screens, formats = *struct.unpack_from("<H", body, 16), body[20], body[21]
    at = 32 + vendor + (-vendor % 4) + 8 * formats
    if screens < 1 or len(body) < at + 28:
        raise ValueError("an X server without a screen")
    root = struct.unpack_from("<I", body, at)[0]
    return Screen(root, *struct.unpack_from("<HHHH", body, at + 20))


def read_cookie(authority: Path, number: int) -> bytes | None:
    """The cookie for a display in an Xauthority file (Xau's format: family, then four counted texts, big-endian).

    None where it has none. OSError when it cannot be read, ValueError when it is not such a file.
    """
    with authority.open("rb") as file:
        data = file.read(1 << 16)
    wanted = str(number).encode()
    at = 0
    while at < len(data):
        at += 2  # the family: a local socket is all we connect to
        fields: list[bytes] = []
        for _ in range(4):
            size = int.from_bytes(data[at : at + 2], "big")
            fields.append(data[at + 2 : at + 2 + size])
            at += 2 + size
        if at > len(data):
            raise ValueError(f"not an Xauthority file: {os.fspath(authority)}")
        _, display, name, cookie = fields
        if name == COOKIE and display in (wanted, b""):
            return cookie
    return None
