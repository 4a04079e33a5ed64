"""The TCP connections between the processes of a flow, as Bytewax makes them: on the loopback, without a password.

Nobody can be kept from connecting to a port of the loopback in the moment in which it is listened on. So the ports are
chosen anew at each start, a process waits until the others listen (Bytewax would wait a second between two attempts),
and a connection that belongs to another user ends the flow before it has begun.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_LISTEN, _ESTABLISHED = 10, 1


class Stranger(Exception):
    """Somebody else is connected to a port of ours."""


@dataclass(frozen=True, slots=True)
class _Line:
    """Of /proc/net/tcp: the ports of both ends, the state, and the user whose end it is."""

    port: int
    peer: int
    state: int
    user: int


@contextlib.contextmanager
def held_addresses(count: int) -> Iterator[list[str]]:
    """Addresses on the loopback that the kernel gives nobody else meanwhile. They are bound and not listened on, with
    SO_REUSEADDR: only who asks for that, as Bytewax does, can listen there."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", 0))
        yield [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]


def await_listeners(addresses: Sequence[str], within: float = 30.0) -> None:
    """Wait until a process of ours listens on each. Stranger when it is somebody else's; when nobody does in time,
    Bytewax finds out."""
    wanted = {_port(address) for address in addresses}
    end = time.monotonic() + within
    while wanted and time.monotonic() < end:
        for line in _lines():
            if line.state == _LISTEN and line.port in wanted:
                if line.user != os.getuid():
                    raise Stranger(f"port {line.port} is listened on by user {line.user}")
                wanted.discard(line.port)
        if wanted:
            time.sleep(0.005)


def refuse_strangers(addresses: Sequence[str]) -> None:
    """Stranger when an end of a connection to one of these ports is not ours."""
    ports = {_port(address) for address in addresses}
    for line in _lines():
        if line.state == _ESTABLISHED and (line.port in ports or line.peer in ports) and line.user != os.getuid():
            raise Stranger(f"user {line.user} is connected to port {line.port if line.port in ports else line.peer}")


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _lines() -> Iterator[_Line]:
    for text in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        parts = text.split()
        here, there = (int(end.rpartition(":")[2], 16) for end in parts[1:3])
        yield _Line(here, there, int(parts[3], 16), int(parts[7]))
