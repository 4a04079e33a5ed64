"""The control socket inside supervisord: who may speak, what they ask, and telling everyone what happened.

Its objects sit in supervisord's own loop, which asks each whether it is `readable` or `writable` and calls it back.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import time
import traceback
from collections import deque
from collections.abc import Callable, MutableMapping
from typing import Any, Protocol

from streamsd.runtime.supervisord.timers import Timers
from streamsd.runtime.supervisord.wire import MAX_LINE, Answer, ExitedEvent, Fault, Request, UnitWire

_PEER = struct.Struct("3i")
_TURN = 0.02
"""Seconds one connection may work off requests before everything else in the loop has its turn."""


class Pollable(Protocol):
    """What supervisord's loop expects of a member of its socket map."""

    def readable(self) -> bool: ...

    def writable(self) -> bool: ...

    def handle_read_event(self) -> None: ...

    def handle_write_event(self) -> None: ...

    def handle_error(self) -> None: ...


SocketMap = MutableMapping[int, Pollable]
Answering = Callable[[Any], None]
"""Takes the result, or a Fault."""
Handler = Callable[[Request, Answering], None]
"""Carries a request out and answers, now or later; raises Fault instead of answering."""


class ControlServer:
    """Listens. `handle` is called for every request; `tell` reaches every connection."""

    def __init__(
        self,
        listening: socket.socket,
        sockets: SocketMap,
        timers: Timers,
        handle: Handler,
        warn: Callable[[str], None],
    ) -> None:
        self._listening = listening
        self._sockets = sockets
        self._timers = timers
        self._handle = handle
        self._warn = warn
        self._connections: set[Connection] = set()
        listening.setblocking(False)
        sockets[listening.fileno()] = self

    def tell_exited(self, unit: UnitWire) -> None:
        event: ExitedEvent = {"event": "exited", "unit": unit}
        line = _line(event)
        for connection in list(self._connections):
            connection.send(line)

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def handle_read_event(self) -> None:
        try:
            accepted, _ = self._listening.accept()
        except OSError:
            return  # gone before we looked, or no descriptor left: the peer tries again
        _, uid, _ = _PEER.unpack(accepted.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if uid not in (0, os.geteuid()):
            self._warn(f"refused a connection from uid {uid}")
            accepted.close()
            return
        connection = Connection(accepted, self._timers, self._handle, self._gone, self._warn)
        self._connections.add(connection)
        self._sockets[accepted.fileno()] = connection

    def handle_write_event(self) -> None:
        pass

    def handle_error(self) -> None:
        self._warn(f"the control socket failed to accept\n{traceback.format_exc()}")

    def _gone(self, connection: Connection, fd: int) -> None:
        self._connections.discard(connection)
        self._sockets.pop(fd, None)


class Connection:
    """One controller. A peer that reads nothing while it is told much is let go."""

    def __init__(
        self,
        peer: socket.socket,
        timers: Timers,
        handle: Handler,
        gone: Callable[[Connection, int], None],
        warn: Callable[[str], None],
    ) -> None:
        peer.setblocking(False)
        self._peer = peer
        self._fd = peer.fileno()
        self._timers = timers
        self._handle = handle
        self._gone = gone
        self._warn = warn
        self._requests: deque[bytes] = deque()
        self._in = bytearray()
        self._out = bytearray()

    def send(self, line: bytes) -> None:
        if self._fd < 0:
            return
        self._out += line
        self.handle_write_event()
        if len(self._out) > MAX_LINE:
            self._close()

    def readable(self) -> bool:
        return self._fd >= 0

    def writable(self) -> bool:
        return bool(self._out) and self._fd >= 0

    def handle_read_event(self) -> None:
        if self._fd < 0:
            return
        try:
            data = self._peer.recv(64 * 1024)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close()
            return
        self._in += data
        if b"\n" in data:
            *lines, self._in = self._in.split(b"\n")
            waiting = bool(self._requests)
            self._requests.extend(bytes(line) for line in lines)
            if not waiting:
                self._work()
        if len(self._in) > MAX_LINE:
            self._close()

    def _work(self) -> None:
        """Carry out what is asked, in order, for a turn; then again when the loop has been round."""
        until = time.monotonic() + _TURN
        try:
            while self._requests and self._fd >= 0 and time.monotonic() < until:
                self._one(self._requests.popleft())
        except Exception:
            self.handle_error()
            raise
        if self._requests and self._fd >= 0:
            self._timers.call(0.0, self._work)

    def handle_write_event(self) -> None:
        if self._fd < 0:
            return
        try:
            sent = self._peer.send(self._out)
        except BlockingIOError:
            return
        except OSError:
            self._close()
            return
        del self._out[:sent]

    def handle_error(self) -> None:
        self._warn(f"a connection is closed because a request failed\n{traceback.format_exc()}")
        self._close()

    def _one(self, line: bytes) -> None:
        try:
            request: Request = json.loads(line)
            number = request["id"]
        except (ValueError, KeyError, TypeError):
            self._close()  # not our language: nothing that follows can be trusted
            return

        def answer(result: Any) -> None:
            if isinstance(result, Fault):
                self.send(_line({"id": number, "ok": False, "reason": result.reason, "message": result.message}))
            else:
                self.send(_line({"id": number, "ok": True, "result": result}))

        try:
            self._handle(request, answer)
        except Fault as fault:
            answer(fault)

    def _close(self) -> None:
        if self._fd < 0:
            return
        self._gone(self, self._fd)
        self._fd = -1
        self._peer.close()


def _line(message: Answer | ExitedEvent) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"
