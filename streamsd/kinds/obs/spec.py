"""What a profile says of an OBS instance."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from streamsd.core.change import OnChange
from streamsd.core.kind import RefTo, Spec
from streamsd.core.secret import Secret
from streamsd.core.units import Bitrate, Resolution, Seconds, Size
from streamsd.drivers.obs.source import SourceSpec, SpecialInput
from streamsd.drivers.obs.values import SourceName

Place: TypeAlias = Literal["desktop_1", "desktop_2", "mic_1", "mic_2", "mic_3", "mic_4"]

OnOff: TypeAlias = Literal["on", "off"]

_FILE_NAME = r"^[A-Za-z0-9][A-Za-z0-9 _-]{0,62}$"

FileName: TypeAlias = Annotated[str, StringConstraints(pattern=_FILE_NAME)]
"""A name that OBS makes a file name of."""


def is_file_name(text: str) -> bool:
    """Whether it is a `FileName`."""
    return re.fullmatch(_FILE_NAME, text) is not None


class VideoEncoder(Spec):
    """The simple mode's encoders; the advanced mode has `advanced`."""

    bitrate: Annotated[Bitrate, OnChange.PATCH] = Bitrate(2_500_000)
    """Of the picture."""
    audio_bitrate: Annotated[Bitrate, OnChange.PATCH] = Bitrate(160_000)
    """Of the sound."""
    encoder: Annotated[Literal["x264", "nvenc", "qsv", "amd"], OnChange.PATCH] = "x264"
    """Which one. The ones of graphics cards need such a card."""
    preset: Annotated[str, OnChange.PATCH] = "veryfast"
    """x264's preset, from ultrafast to placebo."""
    keyframes: Annotated[Seconds | None, OnChange.PATCH] = None
    """The time between two keyframes, of x264. Viewers join, and segments begin, at keyframes only. Left out: 2 s when
    it streams to a stream of this profile, else OBS's own choice."""


class Track(Spec):
    """One of OBS's six sound tracks, in the advanced mode."""

    name: Annotated[str | None, OnChange.PATCH] = None
    """What players call it."""
    bitrate: Annotated[Bitrate, OnChange.PATCH] = Bitrate(160_000)
    """How much it may take."""


class AdvancedOutput(Spec):
    """OBS's advanced output mode, by its own names."""

    encoder: Annotated[str, OnChange.PATCH] = "obs_x264"
    """The stream's encoder."""
    settings: Annotated[dict[str, Any], OnChange.PATCH] = Field(default_factory=dict)
    """That encoder's settings, such as {rate_control: CBR, bitrate: 6000, keyint_sec: 2}."""
    recording_encoder: Annotated[str, OnChange.PATCH] = "none"
    """The recording's encoder; `none` is the stream's."""
    recording_settings: Annotated[dict[str, Any], OnChange.PATCH] = Field(default_factory=dict)
    """The settings of the recording's own encoder."""
    tracks: Annotated[list[Track], OnChange.PATCH] = Field(default=[], max_length=6)
    """The sound tracks, track 1 first. Left out: left alone."""
    stream_track: Annotated[int, OnChange.PATCH] = Field(default=1, ge=1, le=6)
    """The track that is streamed."""


_TARGETS = ("server", "to")


class StreamOutput(Spec):
    """Where OBS streams to: a `server`, or a stream of this profile (`to`)."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": [name]} for name in _TARGETS],
            "dependentRequired": {"key": ["server"], "user": ["server"], "password": ["server"]},
        }
    )

    state: Annotated[OnOff, OnChange.PATCH] = "off"
    """Whether it ought to stream. It is started again when it ends by itself."""
    server: Annotated[str | None, OnChange.PATCH] = Field(default=None, min_length=1)
    """Such as rtmp://127.0.0.1:1935/live."""
    to: Annotated[str | None, RefTo("Stream", follows=False), OnChange.PATCH] = None
    """A stream whose `source` is `ingest`: its address and key are filled in."""
    key: Annotated[Secret | None, OnChange.PATCH] = None
    """The stream key."""
    user: Annotated[str | None, OnChange.PATCH] = None
    """A user name, where the server wants one."""
    password: Annotated[Secret | None, OnChange.PATCH] = None
    """That user's password."""

    @model_validator(mode="after")
    def _one_target(self) -> StreamOutput:
        given = self.model_fields_set
        if len(given & set(_TARGETS)) != 1:
            raise ValueError("say server or to, and not both")
        for name in ("key", "user", "password"):
            if name in given and "server" not in given:
                raise ValueError(f"{name} goes with server: the stream that `to` names has its own")
        return self


class Recording(Spec):
    """What OBS records."""

    state: Annotated[OnOff, OnChange.PATCH] = "off"
    """Whether it ought to record."""
    path: Annotated[str, OnChange.PATCH] = "recordings"
    """The directory. A relative path is relative to the profile. Taken when a recording starts."""
    format: Annotated[Literal["mkv", "mp4", "mov", "flv", "ts", "hybrid_mp4"], OnChange.PATCH] = "mkv"
    """mkv, ts and, but for its last seconds, hybrid_mp4 (OBS 30.2 and later) can be played if OBS is killed."""
    filename: Annotated[str, OnChange.PATCH] = "%CCYY-%MM-%DD %hh-%mm-%ss"
    """The file's name, by OBS's own marks."""
    quality: Annotated[Literal["stream", "high", "indistinguishable", "lossless"], OnChange.PATCH] = "stream"
    """`stream`: what is streamed, with no second encoder; it cannot be paused. Of the simple mode."""
    tracks: Annotated[list[Annotated[int, Field(ge=1, le=6)]], OnChange.PATCH] = Field(default=[1], min_length=1)
    """The sound tracks that are recorded, each as one of the file's. More than the first needs `advanced`."""


class ReplayBuffer(Spec):
    """The last seconds, kept to be saved."""

    state: Annotated[OnOff, OnChange.PATCH] = "off"
    """Whether it ought to run."""
    length: Annotated[Seconds, OnChange.PATCH] = Seconds(20)
    """How much is kept."""


class Reconnect(Spec):
    """What OBS does when a stream's connection breaks."""

    enabled: Annotated[bool, OnChange.PATCH] = True
    """Try again by itself. streamsd starts the stream again in any case, once OBS has given up."""
    delay: Annotated[Seconds, OnChange.PATCH] = Seconds(2)
    """How long it waits at first."""
    retries: Annotated[int, OnChange.PATCH] = Field(default=25, ge=0, le=10000)
    """How often it tries."""


class TransitionSpec(Spec):
    """A transition under a name of its own."""

    kind: Annotated[str, OnChange.PATCH]
    """OBS's own name of the kind, such as wipe_transition."""
    settings: Annotated[dict[str, Any], OnChange.PATCH] = Field(default_factory=dict)
    """Its settings by OBS's own names."""


class CurrentTransition(Spec):
    """How one scene gives way to the next."""

    name: Annotated[str, OnChange.PATCH] = "Fade"
    """Cut, Fade, or one of `transitions`."""
    duration: Annotated[Seconds, OnChange.PATCH] = Seconds(0.3)
    """How long it takes."""


class ObsLimits(Spec):
    """What OBS may use."""

    memory: Annotated[Size | None, OnChange.PATCH] = None
    """Memory. Past it the kernel ends OBS, and it is started again."""
    cpu: Annotated[int | None, OnChange.PATCH] = Field(default=None, ge=1, le=100_000)
    """Percent of one core."""
    nice: Annotated[int, OnChange.PATCH] = Field(default=0, ge=-20, le=19)
    """Scheduling priority: 19 gives way to everything else."""


class External(Spec):
    """An OBS that somebody else runs: it is kept as declared, and never started or stopped."""

    host: Annotated[str, OnChange.RESTART] = "127.0.0.1"
    """Where its obs-websocket listens."""
    port: Annotated[int, OnChange.RESTART] = Field(default=4455, ge=1, le=65535)
    """On which port."""
    password: Annotated[Secret, OnChange.RESTART]
    """Its password."""


class Websocket(Spec):
    """obs-websocket, by which OBS is kept."""

    port: Annotated[int | None, OnChange.RESTART] = Field(default=None, ge=1, le=65535)
    """Left out: a free one. It is held on 127.0.0.1; where the kernel forbids that, the password keeps others out."""
    password: Annotated[Secret | None, OnChange.RESTART] = None
    """Left out: a random one, in a private file."""


class ObsSpec(Spec):
    """An instance of OBS Studio."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": ["scenes"]}, {"required": ["collections"]}]})

    display: Annotated[str | None, RefTo("Display"), OnChange.RESTART] = None
    """The display that its window is on. Left out: one of its own, which nobody sees."""
    audio: Annotated[str | None, RefTo("Audio"), OnChange.RESTART] = None
    """The device whose sound server it uses."""
    external: Annotated[External | None, OnChange.REPLACE] = None
    """Keep an OBS that somebody else runs, instead of starting one."""
    websocket: Annotated[Websocket, OnChange.RESTART] = Websocket()
    """obs-websocket's port and password."""

    canvas: Annotated[Resolution, OnChange.PATCH] = Resolution(1280, 720)
    """The size that scenes are composed at."""
    output: Annotated[Resolution | None, OnChange.PATCH] = None
    """The size that is streamed and recorded. Left out: the canvas."""
    fps: Annotated[float, OnChange.PATCH] = Field(default=30, ge=1, le=240)
    """Frames a second. 23.976, 29.97 and 59.94 mean 24000/1001, 30000/1001 and 60000/1001."""
    sample_rate: Annotated[Literal[44100, 48000], OnChange.RESTART] = 48000
    """Of the sound, in hertz."""
    channels: Annotated[Literal["mono", "stereo", "2.1", "4.0", "4.1", "5.1", "7.1"], OnChange.RESTART] = "stereo"
    """Of the sound."""

    scenes: Annotated[list[Annotated[str, RefTo("Scene", follows=False)]], OnChange.PATCH] = Field(default=[])
    """Its scenes, in their order."""
    collections: Annotated[dict[FileName, list[Annotated[str, RefTo("Scene", follows=False)]]], OnChange.PATCH] = Field(
        default={}
    )
    """Several scene collections, each a list of scenes; `collection` says which one is loaded."""
    collection: Annotated[FileName | None, OnChange.PATCH] = None
    """The scene collection that is loaded. Left out: the first of `collections`, or one named `streamsd`."""
    profile: Annotated[FileName, OnChange.RESTART] = "streamsd"
    """OBS's profile, which its output settings belong to."""
    sources: Annotated[dict[SourceName, SourceSpec], OnChange.PATCH] = Field(default={})
    """Sources that scenes show by `source: NAME`."""
    special: Annotated[dict[Place, SpecialInput], OnChange.PATCH] = Field(default={})
    """Sound that is heard in every scene: desktop_1, desktop_2 and mic_1 to mic_4. What is left out is left alone."""
    program: Annotated[str | None, OnChange.PATCH] = None
    """The scene that is on air. Left out: whichever is, the first one at the start."""
    preview: Annotated[str | None, OnChange.PATCH] = None
    """The scene in preview, in studio mode."""
    studio_mode: Annotated[bool, OnChange.PATCH] = False
    """Prepare one scene while another is on air."""
    transition: Annotated[CurrentTransition, OnChange.PATCH] = CurrentTransition()
    """How one scene gives way to the next."""
    transitions: Annotated[dict[SourceName, TransitionSpec], OnChange.PATCH] = Field(default={})
    """Transitions beside Cut and Fade."""
    prune: Annotated[bool | None, OnChange.PATCH] = None
    """Remove what is in OBS and not declared. Left out: yes, but not with `external`. What was declared and is no
    longer goes in any case."""

    encoder: Annotated[VideoEncoder, OnChange.PATCH] = VideoEncoder()
    """Bit rates and encoder of the simple output mode."""
    advanced: Annotated[AdvancedOutput | None, OnChange.PATCH] = None
    """OBS's advanced output mode instead."""
    stream: Annotated[StreamOutput | None, OnChange.PATCH] = None
    """Streaming. Left out: not set up and left alone."""
    record: Annotated[Recording | None, OnChange.PATCH] = None
    """Recording. Left out: left alone."""
    replay_buffer: Annotated[ReplayBuffer | None, OnChange.PATCH] = None
    """The replay buffer. Left out: left alone."""
    virtual_camera: Annotated[OnOff | None, OnChange.PATCH] = None
    """The virtual camera, on a host that has v4l2loopback. Left out: left alone."""
    reconnect: Annotated[Reconnect, OnChange.PATCH] = Reconnect()
    """What happens when a stream's connection breaks."""
    parameters: Annotated[dict[str, dict[str, str]], OnChange.PATCH] = Field(default={})
    """Any other setting of OBS's profile (basic.ini), by section and name."""
    interrupt: Annotated[Literal["hold", "allow"], OnChange.PATCH] = "hold"
    """A change that takes a running stream or recording to be stopped and started: `hold` waits until it is off air or
    asked for with --allow-interrupt; `allow` does it at once."""

    answer_within: Annotated[Seconds, OnChange.PATCH] = Seconds(30)
    """An OBS that answers no question, or draws no frame, for so long is started anew."""
    limits: Annotated[ObsLimits, OnChange.PATCH] = ObsLimits()
    """What OBS may use."""
    description: Annotated[str, OnChange.NONE] = ""
    """For people."""

    @model_validator(mode="after")
    def _has_scenes(self) -> ObsSpec:
        if bool(self.scenes) == bool(self.collections):
            raise ValueError("say scenes or collections, and not both")
        return self

    @property
    def current_collection(self) -> str:
        return self.collection or next(iter(self.collections), "streamsd")

    @property
    def current_scenes(self) -> list[str]:
        """The scenes of the collection that is loaded."""
        return self.collections.get(self.current_collection, []) if self.collections else self.scenes

    @property
    def prunes(self) -> bool:
        return self.prune if self.prune is not None else self.external is None

    @property
    def frame_rate(self) -> Fraction:
        """Frames a second, exactly: rates of NTSC are 1000/1001 of a whole one."""
        whole = round(self.fps)
        if abs(self.fps - whole * 1000 / 1001) < 0.005:
            return Fraction(whole * 1000, 1001)
        return Fraction(self.fps).limit_denominator(1001)
