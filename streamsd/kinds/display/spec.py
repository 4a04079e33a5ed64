"""What a profile says of a display."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from streamsd.core.change import OnChange
from streamsd.core.kind import Spec
from streamsd.core.units import Resolution

_HD = Resolution(1920, 1080)


class DisplaySpec(Spec):
    """A virtual X screen."""

    backend: Annotated[Literal["xvfb"], OnChange.REPLACE] = "xvfb"
    """What draws it: `xvfb` is a screen in memory, with no graphics card and no monitor."""

    number: Annotated[int | None, OnChange.REPLACE] = Field(default=None, ge=0, le=59535)
    """The X display number, 7 for `:7`. Left out: a free one, which stays the same."""

    resolution: Annotated[Resolution, OnChange.PATCH] = _HD
    """Width and height in pixels. It changes live, up to `max_resolution`: the programs on the display go on."""

    max_resolution: Annotated[Resolution | None, OnChange.RESTART] = None
    """The largest resolution that it can be given without being started anew; it costs memory (1920x1080 about
    45 MB, 3840x2160 about 63 MB). Left out: 1920x1080, or what `resolution` needs beyond that."""

    dpi: Annotated[int, OnChange.PATCH] = Field(default=96, ge=20, le=1200)
    """Dots an inch that programs are told. Programs that run already may not look again."""

    description: Annotated[str, OnChange.NONE] = ""
    """For people."""

    @property
    def largest(self) -> Resolution:
        """`max_resolution`, or what it comes to when it is left out."""
        if self.max_resolution is not None:
            return self.max_resolution
        return Resolution(max(self.resolution.width, _HD.width), max(self.resolution.height, _HD.height))
