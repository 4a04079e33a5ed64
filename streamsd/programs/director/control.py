"""The control socket: one JSON object a line asks, one answers. Private by its directory and its mode (0600)."""

from __future__ import annotations

import json
import os
import selectors
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from streamsd.core.report import JsonValue

LONGEST = 1024 * 1024
"""Bytes of one question; documents come by file."""

Handler = Callable[[dict[str, Any]], dict[str, JsonValue]]


class Control:
    """Registers itself with a selector; `serve` takes what is ready. Never waits for a slow client."""

    def __init__(self, path: Path, selector: selectors.BaseSelector, handle: Handler) -> None:
        self._path = path
        self._selector = selector
        self._handle = handle
        self._buffers: dict[socket.socket, bytearray] = {}
        with suppress(FileNotFoundError):
            path.unlink()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        old = os.umask(0o177)
        try:
            self._listener.bind(str(path))
        finally:
            os.umask(old)
        self._listener.listen(16)
        self._listener.setblocking(False)
        selector.register(self._listener, selectors.EVENT_READ, self)

    def serve(self, ready: object) -> None:
        """One socket of ours that the selector found readable."""
        if ready is self._listener:
            with suppress(BlockingIOError, ConnectionError):
                peer, _ = self._listener.accept()
                peer.setblocking(False)
                self._buffers[peer] = bytearray()
                self._selector.register(peer, selectors.EVENT_READ, self)
        elif isinstance(ready, socket.socket) and ready in self._buffers:
            self._read(ready)

    def close(self) -> None:
        for peer in list(self._buffers):
            self._drop(peer)
        self._selector.unregister(self._listener)
        self._listener.close()
        with suppress(FileNotFoundError):
            self._path.unlink()

    def _read(self, peer: socket.socket) -> None:
        try:
            data = peer.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        buffer = self._buffers[peer]
        buffer += data
        if not data or len(buffer) > LONGEST:
            self._drop(peer)
            return
        while b"\n" in buffer:
            line, _, rest = bytes(buffer).partition(b"\n")
            buffer[:] = rest
            self._answer(peer, line)
            if peer not in self._buffers:
                return

    def _answer(self, peer: socket.socket, line: bytes) -> None:
        try:
            question = json.loads(line)
            answer = self._handle(question) if isinstance(question, dict) else refusal("BadRequest", "not an object")
        except ValueError:
            answer = refusal("BadRequest", "not JSON")
        try:
            peer.settimeout(5.0)
            peer.sendall(json.dumps(answer).encode() + b"\n")
            peer.setblocking(False)
        except OSError:
            self._drop(peer)

    def _drop(self, peer: socket.socket) -> None:
        del self._buffers[peer]
        self._selector.unregister(peer)
        peer.close()


def refusal(reason: str, message: str, hint: str = "") -> dict[str, JsonValue]:
    told: dict[str, JsonValue] = {"ok": False, "reason": reason, "message": message}
    return told | {"hint": hint} if hint else told
