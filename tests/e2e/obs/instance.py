"""One OBS of a host's profile, as a test sees it: asked over the daemon's socket, without a command line in between,
which takes a second on a loaded machine."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

from streamsd.cli.client import Client
from streamsd.runtime.probes.xwindows import find_windows
from streamsd.runtime.probes.xwire import XConnection
from tests.e2e.host import Host


class Instance:
    def __init__(self, host: Host, name: str = "studio") -> None:
        self.host = host
        self.name = name

    def operate(self, operation: str, **arguments: Any) -> dict[str, Any]:
        path = f"/v1/resources/Obs/{self.name}/operations/{operation}"
        return Client(self.host.settings).post(path, arguments)

    def status(self) -> dict[str, Any]:
        """Nothing observed, no condition, while there is none."""
        resources = Client(self.host.settings).get("/v1/status")["resources"]
        nothing: dict[str, Any] = {"observed": {}, "conditions": [], "processes": []}
        return next((r for r in resources if r["address"] == f"Obs/{self.name}"), nothing)

    def observed(self) -> dict[str, Any]:
        return self.status()["observed"]  # type: ignore[no-any-return]

    def condition(self, type: str) -> dict[str, Any]:
        unknown = {"status": "Unknown", "reason": "", "message": ""}
        return next((c for c in self.status()["conditions"] if c["type"] == type), unknown)

    def is_true(self, type: str) -> bool:
        return bool(self.condition(type)["status"] == "True")

    def output(self, name: str) -> dict[str, Any]:
        return self.observed().get("outputs", {}).get(name, {})  # type: ignore[no-any-return]

    def streams(self) -> bool:
        """Whether bytes go out."""
        stream = self.output("stream")
        return bool(stream.get("active") and stream.get("bytes", 0) > 0 and not stream.get("reconnecting"))

    def records(self) -> bool:
        return bool(self.output("record").get("bytes", 0) > 0)

    def pids(self) -> dict[str, int]:
        return {p["role"]: p["pid"] for p in self.status()["processes"] if p["pid"]}

    def obs_pid(self) -> int:
        """OBS itself, below the process that the runtime started; 0 while there is none."""
        launcher = self.pids().get("obs")
        try:
            children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
        except OSError:
            return 0
        return int(children[0]) if children else 0

    def pixel(self, x: int, y: int, source: str, size: tuple[int, int]) -> tuple[int, ...]:
        """Of a scene or source, in its own size."""
        shot = self.operate("screenshot", source=source, format="ppm")
        data = base64.b64decode(shot["image"].partition(",")[2])
        start = len(data) - 3 * size[0] * size[1] + 3 * (y * size[0] + x)
        return tuple(data[start : start + 3])

    def windows(self) -> list[str]:
        """The titles of the windows that are shown on the instance's display: the main one, and dialogs."""
        environ = Path(f"/proc/{self.obs_pid()}/environ").read_bytes().decode(errors="replace")
        given = dict(entry.partition("=")[::2] for entry in environ.split("\0"))

        async def shown() -> list[str]:
            async with await XConnection.open(given["DISPLAY"], Path(given["XAUTHORITY"])) as x:
                return [window.title for window in await find_windows(x)]

        parts = ("", "obs")  # what Qt calls the parts of a window
        return [title for title in asyncio.run(shown()) if title not in parts]


def near(found: tuple[int, ...], *wanted: int, by: int = 3) -> bool:
    return all(abs(f - w) <= by for f, w in zip(found, wanted, strict=True))
