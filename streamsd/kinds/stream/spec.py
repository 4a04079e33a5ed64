"""What a profile says of a stream."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from streamsd.core.address import NAME_PATTERN
from streamsd.core.change import OnChange
from streamsd.core.kind import RefTo, Spec
from streamsd.core.units import Bitrate, Resolution, Seconds, Size
from streamsd.drivers.ffmpeg.media import Latency
from streamsd.kinds.stream.sources import (
    AudioSourceSpec,
    EncodedSourceSpec,
    FrameRate,
    VideoSourceSpec,
    Word,
    exactly_one,
)

Preset: TypeAlias = Literal[
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"
]

_GOP = {Latency.LOW: 1.0, Latency.NORMAL: 2.0, Latency.QUALITY: 4.0}


class VideoSpec(Spec):
    """Pictures: where they come from and how they are encoded. A change starts the encoder anew, and nothing else."""

    source: VideoSourceSpec
    """Where they come from."""

    codec: Literal["h264"] = "h264"
    """How they are encoded."""

    fps: FrameRate | None = None
    """How many a second leave. Left out: as many as the source gives."""

    bitrate: Bitrate = Bitrate(2_500_000)
    """How much they may take."""

    preset: Preset = "superfast"
    """How hard the encoder works: a slower preset looks better at the same bit rate, and costs more."""

    profile: Literal["baseline", "main", "high"] = "high"
    """What decoders must be able to do."""

    latency: Latency = Latency.LOW
    """`low` holds no frame back (about 20 ms); `normal` and `quality` look better, and are later."""

    gop: Seconds | None = None
    """The time between two keyframes: readers join, and segments begin, at keyframes only. Left out: 1 s with latency
    `low`, 2 s with `normal`, 4 s with `quality`."""

    scale: Resolution | None = None
    """The size that they are sent in. Left out: as they come."""

    @property
    def gop_seconds(self) -> float:
        return self.gop.seconds if self.gop else _GOP[self.latency]


class AudioSpec(Spec):
    """Sound: where it comes from and how it is encoded."""

    source: AudioSourceSpec
    """Where it comes from."""

    codec: Literal["aac"] = "aac"
    """How it is encoded."""

    bitrate: Bitrate = Bitrate(128_000)
    """How much it may take."""

    rate: Literal[32000, 44100, 48000] = 48000
    """Samples a second."""

    channels: Literal[1, 2, 6] = 2
    """1 is mono, 2 stereo, 6 is 5.1."""


class HlsSpec(Spec):
    """Watched in browsers, over HTTP."""

    server: Annotated[str, RefTo("Server", follows=False)] = "web"
    """The web server that serves it."""

    latency: Literal["low", "normal"] = "normal"
    """`low` is segments of one second, and of 10 s in all; `normal` of two, and 30 s."""

    segment: Seconds | None = None
    """How long a segment is; never shorter than the video's `gop`. Left out: see `latency`."""

    window: Seconds | None = None
    """How far a viewer can go back. Left out: see `latency`."""

    @property
    def segment_seconds(self) -> float:
        if self.segment:
            return self.segment.seconds
        return 1.0 if self.latency == "low" else 2.0

    @property
    def window_seconds(self) -> float:
        if self.window:
            return self.window.seconds
        return 10.0 if self.latency == "low" else 30.0


class RecordSpec(Spec):
    """Kept on disk as Matroska files."""

    path: Word
    """Where, with strftime's directives; relative to the profile's file. A path that ends in `.mkv` names files, any
    other one a directory for files named by their time of day. A file appears there once it is whole."""

    segment: Seconds = Seconds(600)
    """How much goes into one file."""

    keep: Seconds | None = None
    """How long files are kept. Left out: for ever."""

    keep_size: Size | None = None
    """How much the files may take together; the oldest go first. Left out: all that there is."""


_OUTPUTS = ("hls", "record")


class DestinationSpec(Spec):
    """Exactly one of `hls` and `record`. Each destination is a process of its own: adding, changing or breaking one
    touches neither the encoder nor another."""

    model_config = ConfigDict(json_schema_extra=exactly_one(*_OUTPUTS))

    hls: HlsSpec | None = None
    """Watched in browsers, over HTTP."""

    record: RecordSpec | None = None
    """Kept on disk."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set & set(_OUTPUTS)) != 1:
            raise ValueError(f"give exactly one of {', '.join(_OUTPUTS)}")
        return self


DestinationName: TypeAlias = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


def _stream_schema(schema: dict[str, Any]) -> None:
    schema |= exactly_one(*_BEGINNINGS)
    schema["dependentRequired"] = {"audio": ["video"]}


_BEGINNINGS = ("video", "source")


class StreamSpec(Spec):
    """Pictures and sound, encoded once, sent to any number of destinations. Either `video`, with or without `audio`,
    or a `source` that brings both."""

    model_config = ConfigDict(json_schema_extra=_stream_schema)

    video: VideoSpec | None = None
    """The pictures, captured and encoded here."""

    audio: AudioSpec | None = None
    """The sound. Left out: none."""

    source: EncodedSourceSpec | None = None
    """Instead of `video` and `audio`: what is encoded already, by OBS for instance."""

    destinations: dict[DestinationName, DestinationSpec] = Field(default_factory=dict)
    """Where it goes, by a name of your choice."""

    description: Annotated[str, OnChange.NONE] = ""
    """For people."""

    @model_validator(mode="after")
    def _begins(self) -> Self:
        if len(self.model_fields_set & set(_BEGINNINGS)) != 1:
            raise ValueError("give video, for pictures captured here, or source, for what is published here")
        if "audio" in self.model_fields_set and self.video is None:
            raise ValueError("audio goes with video")
        return self

    @property
    def gop_seconds(self) -> float:
        """The time between two keyframes; of what is published, which says it nowhere, a usual one."""
        return self.video.gop_seconds if self.video else _GOP[Latency.NORMAL]


__all__ = ["AudioSpec", "DestinationSpec", "HlsSpec", "RecordSpec", "StreamSpec", "VideoSpec"]
