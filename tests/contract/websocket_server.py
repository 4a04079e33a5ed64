"""A websocket server that is at fault on purpose: what no real OBS can be made to do when a test asks for it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
HELLO = {"op": 0, "d": {"obsWebSocketVersion": "5.1.0", "rpcVersion": 1}}


class Peer:
    """The server's end of one connection, by RFC 6455."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection

    def shake(self) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.socket.recv(1)
        key = next(
            line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
        )
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
        self.socket.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )

    def send(self, message: object) -> None:
        self.raw(message if isinstance(message, bytes) else json.dumps(message).encode())

    def raw(self, data: bytes, opcode: int = 1) -> None:
        size = bytes([len(data)]) if len(data) < 126 else b"\x7e" + struct.pack(">H", len(data))
        self.socket.sendall(bytes([0x80 | opcode]) + size + data)

    def receive(self) -> Any:
        head = self._take(2)
        size = head[1] & 0x7F
        if size == 126:
            size = struct.unpack(">H", self._take(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", self._take(8))[0]
        mask = self._take(4)
        data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(self._take(size)))
        if head[0] & 0x0F == 8:
            raise EOFError
        return json.loads(data)

    def _take(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def identify(self) -> None:
        self.send(HELLO)
        self.receive()
        self.send({"op": 2, "d": {"negotiatedRpcVersion": 1}})


@contextlib.contextmanager
def serving(script: Callable[[Peer], None]) -> Iterator[int]:
    """A port on which each connection is served by `script` after the handshake."""
    listener = socket.create_server(("127.0.0.1", 0))

    def one(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, EOFError):
            peer = Peer(connection)
            peer.shake()
            script(peer)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=one, args=(connection,), daemon=True))
                threads[-1].start()

    threads: list[threading.Thread] = [threading.Thread(target=serve, daemon=True)]
    threads[0].start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in threads:
            thread.join(10)
