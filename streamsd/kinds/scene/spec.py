"""What a profile says of a scene."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import ConfigDict, Field, model_validator

from streamsd.core.change import OnChange
from streamsd.core.kind import RefTo, Spec
from streamsd.core.units import Resolution, Seconds
from streamsd.drivers.obs.source import FORMS, FilterSpec, SourceSpec, exactly_one, one_form
from streamsd.drivers.obs.values import Align, Blend, Fit, Pair, SourceName


class Crop(Spec):
    """Pixels cut off a source, before it is scaled."""

    left: Annotated[int, OnChange.PATCH] = Field(default=0, ge=0)
    """From the left."""
    right: Annotated[int, OnChange.PATCH] = Field(default=0, ge=0)
    """From the right."""
    top: Annotated[int, OnChange.PATCH] = Field(default=0, ge=0)
    """From the top."""
    bottom: Annotated[int, OnChange.PATCH] = Field(default=0, ge=0)
    """From the bottom."""


class _Placed(Spec):
    """Where something lies and how it is shown."""

    position: Annotated[Pair, OnChange.PATCH] = Field(default=[0.0, 0.0])
    """Where it lies in pixels of the canvas, from the top left corner: [x, y]."""
    align: Annotated[Align, OnChange.PATCH] = "top-left"
    """Which point of it lies at `position`."""
    scale: Annotated[Pair | float, OnChange.PATCH] = 1.0
    """Its size as a factor, or two: [horizontal, vertical]."""
    size: Annotated[Resolution | None, OnChange.PATCH] = None
    """A box that it is fitted into, whatever its own size."""
    fit: Annotated[Fit, OnChange.PATCH] = "stretch"
    """How it is fitted into `size`: `stretch`, `inside` (whole, keeping its shape), `outside` (filling the box),
    `width`, `height`, or `shrink` (only when it is larger)."""
    fit_align: Annotated[Align, OnChange.PATCH] = "center"
    """Where in the box it lies when it does not fill it."""
    rotation: Annotated[float, OnChange.PATCH] = Field(default=0.0, gt=-360.0, lt=360.0)
    """Degrees, clockwise."""
    crop: Annotated[Crop, OnChange.PATCH] = Crop()
    """What is cut off."""
    visible: Annotated[bool, OnChange.PATCH] = True
    """Whether it is shown."""
    locked: Annotated[bool, OnChange.PATCH] = False
    """Locked against the mouse in OBS's own window."""
    blend: Annotated[Blend, OnChange.PATCH] = "normal"
    """How it is laid over what lies below."""


class MemberSpec(SourceSpec, _Placed):
    """A member of a group: a source of its own, or one that is defined elsewhere (`source`)."""

    model_config = ConfigDict(json_schema_extra=one_form(*FORMS, "source"))

    name: Annotated[SourceName | None, OnChange.PATCH] = None
    """The source's name in OBS. Needed unless `source` gives it."""
    source: Annotated[SourceName | None, OnChange.PATCH] = None
    """A source that the instance or another scene defines."""

    @model_validator(mode="after")
    def _one(self) -> MemberSpec:
        return _named(exactly_one(self, (*FORMS, "source")))

    @property
    def source_name(self) -> str:
        return self.source or self.name or ""


class GroupSpec(Spec):
    """Sources that are placed together."""

    items: Annotated[list[MemberSpec], OnChange.PATCH] = Field(min_length=1)
    """The members, the one on top first. Positions are relative to the group."""


class ItemSpec(SourceSpec, _Placed):
    """One thing in a scene: a source of its own, one that is defined elsewhere (`source`), another scene (`scene`), or
    a group."""

    model_config = ConfigDict(json_schema_extra=one_form(*FORMS, "source", "scene", "group"))

    name: Annotated[SourceName | None, OnChange.PATCH] = None
    """The source's name in OBS. Needed unless `source` or `scene` gives it."""
    source: Annotated[SourceName | None, OnChange.PATCH] = None
    """A source that the instance or another scene defines."""
    scene: Annotated[str | None, RefTo("Scene", follows=False), OnChange.PATCH] = None
    """Another scene, shown inside this one."""
    group: Annotated[GroupSpec | None, OnChange.PATCH] = None
    """A group of sources."""

    @model_validator(mode="after")
    def _one(self) -> ItemSpec:
        return _named(exactly_one(self, (*FORMS, "source", "scene", "group")))

    @property
    def source_name(self) -> str:
        """Its name in OBS."""
        return self.source or self.scene or self.name or ""


class SceneTransition(Spec):
    """How it is come to this scene, instead of the instance's transition."""

    name: Annotated[str | None, OnChange.PATCH] = None
    """Cut, Fade, or one of the instance's `transitions`."""
    duration: Annotated[Seconds | None, OnChange.PATCH] = None
    """How long it takes."""


class SceneSpec(Spec):
    """A scene of OBS."""

    items: Annotated[list[ItemSpec], OnChange.PATCH] = Field(default=[])
    """What it shows, the one on top first, as OBS lists them."""
    filters: Annotated[list[FilterSpec], OnChange.PATCH] = Field(default=[])
    """Filters on the whole scene, in the order in which they are applied."""
    transition: Annotated[SceneTransition | None, OnChange.PATCH] = None
    """How it is come to this scene, instead of the instance's transition."""
    title: Annotated[SourceName | None, OnChange.PATCH] = None
    """Its name in OBS, where that is another than here."""
    description: Annotated[str, OnChange.NONE] = ""
    """For people."""


N = TypeVar("N", ItemSpec, MemberSpec)


def _named(spec: N) -> N:
    refers = [key for key in ("source", "scene") if getattr(spec, key, None) is not None]
    if refers and spec.name is not None:
        raise ValueError(f"{refers[0]} gives the name: leave name out")
    if refers and (spec.filters or spec.sound):
        raise ValueError(f"filters and sound belong where the {refers[0]} is defined, not where it is shown")
    if not refers and spec.name is None:
        raise ValueError("name is missing: what OBS calls the source")
    return spec
