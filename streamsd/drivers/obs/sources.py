"""Sources with settings of their own, and what each comes to in OBS."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from streamsd.core.change import OnChange
from streamsd.core.kind import RefTo, Spec
from streamsd.core.units import Resolution, Seconds
from streamsd.drivers.obs.values import Color
from streamsd.drivers.x11.spec import Window


class ColorSource(Spec):
    """A plain colour."""

    color: Annotated[Color, OnChange.PATCH]
    """`#rrggbb` or `#rrggbbaa`."""
    size: Annotated[Resolution, OnChange.PATCH] = Resolution(1920, 1080)
    """Its size in pixels."""


class ImageSource(Spec):
    """A picture from a file."""

    file: Annotated[str, OnChange.PATCH] = Field(min_length=1)
    """The file. A relative path is relative to the profile."""
    unload: Annotated[bool, OnChange.PATCH] = False
    """Keep it out of memory while it is not shown."""


class SlideshowSource(Spec):
    """Pictures, one after the other."""

    files: Annotated[list[str], OnChange.PATCH] = Field(min_length=1)
    """Pictures, or directories of pictures. Relative paths are relative to the profile."""
    every: Annotated[Seconds, OnChange.PATCH] = Seconds(8)
    """How long each is shown."""
    transition: Annotated[Literal["cut", "fade", "swipe", "slide"], OnChange.PATCH] = "fade"
    """How one gives way to the next."""
    transition_time: Annotated[Seconds, OnChange.PATCH] = Seconds(0.7)
    """How long that takes."""
    loop: Annotated[bool, OnChange.PATCH] = True
    """Begin anew after the last one."""
    random: Annotated[bool, OnChange.PATCH] = False
    """In no order."""
    size: Annotated[Resolution | None, OnChange.PATCH] = None
    """What each is fitted into. Left out: as wide and as high as the largest of them."""


class Font(Spec):
    """A font."""

    face: Annotated[str, OnChange.PATCH] = "Sans Serif"
    """Its name, as `fc-list` knows it."""
    size: Annotated[int, OnChange.PATCH] = Field(default=64, ge=1, le=2000)
    """In pixels."""
    style: Annotated[str, OnChange.PATCH] = ""
    """Such as Bold."""


class TextSource(Spec):
    """Text, given (`text`) or read from a file (`file`) whenever that changes."""

    text: Annotated[str, OnChange.PATCH] = ""
    """The text itself."""
    file: Annotated[str | None, OnChange.PATCH] = None
    """A file whose text is shown. A relative path is relative to the profile."""
    font: Annotated[Font, OnChange.PATCH] = Font()
    """The font."""
    color: Annotated[Color, OnChange.PATCH] = "#ffffff"
    """The colour, at the top of the letters."""
    color2: Annotated[Color | None, OnChange.PATCH] = None
    """The colour at their bottom: left out, the same."""
    outline: Annotated[bool, OnChange.PATCH] = False
    """A dark line around the letters."""
    shadow: Annotated[bool, OnChange.PATCH] = False
    """A shadow behind them."""
    width: Annotated[int | None, OnChange.PATCH] = Field(default=None, ge=1)
    """Break lines at this many pixels."""


class MediaSource(Spec):
    """A video or sound file."""

    file: Annotated[str, OnChange.PATCH] = Field(min_length=1)
    """The file. A relative path is relative to the profile."""
    loop: Annotated[bool, OnChange.PATCH] = False
    """Begin anew when it ends."""
    restart: Annotated[bool, OnChange.PATCH] = True
    """Begin anew when it comes on air."""
    speed_percent: Annotated[int, OnChange.PATCH] = Field(default=100, ge=1, le=200)
    """How fast it plays."""
    hardware: Annotated[bool, OnChange.PATCH] = False
    """Decode it by the graphics card where that can."""


class NetworkSource(Spec):
    """A stream from the network, or anything that FFmpeg reads by a URL."""

    url: Annotated[str, OnChange.PATCH] = Field(min_length=1)
    """Where it is. Not for URLs that hold a password: OBS shows it in its own window and file."""
    format: Annotated[str | None, OnChange.PATCH] = None
    """FFmpeg's name of the format, where it cannot be told from the URL."""
    buffer_mb: Annotated[int, OnChange.PATCH] = Field(default=2, ge=0, le=16)
    """Megabytes that are read ahead."""
    reconnect: Annotated[Seconds, OnChange.PATCH] = Seconds(10)
    """How long to wait before it is tried again."""
    hardware: Annotated[bool, OnChange.PATCH] = False
    """Decode it by the graphics card where that can."""


class Cut(Spec):
    """Pixels that are not captured."""

    left: Annotated[int, OnChange.PATCH] = Field(default=0, ge=0)
    """From the left."""
    right: Annotated[int, OnChange.PATCH] = Field(default=0, ge=0)
    """From the right."""
    top: Annotated[int, OnChange.PATCH] = Field(default=0, ge=0)
    """From the top."""
    bottom: Annotated[int, OnChange.PATCH] = Field(default=0, ge=0)
    """From the bottom."""


class ScreenSource(Spec):
    """What is on a display: the whole of it, or one window."""

    display: Annotated[str, RefTo("Display", follows=False), OnChange.PATCH]
    """The display."""
    cursor: Annotated[bool, OnChange.PATCH] = True
    """Whether the mouse pointer is shown."""
    window: Annotated[Window | None, OnChange.PATCH] = None
    """Only this window, wherever it is moved; what lies over it is shown too. While there is none, nothing is shown and
    the instance is Degraded (WindowMissing)."""
    cut: Annotated[Cut, OnChange.PATCH] = Cut()
    """What is not captured, from the edges of the display, or of the window."""


class AudioSource(Spec):
    """Sound: of a device of this profile (`device`), or of a source that OBS's sound server has (`source`)."""

    device: Annotated[str | None, RefTo("Audio"), OnChange.PATCH] = None
    """What is played to this device. It must be the instance's `audio`."""
    source: Annotated[str | None, OnChange.PATCH] = None
    """The name of a source of OBS's own PulseAudio server; `default` is its default one."""


class FreeSource(Spec):
    """Any input that OBS has."""

    kind: Annotated[str, OnChange.PATCH] = Field(min_length=1)
    """OBS's own name of the kind, such as `v4l2_input`."""
    settings: Annotated[dict[str, Any], OnChange.PATCH] = Field(default_factory=dict)
    """Its settings by OBS's own names. What is left out is OBS's default."""
    plugin: Annotated[bool, OnChange.NONE] = False
    """It comes with a plugin that streamsd does not know: only OBS can check it."""
