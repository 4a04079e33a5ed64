"""Kinds made for the tests of the document room: every shape of spec that pydantic can say and kinds use."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from streamsd.core.change import OnChange
from streamsd.core.kind import Compiled, Context, Kind, RefTo, Registry, Resource, Spec
from streamsd.core.secret import Secret
from streamsd.core.units import Bitrate, Resolution, Seconds, Size
from streamsd.document.load import Loaded, load


class Screen(Spec):
    """A screen."""

    resolution: Annotated[Resolution, OnChange.PATCH] = Resolution(1280, 720)
    """How large it is."""
    fps: int = Field(default=30, ge=1, le=240)
    """Frames a second. More is smoother."""
    gamma: float = Field(default=1.0, gt=0)
    beside: Annotated[str | None, RefTo("Screen")] = None
    """The screen to its left."""


class Rtmp(Spec):
    """To a server."""

    url: str = Field(pattern="^rtmps?://")
    key: Secret | None = None


class File(Spec):
    """To a file."""

    path: Path
    keep: Seconds | None = None
    max_size: Size | None = None


class Sink(Spec):
    """One of its fields says where to."""

    rtmp: Rtmp | None = None
    file: File | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.rtmp is None) == (self.file is None):
            raise ValueError("give exactly one of rtmp and file")
        return self


class Blur(Spec):
    type: Literal["blur"]
    radius: int = Field(ge=0)


class Crop(Spec):
    type: Literal["crop"]
    left: int = 0
    box: Resolution


class Filter(Spec):
    filter: str


class Window(Spec):
    window: Seconds


def _shape(value: Any) -> str:
    keys = value if isinstance(value, dict) else getattr(type(value), "model_fields", ())
    return next((str(key) for key in ("filter", "window") if key in keys), "filter")


class Cast(Spec):
    """A stream."""

    screen: Annotated[str, RefTo("Screen")]
    """The screen to capture."""
    codec: Literal["h264", "hevc", "av1"] = "h264"
    bitrate: Bitrate | None = None
    channels: Literal[1, 2] = 2
    sinks: dict[str, Sink] = Field(default_factory=dict)
    effects: list[Annotated[Blur | Crop, Field(discriminator="type")]] = Field(default_factory=list, max_length=3)
    steps: tuple[
        Annotated[Annotated[Filter, Tag("filter")] | Annotated[Window, Tag("window")], Discriminator(_shape)], ...
    ] = ()
    env: dict[str, str | int | Secret] = Field(default_factory=dict)
    size: Resolution | Literal["screen"] = "screen"
    extra: Filter | Window | None = None
    also: list[Annotated[str, RefTo("Screen")]] = Field(default_factory=list)
    muted: bool = False
    token: Secret | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    class_: str = Field(default="", alias="class", max_length=20)


class _Nothing(Kind[Any]):
    def compile(self, resource: Resource[Any], context: Context) -> Compiled:
        return Compiled()


class ScreenKind(_Nothing):
    name, section, summary, spec = "Screen", "screens", "A screen.", Screen


class CastKind(_Nothing):
    name, section, summary, spec = "Cast", "casts", "A stream of a screen.", Cast


REGISTRY = Registry([ScreenKind(), CastKind()])


def read(directory: Path, text: str, *, host: str = "studio", environ: Mapping[str, str] | None = None) -> Loaded:
    """Load a text as `profile.yaml` of a directory."""
    file = directory / "profile.yaml"
    file.write_text(text)
    return load(file, REGISTRY, host=host, environ=environ or {})


def told(loaded: Loaded) -> list[str]:
    """Each diagnostic as `line:column code`."""
    return [f"{d.at.line}:{d.at.column} {d.code}" if d.at else d.code for d in loaded.diagnostics]
