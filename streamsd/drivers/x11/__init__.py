"""X displays: how their servers are started, entered with a cookie, measured and resized while their clients go on.

`XDisplay` is what a display says of itself to whatever runs on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streamsd.core.secret import Secret
from streamsd.core.units import Resolution

__all__ = ["XDisplay"]


@dataclass(frozen=True, slots=True)
class XDisplay:
    """A display to be connected to. `name` is `:101`; `authority` an Xauthority file, readable by the daemon's user
    (another user's program gets a file of its own, made from `cookie`). `resolution` may change while it runs, up
    to `max_resolution`."""

    name: str
    authority: Path
    resolution: Resolution
    max_resolution: Resolution
    cookie: Secret

    @property
    def env(self) -> dict[str, str]:
        """What a client's environment needs."""
        return {"DISPLAY": self.name, "XAUTHORITY": str(self.authority)}
