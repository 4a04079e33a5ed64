"""What only one resource may hold: a port, a display, a file. A claim brings its own question about the host."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from streamsd.core.diagnostics import FieldPath

_EVERYWHERE = ("", "*", "0.0.0.0", "::")  # compared with, not bound


def _nobody() -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Claim:
    """`Claim("file", "/srv/out.ndjson", ("sink", "file", "path"))`. Two clash when they are of the same thing.

    `scope`: where it is claimed, such as one of the host's addresses; empty: everywhere. `held_outside`: who, not of
    this profile, holds it now, in words; empty when nobody does.
    """

    what: str
    which: str
    path: FieldPath = ()
    scope: str = ""
    held_outside: Callable[[], str] = field(default=_nobody, compare=False)

    @property
    def thing(self) -> tuple[str, str]:
        """What is claimed, wherever."""
        return self.what, self.which

    def clashes(self, other: Claim) -> bool:
        return self.thing == other.thing and (not self.scope or not other.scope or self.scope == other.scope)

    def __str__(self) -> str:
        return f"{self.what} {self.scope}:{self.which}" if self.scope else f"{self.what} {self.which}"


def tcp_claim(host: str, port: int, path: FieldPath = ()) -> Claim:
    """A TCP port that is listened on. `host`: an address, or one of the words for all of them."""
    scope = "" if host in _EVERYWHERE else host.strip("[]")
    return Claim("tcp-port", str(port), path, scope, lambda: listener_on(host, port))


def udp_claim(host: str, port: int, path: FieldPath = ()) -> Claim:
    """The same of UDP."""
    scope = "" if host in _EVERYWHERE else host.strip("[]")
    return Claim("udp-port", str(port), path, scope, lambda: listener_on(host, port, socket.SOCK_DGRAM))


def free_tcp_port(host: str) -> Callable[[int], bool]:
    """For `Context.allocate`: whether a port of the address is free."""
    return lambda port: not listener_on(host, port)


def listener_on(host: str, port: int, kind: socket.SocketKind = socket.SOCK_STREAM) -> str:
    """Why nobody else can listen there, in words; empty when it is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind) as probe:
        if kind is socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("" if host == "*" else host.strip("[]"), port))
        except OSError as error:
            shown = f"{host}:{port}" if host else f"port {port}"
            if error.errno == errno.EADDRINUSE:
                return f"another program listens on {shown}"
            return f"cannot listen on {shown}: {error.strerror}"
    return ""
