"""Display numbers of this host: who has one, and what dead servers left of theirs."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

from streamsd.core.claim import Claim
from streamsd.core.diagnostics import FieldPath
from streamsd.runtime.probes.xwire import socket_path


def server_of(number: int) -> int | None:
    """The pid of the X server that has the display, as its lock file says; 0 when somebody else listens there, such as
    a compositor for its Xwayland; None when the number is free."""
    with suppress(OSError, ValueError):
        pid = int(lock_path(number).read_text())
        # The number of a dead server's process may be another's by now, in a container soon.
        if Path(f"/proc/{pid}/comm").read_text().startswith("X"):
            return pid
    path = str(socket_path(number))
    return 0 if any(_accepts(name) for name in (path, "\0" + path)) else None


def clear_remains(number: int) -> None:
    """Remove what a dead server left of a free number. An X server does that itself, unless the dead one's pid is some
    other process's now: then it would refuse to start for as long as that one lives."""
    if server_of(number) is None:
        for path in (lock_path(number), socket_path(number)):
            with suppress(OSError):  # another user's: then the server says what is wrong
                path.unlink(missing_ok=True)


def is_free(number: int) -> bool:
    """Whether neither a server nor what a dead one left is in the way of the number."""
    return not lock_path(number).exists() and not socket_path(number).exists()


def display_claim(number: int, path: FieldPath = ()) -> Claim:
    """The display of that number on this host."""
    return Claim("x-display", str(number), path, held_outside=lambda: _server_outside(number))


def _server_outside(number: int) -> str:
    taken = lock_path(number).exists() and socket_path(number).exists()
    return f"another X server has display :{number}" if taken else ""


def lock_path(number: int) -> Path:
    """Where the server of a display writes its pid."""
    return Path(f"/tmp/.X{number}-lock")


def _accepts(name: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(0.5)
        try:
            peer.connect(name)
        except OSError:
            return False
    return True
