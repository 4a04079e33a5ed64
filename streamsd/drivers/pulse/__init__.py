"""PulseAudio: one small private server for each virtual sound device, reached over a unix socket with a cookie.

`PulseDevice` is what a device says of itself to whatever plays to it or records it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["PulseDevice"]


@dataclass(frozen=True, slots=True)
class PulseDevice:
    """A sound device. `server`: `unix:/path`, as libpulse takes it. `sink` is played to; what was played is recorded
    from `monitor`, at `rate` and `channels`. `cookie`: the file that a client shows, if it is not of the server's
    user. `control`: the socket of the server's own command line, for us only."""

    server: str
    sink: str
    monitor: str
    cookie: Path
    rate: int
    channels: int
    control: Path

    @property
    def env(self) -> dict[str, str]:
        """What a client's environment needs: it plays to this device and records from its monitor."""
        return {
            "PULSE_SERVER": self.server,
            "PULSE_SINK": self.sink,
            "PULSE_SOURCE": self.monitor,
            "PULSE_COOKIE": str(self.cookie),
        }
