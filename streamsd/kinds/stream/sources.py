"""Where a stream's pictures and sound come from, as a profile says it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from streamsd.core.kind import RefTo, Spec
from streamsd.core.secret import Secret
from streamsd.core.units import Resolution
from streamsd.drivers.x11.spec import Window

Word: TypeAlias = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00]+$")]
FrameRate: TypeAlias = Annotated[float, Field(gt=0, le=240)]


def exactly_one(*names: str) -> dict[str, Any]:
    """JSON Schema's words for: exactly one of these fields."""
    return {"oneOf": [{"required": [name]} for name in names]}


class TestSource(Spec):
    """A picture that ffmpeg draws: moving, numbered, with nothing else needed."""

    __test__ = False

    pattern: Literal["testsrc2", "testsrc", "smptebars", "smptehdbars", "pal75bars", "rgbtestsrc", "mandelbrot"] = (
        "testsrc2"
    )
    """Which one: `testsrc2` moves and counts, `smptebars` are colour bars."""

    resolution: Resolution = Resolution(1280, 720)
    """Width and height in pixels."""


class Region(Spec):
    """A part of a screen, in pixels from its upper left corner."""

    x: int = Field(default=0, ge=0, le=32767)
    """From the left."""

    y: int = Field(default=0, ge=0, le=32767)
    """From the top."""

    width: int = Field(ge=2, le=32767)
    """How wide it is."""

    height: int = Field(ge=2, le=32767)
    """How high it is."""


_SOURCES = ("test", "file", "display")
_OF_DISPLAY = ("region", "window", "cursor")


def _video_schema(schema: dict[str, Any]) -> None:
    schema |= exactly_one(*_SOURCES)
    schema["dependentRequired"] = {"loop": ["file"]} | {name: ["display"] for name in _OF_DISPLAY}
    schema["not"] = {"required": ["region", "window"]}


class VideoSourceSpec(Spec):
    """Exactly one of `test`, `file` and `display`."""

    model_config = ConfigDict(json_schema_extra=_video_schema)

    test: TestSource | None = None
    """A test picture."""

    file: Word | None = None
    """A file, played in real time; relative to the profile's file."""

    loop: bool = True
    """Of a file: play it again and again. Else the stream ends with it."""

    display: Annotated[str | None, RefTo("Display")] = None
    """A display's screen."""

    region: Region | None = None
    """Of a display: only this part of it."""

    window: Window | None = None
    """Of a display: only this window. What lies over it is captured too."""

    cursor: bool = True
    """Of a display: with the pointer."""

    fps: FrameRate | None = None
    """How many pictures a second are taken. Left out: the video's `fps`; else 30, and of a file all it has."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = self.model_fields_set
        if len(given & set(_SOURCES)) != 1:
            raise ValueError(f"give exactly one of {', '.join(_SOURCES)}")
        if "loop" in given and "file" not in given:
            raise ValueError("loop goes with file")
        for name in _OF_DISPLAY:
            if name in given and "display" not in given:
                raise ValueError(f"{name} goes with display")
        if {"region", "window"} <= given:
            raise ValueError("give a region or a window, not both")
        return self


_SOUNDS = ("tone", "file", "device")


def _audio_schema(schema: dict[str, Any]) -> None:
    schema |= exactly_one(*_SOUNDS)
    schema["dependentRequired"] = {"loop": ["file"]}


class AudioSourceSpec(Spec):
    """Exactly one of `tone`, `file` and `device`."""

    model_config = ConfigDict(json_schema_extra=_audio_schema)

    tone: int | None = Field(default=None, ge=20, le=20_000)
    """A sine of so many hertz."""

    file: Word | None = None
    """A file, played in real time; relative to the profile's file. With the video's own file, they stay together."""

    loop: bool = True
    """Of a file: play it again and again."""

    device: Annotated[str | None, RefTo("Audio")] = None
    """A sound device: what is played to it."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = self.model_fields_set
        if len(given & set(_SOUNDS)) != 1:
            raise ValueError(f"give exactly one of {', '.join(_SOUNDS)}")
        if "loop" in given and "file" not in given:
            raise ValueError("loop goes with file")
        return self


class IngestSpec(Spec):
    """An RTMP server for one publisher, who knows the key."""

    listen: str | None = Field(default=None, pattern=r"^(\[[0-9a-fA-F:.]+\]|[0-9A-Za-z.-]+):[1-9][0-9]{0,4}$")
    """Address and port. Left out: a free port of 127.0.0.1, for an OBS of this profile."""

    app: str = Field(default="live", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    """The application, which is the URL's path: rtmp://HOST:PORT/live."""

    key: Secret | None = None
    """The stream key. Left out: a random one, which an OBS of this profile is told (`obs.NAME.stream.to`)."""

    @property
    def host(self) -> str:
        return self.listen.rpartition(":")[0].strip("[]") if self.listen else "127.0.0.1"

    @property
    def port(self) -> int | None:
        return int(self.listen.rpartition(":")[2]) if self.listen else None


class EncodedSourceSpec(Spec):
    """Pictures and sound that are encoded already and are sent on as they are."""

    ingest: IngestSpec
    """Published to this host, by an OBS or any other program that streams over RTMP."""
