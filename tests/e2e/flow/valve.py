"""A TCP connection that can be held up, between a flow and whoever it speaks to."""

from __future__ import annotations

import contextlib
import socket
import threading


class Valve:
    """Listens on `port`, and passes everything on to another one while it is open."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._open = threading.Event()
        self._open.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._sockets.append(near)
                try:
                    far = socket.create_connection(("127.0.0.1", self._to))
                except OSError:  # nobody listens there yet
                    near.close()
                    continue
                self._sockets.append(far)
                for a, b in ((near, far), (far, near)):
                    thread = threading.Thread(target=self._pass_on, args=(a, b), daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _pass_on(self, a: socket.socket, b: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._open.wait()
                data = a.recv(65536)
                if not data:
                    break
                self._open.wait()
                b.sendall(data)
        for one in (a, b):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def shut(self) -> None:
        """Nothing goes through any more; the connections stay."""
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    def close(self) -> None:
        self._open.set()
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join(10)
