"""What ffmpeg is asked to capture and to encode, said without options."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias

from streamsd.core.units import Bitrate, Resolution


class Latency(StrEnum):
    """What an encoder trades for delay. Measured at 1080p30 from paint to packet: `low` 17–33 ms, the others more than
    half a second."""

    LOW = "low"
    """No frame waits for another: no B-frames, no look-ahead."""
    NORMAL = "normal"
    """Two B-frames and half a second of look-ahead."""
    QUALITY = "quality"
    """All that the preset offers."""


@dataclass(frozen=True, slots=True)
class TestPattern:
    """A picture that ffmpeg draws, in real time. `pattern` is the name of a lavfi source."""

    __test__ = False

    pattern: str
    resolution: Resolution
    fps: float


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file, played in real time, once or for ever."""

    path: Path
    loop: bool


@dataclass(frozen=True, slots=True)
class ScreenSource:
    """An area of an X display. The whole of a window is captured where `window` is: a placeholder, which a launcher
    replaces by the window's id."""

    display: str
    x: int
    y: int
    resolution: Resolution
    fps: float
    cursor: bool
    window: str = ""


VideoSource: TypeAlias = TestPattern | FileSource | ScreenSource


@dataclass(frozen=True, slots=True)
class ToneSource:
    """A sine."""

    hertz: int


@dataclass(frozen=True, slots=True)
class PulseSource:
    """A source of a PulseAudio server: `server` as libpulse takes it, `unix:/path`."""

    server: str
    source: str


AudioSource: TypeAlias = ToneSource | FileSource | PulseSource


@dataclass(frozen=True, slots=True)
class VideoEncoding:
    """H.264 as it leaves. `fps` None: as the source has it. `size` None: as the source has it, made even."""

    bitrate: Bitrate
    preset: str
    profile: str
    latency: Latency
    gop_seconds: float
    fps: float | None
    size: Resolution | None


@dataclass(frozen=True, slots=True)
class AudioEncoding:
    """AAC as it leaves."""

    bitrate: Bitrate
    rate: int
    channels: int
