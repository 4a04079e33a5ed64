"""The control socket: one JSON request a line, one JSON answer a line.

`{"do": "patch", "live": {…}}`, `{"do": "status"}`, `{"do": "tap", "count": 10, "seconds": 5}`, `{"do": "stop"}`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

_MOST = 64 * 1024 * 1024
_LAST = 1.0
"""Seconds in which the last answers are given."""

Handler = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class Control:
    """Serves requests, each connection in a thread of its own: they are few, and may take a while."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._socket = socket.socket(socket.AF_UNIX)
        self._idle = threading.Condition()
        self._under_way = 0

    def start(self) -> None:
        self._path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            self._socket.bind(str(self._path))
        finally:
            os.umask(before)
        self._socket.listen(8)
        threading.Thread(target=self._accept, name="control", daemon=True).start()

    def close(self) -> None:
        """Take no more. Who waits for an answer is given it, where it comes in a moment."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._path.unlink(missing_ok=True)
        with self._idle:
            self._idle.wait_for(lambda: not self._under_way, _LAST)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), name="request", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError), connection.makefile("rwb") as stream:
            for line in iter(lambda: stream.readline(_MOST), b""):
                with self._working():
                    stream.write(json.dumps(self._answer(line)).encode() + b"\n")
                    stream.flush()

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        with self._idle:
            self._under_way += 1
        try:
            yield
        finally:
            with self._idle:
                self._under_way -= 1
                self._idle.notify_all()

    def _answer(self, line: bytes) -> Mapping[str, Any]:
        try:
            request = json.loads(line)
        except ValueError:
            return {"error": "not JSON"}
        if not isinstance(request, dict):
            return {"error": "a request is a mapping"}
        return self._handler(request)
