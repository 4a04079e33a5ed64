"""nats-py's settings from a flow's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nats.errors

from streamsd.flow.spec.words import Login, Tls
from streamsd.programs.flow.network import client_context


def options(
    servers: Sequence[str],
    login: Login | None,
    tls: Tls | None,
    base: Path,
    told: Callable[[str], None],
    dropped: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """`told` hears what is wrong, and an empty text when it is well again; `dropped` of each message that the client
    let go, because it was not taken in time."""

    async def disconnected() -> None:
        told(f"{servers[0]}: the connection is lost")

    async def connected() -> None:
        told("")

    async def fault(error: Exception) -> None:
        if isinstance(error, nats.errors.SlowConsumerError):
            dropped()
            return
        told(f"{servers[0]}: {error or type(error).__name__}")

    made: dict[str, Any] = {
        "servers": list(servers),
        "name": "streamsd",
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": 1,
        "connect_timeout": 5,
        "allow_reconnect": True,
        "disconnected_cb": disconnected,
        "reconnected_cb": connected,
        "error_cb": fault,
    }
    if login is not None:
        made |= {"user": login.user, "password": login.password.reveal()}
    if tls is not None:
        made["tls"] = client_context(tls, base)
    return made
