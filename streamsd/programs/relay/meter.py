"""What the relay says of itself once a second: the source of a stream's figures."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from streamsd.core.report import JsonValue, Report, write_report
from streamsd.programs.relay.nut import StreamHeader

_WINDOW = 3
_STALLED = 3.0


@dataclass(slots=True)
class Meter:
    """Counts as frames leave. Rates are over the last three seconds."""

    frames: int = 0
    bytes: int = 0
    sessions: int = 0
    encoder_pid: int = 0
    streams: Sequence[StreamHeader] = ()
    _started: float = field(default_factory=time.monotonic)
    _newest: float = 0.0
    _keyed: float = -1.0
    _key_interval: float = 0.0
    _out: float = 0.0
    _past: deque[tuple[float, int, int]] = field(default_factory=lambda: deque(maxlen=_WINDOW + 1))

    def frame(self, key: bool, out: float, now: float) -> None:
        """A frame of the leading stream left at `out` seconds of the relay's time."""
        self.frames += 1
        self._newest = now
        self._out = out
        if key:
            if self._keyed >= 0:
                self._key_interval = out - self._keyed
            self._keyed = out

    def write(
        self, path: Path, now: float, *, clients: int, dropped: int, live: bool, encoder: Mapping[str, JsonValue]
    ) -> None:
        """Write the report, with what the encoder says of itself. A directory that is gone or full is no reason to
        stop relaying."""
        self._past.append((now, self.frames, self.bytes))
        then, frames, size = self._past[0]
        span = max(now - then, 1e-3)
        fps = (self.frames - frames) / span
        moving = live and now - self._newest < max(_STALLED, 3 / fps if fps else 0)
        observed: dict[str, JsonValue] = {
            "fps": round(fps, 2),
            "bitrate_kbps": round((self.bytes - size) * 8 / span / 1000, 1),
            "clients": clients,
            "keyframe_interval_s": round(self._key_interval, 3),
            "dropped_for_clients": dropped,
            "uptime_s": round(now - self._started, 1),
            "out_time_s": round(self._out, 3),
            "encoders_seen": self.sessions,
            "encoder_pid": self.encoder_pid,
            "streams": [str(stream) for stream in self.streams],
            **encoder,
        }
        reason, message = "", ""
        if not live:
            reason, message = "NoEncoder", "no encoder is connected"
        elif not moving:
            reason, message = "Stalled", "the encoder is connected, but no frame came for seconds"
        with contextlib.suppress(OSError):
            write_report(path, Report(moving, self.frames, False, reason, message, observed))
