"""Lines of datagrams, and of the standard input: each read by a thread of its own."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

from streamsd.core.report import JsonValue
from streamsd.flow.spec.sources import UdpSource
from streamsd.programs.flow.intake import MOST_AT_ONCE, Lines, QueueIntake
from streamsd.programs.flow.network import address


class UdpIntake(QueueIntake):
    """While the flow is behind nothing is read, and the kernel drops what its buffer does not hold."""

    def __init__(self, spec: UdpSource, *, whole: bool) -> None:
        """`whole`: a datagram is one message, whatever bytes it has."""
        super().__init__()
        self._whole = whole
        self._spec = spec
        self._room = threading.Event()
        self.inbox.on_room = self._room.set
        self._closed = False

    def start(self, position: Any) -> None:
        threading.Thread(target=self._read, name="udp", daemon=True).start()

    def _read(self) -> None:
        host, port = address(self._spec.listen)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as receiver:
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._spec.buffer.bytes)
            while not self._closed:
                try:
                    receiver.bind((host, port))
                    self.fault = ""
                    break
                except OSError as fault:
                    self.fault = f"cannot listen on {self._spec.listen}: {fault.strerror}"
                    time.sleep(1.0)
            receiver.setblocking(False)
            while not self._closed:
                select.select([receiver], [], [], 0.5)
                self._take(receiver)

    def _take(self, receiver: socket.socket) -> None:
        """Everything that is there, as one batch."""
        lines: list[bytes] = []
        metas: list[Any] = []
        size = 0
        while len(lines) < 5000 and size < MOST_AT_ONCE:
            try:
                data, peer = receiver.recvfrom(65535)
            except BlockingIOError:
                break
            size += len(data)
            found = [data] if self._whole else [line for line in data.splitlines() if line]
            lines += found
            metas += [{"peer": f"{peer[0]}:{peer[1]}"}] * len(found)
        if lines:
            self._room.clear()
            if not self.inbox.put(lines, metas):
                self._room.wait()

    def close(self) -> None:
        self._closed = True
        self._room.set()


class StdinIntake(QueueIntake):
    """The standard input, until its end."""

    def __init__(self, most_message: int) -> None:
        super().__init__()
        self._lines = Lines(most_message)
        self._room = threading.Event()
        self.inbox.on_room = self._room.set
        self._ended = False

    def start(self, position: Any) -> None:
        threading.Thread(target=self._read, name="stdin", daemon=True).start()

    def _read(self) -> None:
        while True:
            data = os.read(0, 1 << 16)
            lines = self._lines.feed(data) if data else self._lines.end()
            self._room.clear()
            if lines and not self.inbox.put(lines):
                self._room.wait()
            if not data:
                self._ended = True
                return

    def done(self) -> bool:
        return self._ended and self.inbox.depth == 0

    def figures(self) -> Mapping[str, JsonValue]:
        return {"waiting": self.inbox.depth}
