"""Unix sockets that only their owner may use and that never block."""

from __future__ import annotations

import socket
from pathlib import Path


def listen(path: Path) -> socket.socket:
    """A listener at `path`, in place of one that an earlier process left there."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(64)
    return listener


def accept(listener: socket.socket) -> list[socket.socket]:
    """Every connection that waits."""
    found: list[socket.socket] = []
    while True:
        try:
            sock, _ = listener.accept()
        except BlockingIOError:
            return found
        sock.setblocking(False)
        found.append(sock)
