"""Lines to a TCP server, and datagrams."""

from __future__ import annotations

import socket
import ssl
import time
from typing import Any

from streamsd.flow.outputs import Batch
from streamsd.flow.spec.sinks import TcpSink, UdpSink
from streamsd.programs.flow.ends import Place
from streamsd.programs.flow.life import Backoff
from streamsd.programs.flow.network import client_context
from streamsd.programs.flow.outlet import Outlet

_PIECE = 256 * 1024
_SILENT = 10.0
"""Seconds after which a server that takes nothing is told of. It is waited for as long as its host answers: over
another connection what it had taken would come twice."""
_UNANSWERED = 5
"""Segments without an answer after which the host, or the way to it, is taken to be gone."""


class TcpOutlet(Outlet):
    """TCP lines are not acknowledged: when a connection breaks, the block that the kernel did not take whole is sent
    again; what it had taken may be lost."""

    def __init__(self, spec: TcpSink, place: Place) -> None:
        self._spec = spec
        self._place = place
        self._socket: socket.socket | None = None

    def start(self, position: Any) -> None:
        pass

    def write(self, batch: Batch) -> None:
        backoff = Backoff(0.1, 5.0)
        while True:
            try:
                self._send(self._connected(), memoryview(batch.block))
                self.fault = ""
                return
            except (OSError, ssl.SSLError) as fault:
                self.fault = f"{self._spec.host}:{self._spec.port}: {fault}"
                self.close()
                self._place.life.pause(backoff.next() or 0.05)

    def _send(self, connection: socket.socket, left: memoryview) -> None:
        silent = time.monotonic()
        while left:
            try:
                left = left[connection.send(left[:_PIECE]) :]
                silent, self.fault = time.monotonic(), ""
            except TimeoutError:
                if time.monotonic() - silent > _SILENT:
                    self.fault = f"{self._spec.host}:{self._spec.port}: takes nothing"
                    if _unanswered(connection) >= _UNANSWERED:
                        raise
                self._place.life.pause(0.0)

    def _connected(self) -> socket.socket:
        if self._socket is None:
            made = socket.create_connection((self._spec.host, self._spec.port), timeout=10)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            context = client_context(self._spec.tls, self._place.base)
            self._socket = context.wrap_socket(made, server_hostname=self._spec.host) if context else made
            self._socket.settimeout(0.2)
        return self._socket

    def flush(self) -> Any:
        return None

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _unanswered(connection: socket.socket) -> int:
    """How often in a row the kernel has sent a segment again, or asked whether there is room, in vain:
    `tcpi_retransmits` and `tcpi_probes` of tcp(7)'s TCP_INFO."""
    told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)
    return told[2] + told[3]


class UdpOutlet(Outlet):
    """Datagrams may be lost on the way; nobody will know."""

    def __init__(self, spec: UdpSink) -> None:
        self._spec = spec
        self._socket: socket.socket | None = None

    def start(self, position: Any) -> None:
        family = socket.getaddrinfo(self._spec.host, self._spec.port, type=socket.SOCK_DGRAM)[0][0]
        self._socket = socket.socket(family, socket.SOCK_DGRAM)

    def write(self, batch: Batch) -> None:
        assert self._socket is not None
        for item in batch.items:
            try:
                self._socket.sendto(item, (self._spec.host, self._spec.port))
                self.fault = ""
            except OSError as fault:
                self.fault = f"{self._spec.host}:{self._spec.port}: {fault.strerror}"

    def flush(self) -> Any:
        return None

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
