"""What a profile says of a sound device."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from streamsd.core.change import OnChange
from streamsd.core.kind import RefTo, Spec


class AudioSpec(Spec):
    """A virtual sound device: programs play to it, streams and OBS record what was played."""

    channels: Literal[1, 2, 4, 6, 8] = 2
    """How many channels it has: 1 is mono, 2 stereo, 6 is 5.1."""

    rate: Literal[44100, 48000, 96000] = 48000
    """Samples a second."""

    volume: Annotated[int, OnChange.PATCH] = Field(default=100, ge=0, le=150)
    """Percent: 100 leaves the sound as it is. What is recorded has it too."""

    muted: Annotated[bool, OnChange.PATCH] = False
    """Silent, while programs play on."""

    inputs: tuple[Annotated[str, RefTo("Audio")], ...] = ()
    """Other devices that can be recorded here too, under their own names: a program that knows only one sound server,
    such as OBS, gets them all by naming this device."""

    description: Annotated[str, OnChange.NONE] = ""
    """For people."""
