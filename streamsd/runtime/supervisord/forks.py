"""Who forks for supervisord: the fork server, or supervisord itself where that cannot be had. Inside supervisord."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from streamsd.runtime.supervisord import child

_PATIENCE = 20.0
"""Seconds for an answer that takes one millisecond: a machine can be that busy. Less than the controller's patience
with supervisord, which waits meanwhile."""


class Forks(Protocol):
    def fork(self, program: child.Program, output: int, status: int) -> int:
        """The pid of a child of this process that will become the program. OSError. The caller closes both ends."""
        ...


class OwnForks:
    """supervisord forks itself."""

    def __init__(self) -> None:
        self._kernel = child.Kernel()
        self._null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)

    def fork(self, program: child.Program, output: int, status: int) -> int:
        caught = child.caught_signals()
        parent = os.getpid()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if pid == 0:
                child.run(
                    program,
                    stdin=self._null,
                    output=output,
                    status=status,
                    parent=parent,
                    caught=caught,
                    kernel=self._kernel,
                )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return pid


class ForkServer:
    """The other process that forks; started anew when it is lost. OSError from the constructor: there can be none."""

    def __init__(self) -> None:
        self._server, self._handle = _start()

    def _anew(self) -> None:
        """Another server. The one before is ended first: one that merely hung would fork what it was told to later."""
        self._server.close()
        if self._handle >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
            os.close(self._handle)
            self._handle = -1  # should no other be had now, the next fork tries again
        self._server, self._handle = _start()

    def fork(self, program: child.Program, output: int, status: int) -> int:
        """As the protocol says. OSError EAGAIN when the server was lost amid it: then the child's fate is unknown."""
        message = program.dump()
        message = len(message).to_bytes(child.HEADER, "little") + message
        if not _alive(self._server):
            self._anew()
        try:
            sent = socket.send_fds(self._server, [message], [output, status])
            if sent < len(message):
                self._server.sendall(message[sent:])
            pid = int.from_bytes(_receive(self._server, child.ANSWER), "little", signed=True)
        except OSError:
            self._anew()
            raise OSError(errno.EAGAIN, "the fork server was lost") from None
        if pid < 0:
            raise OSError(-pid, os.strerror(-pid))
        return pid


def open_forks(warn: Callable[[str], None]) -> Forks:
    """A fork server where the system allows it."""
    try:
        return ForkServer()
    except OSError as fault:
        warn(f"no fork server: {fault}; starting a process costs more")
        return OwnForks()


def _start() -> tuple[socket.socket, int]:
    """The way to a new server, and the descriptor of its process (pidfd_open(2)). OSError."""
    ours, theirs = socket.socketpair()
    try:
        theirs.set_inheritable(True)
        # Isolated and without site: nothing is loaded that is not needed. The environment marks it for a sweep.
        argv = [sys.executable, "-I", "-S", str(Path(child.__file__)), str(theirs.fileno()), str(os.getpid())]
        # A daemon's standard descriptors close on exec; without them the server's own would take their numbers.
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        standard = [(os.POSIX_SPAWN_DUP2, null, number) for number in (0, 1, 2)]
        pid = os.posix_spawn(sys.executable, argv, dict(os.environ), file_actions=standard)
        os.close(null)
        theirs.close()
        ours.settimeout(_PATIENCE)
        if _receive(ours, len(child.READY)) != child.READY:
            raise OSError(errno.EPROTO, "the fork server speaks another language")
        return ours, os.pidfd_open(pid)
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()


def _receive(end: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = end.recv(length - len(data))
        if not part:
            raise OSError(errno.EPIPE, "it has ended")
        data += part
    return data


def _alive(end: socket.socket) -> bool:
    """Whether the other end is still there: it never speaks unasked, so what can be read is its end."""
    if end.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(end, select.POLLIN)
    return not poll.poll(0)
