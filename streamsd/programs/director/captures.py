"""Captured displays whose X server started anew: OBS's capture stays with the one that is gone until it is told again
(measured with OBS 29, 30 and 32: re-sending `server` recovers it)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from streamsd.programs.director.client import Request
from streamsd.programs.director.kinds import base
from streamsd.programs.director.model import Input

KIND = "xshm_input"


class Captures:
    """Knows each captured server by its socket."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, int]] = {}

    def renewed(self, inputs: Mapping[str, Input]) -> list[Request]:
        """What to send for servers that are others than at the last call. One that is gone is waited for."""
        now: dict[str, tuple[int, int]] = {}
        requests = []
        for name, wanted in inputs.items():
            server = wanted.settings.get("server")
            if base(wanted.kind) != KIND or not isinstance(server, str):
                continue
            if server not in now:
                found = _socket_of(server)
                if found is None:
                    continue
                now[server] = found
            if self._seen.get(server, now[server]) != now[server]:
                told = Request.of("SetInputSettings", inputName=name, inputSettings={"server": server}, overlay=True)
                requests.append(told)
        self._seen |= now
        return requests


def _socket_of(server: str) -> tuple[int, int] | None:
    number = server.rpartition(":")[2].partition(".")[0]
    try:
        status = Path(f"/tmp/.X11-unix/X{number}").stat()
    except OSError:
        return None
    return status.st_ino, status.st_ctime_ns
