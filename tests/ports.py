"""TCP ports for tests."""

from __future__ import annotations

import socket


def free_port() -> int:
    """One that nobody listened on a moment ago. The kernel hands out others before it gives this one again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
