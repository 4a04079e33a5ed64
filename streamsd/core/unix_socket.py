"""Unix sockets at paths of any length.

The kernel takes 107 bytes. A longer path is reached through its directory's descriptor, as `/proc/self/fd/N/name`.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST = 107
"""The bytes that a path may have: sizeof(sockaddr_un.sun_path) - 1, unix(7)."""


@contextmanager
def within_reach(path: Path) -> Iterator[str]:
    """A text for `path` that bind and connect accept; good while the context lasts. OSError: its directory is gone."""
    if len(os.fsencode(path)) <= LONGEST:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def answers(path: Path) -> bool:
    """Whether somebody accepts connections there."""
    try:
        with within_reach(path) as near, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(2.0)
            probe.connect(near)
    except OSError:
        return False
    return True


def listen(path: Path, *, backlog: int = 100) -> socket.socket:
    """A listening socket at `path`, 0600 from its first moment; one that nobody serves any more is replaced.

    OSError (EADDRINUSE) when somebody serves there. Two that start at once: the later rename wins, so callers hold a
    lock of their own.
    """
    if answers(path):
        raise OSError(errno.EADDRINUSE, "something already listens there", str(path))
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with within_reach(part) as near:
            listener.bind(near)
        part.chmod(0o600)  # nobody can connect before listen()
        listener.listen(backlog)
        os.replace(part, path)
    except BaseException:
        listener.close()
        part.unlink(missing_ok=True)
        raise
    return listener
