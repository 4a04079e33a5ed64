"""sd_notify: telling systemd that the daemon is ready and alive (sd_notify(3)). Nothing happens elsewhere."""

from __future__ import annotations

import os
import socket


class Notifier:
    """Speaks to $NOTIFY_SOCKET when there is one."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")

    def send(self, *lines: str) -> None:
        """Send states such as READY=1. A socket that is gone is not the daemon's trouble."""
        if not self._address:
            return
        name = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            try:
                sock.sendto("\n".join(lines).encode(), name)
            except OSError:
                return

    @property
    def watchdog_seconds(self) -> float | None:
        """How often systemd wants WATCHDOG=1: half of what it allows."""
        if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
            return None
        micros = os.environ.get("WATCHDOG_USEC", "")
        return int(micros) / 2_000_000 if micros.isdigit() and int(micros) > 0 else None
