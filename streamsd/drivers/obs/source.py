"""A source as people declare it, wherever: in a scene, in a group, or by itself in an instance."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import ConfigDict, Field, model_validator

from streamsd.core.change import OnChange
from streamsd.core.kind import Spec
from streamsd.drivers.obs.sources import (
    AudioSource,
    ColorSource,
    FreeSource,
    ImageSource,
    MediaSource,
    NetworkSource,
    ScreenSource,
    SlideshowSource,
    TextSource,
)
from streamsd.drivers.obs.values import Monitor, SourceName


class FilterSpec(Spec):
    """A filter on a source or a scene."""

    name: Annotated[SourceName, OnChange.PATCH]
    """Its name, unique on its source."""

    kind: Annotated[str, OnChange.PATCH]
    """OBS's own name of the kind, such as `color_filter_v2`, `crop_filter`, `gain_filter`."""

    settings: Annotated[dict[str, Any], OnChange.PATCH] = Field(default_factory=dict)
    """The filter's settings by OBS's own names. What is left out is OBS's default."""

    enabled: Annotated[bool, OnChange.PATCH] = True
    """Whether it takes effect."""

    plugin: Annotated[bool, OnChange.NONE] = False
    """It comes with a plugin that streamsd does not know: only OBS can check it."""


class SoundSpec(Spec):
    """What comes out of a source that has sound."""

    volume_db: Annotated[float, OnChange.PATCH] = Field(default=0.0, ge=-100.0, le=26.0)
    """Volume in decibels: 0 as it comes, -100 silence."""
    muted: Annotated[bool, OnChange.PATCH] = False
    """Silent, whatever its volume."""
    balance: Annotated[float, OnChange.PATCH] = Field(default=0.5, ge=0.0, le=1.0)
    """0 is left, 1 is right."""
    sync_ms: Annotated[int, OnChange.PATCH] = Field(default=0, ge=-950, le=20000)
    """Milliseconds that the sound is delayed by."""
    monitor: Annotated[Monitor, OnChange.PATCH] = "none"
    """Whether it is also played to OBS's own sound device."""
    tracks: Annotated[list[Annotated[int, Field(ge=1, le=6)]], OnChange.PATCH] = Field(default=[1, 2, 3, 4, 5, 6])
    """The tracks that it is mixed into."""


class SpecialInput(AudioSource):
    """Sound that is heard in every scene, without being an item of any."""

    name: Annotated[SourceName | None, OnChange.PATCH] = None
    """Its name in OBS. Left out: OBS's own, such as Desktop Audio or Mic/Aux."""
    sound: Annotated[SoundSpec | None, OnChange.PATCH] = None
    """Volume and the like."""
    filters: Annotated[list[FilterSpec], OnChange.PATCH] = Field(default=[])
    """In the order in which they are applied."""


FORMS = ("color", "image", "slideshow", "text", "media", "network", "screen", "audio", "input")


def one_form(*names: str) -> Any:
    def add(schema: dict[str, Any]) -> None:
        schema["oneOf"] = [{"required": [name]} for name in names]

    return add


class SourceSpec(Spec):
    """A source by itself: exactly one of `color`, `image`, `slideshow`, `text`, `media`, `network`, `screen`, `audio`
    and `input`."""

    model_config = ConfigDict(json_schema_extra=one_form(*FORMS))

    color: Annotated[ColorSource | None, OnChange.PATCH] = None
    """A plain colour."""
    image: Annotated[ImageSource | None, OnChange.PATCH] = None
    """A picture from a file."""
    slideshow: Annotated[SlideshowSource | None, OnChange.PATCH] = None
    """Pictures, one after the other."""
    text: Annotated[TextSource | None, OnChange.PATCH] = None
    """Text, given or read from a file."""
    media: Annotated[MediaSource | None, OnChange.PATCH] = None
    """A video or sound file."""
    network: Annotated[NetworkSource | None, OnChange.PATCH] = None
    """A stream from the network."""
    screen: Annotated[ScreenSource | None, OnChange.PATCH] = None
    """What is on a display."""
    audio: Annotated[AudioSource | None, OnChange.PATCH] = None
    """Sound of a device."""
    input: Annotated[FreeSource | None, OnChange.PATCH] = None
    """Any input that OBS has, by its own names."""

    sound: Annotated[SoundSpec | None, OnChange.PATCH] = None
    """Volume and the like, of a source that has sound."""
    filters: Annotated[list[FilterSpec], OnChange.PATCH] = Field(default=[])
    """In the order in which they are applied."""

    @model_validator(mode="after")
    def _one(self) -> SourceSpec:
        return exactly_one(self, FORMS)


S = TypeVar("S", bound=SourceSpec)


def exactly_one(spec: S, forms: tuple[str, ...]) -> S:
    given = [form for form in forms if getattr(spec, form) is not None]
    if len(given) != 1:
        what = f"{' and '.join(given)} are given" if given else "none is given"
        raise ValueError(f"exactly one of {', '.join(forms)} says what it is; {what}")
    return spec
