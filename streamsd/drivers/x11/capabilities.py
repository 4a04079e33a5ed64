"""What this host has for X displays: programs, what to install for missing ones, and which numbers are taken."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

from streamsd.runtime.probes.xwire import socket_path

PACKAGES = {"Xvfb": "xvfb", "xrandr": "x11-xserver-utils", "xdpyinfo": "x11-utils"}
"""Program to Debian package."""


def server_of(number: int) -> int | None:
    """The pid of the X server that has the display, as its lock file says; 0 when one answers without a lock; None
    when the number is free. A lock whose process is gone counts as free: X servers take it over."""
    with suppress(OSError, ValueError):
        pid = int(Path(f"/tmp/.X{number}-lock").read_text())
        if Path(f"/proc/{pid}").exists():
            return pid
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(0.5)
        try:
            peer.connect(str(socket_path(number)))
        except OSError:
            return None
    return 0
