"""Versions of input kinds: OBS offers the newest one only, and a release may bring another.

OBS 30 has `xshm_input` and `slideshow`, OBS 32 `xshm_input_v2` and `slideshow_v2`: what is declared for the one is said
to the other in its own words.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from streamsd.programs.director.model import Input, Studio

_VERSIONED = re.compile(r"(.+)_v(\d+)")


def base(kind: str) -> str:
    """A kind without its version."""
    found = _VERSIONED.fullmatch(kind)
    return found[1] if found else kind


def offered(kind: str, kinds: Collection[str]) -> str:
    """The kind itself where this OBS has it, or its newest version there; itself again where there is none."""
    if kind in kinds:
        return kind
    versions = [k for k in kinds if base(k) == base(kind)]
    return max(versions, key=_version, default=kind)


def fitted(studio: Studio, kinds: Collection[str]) -> Studio:
    """The same with each input in the version that this OBS has."""
    return replace(studio, inputs={name: _fitted(wanted, kinds) for name, wanted in studio.inputs.items()})


def _fitted(wanted: Input, kinds: Collection[str]) -> Input:
    kind = offered(wanted.kind, kinds)
    if kind == wanted.kind:
        return wanted
    settings = dict(wanted.settings)
    if kind == "slideshow_v2" and "playback_mode" not in settings:
        loop, shuffled = settings.pop("loop", True), settings.pop("randomize", False)
        settings["playback_mode"] = "random" if shuffled else "loop" if loop else "once"
    elif kind == "slideshow" and "playback_mode" in settings:
        mode = settings.pop("playback_mode")
        settings |= {"loop": mode != "once", "randomize": mode == "random"}
    elif kind == "xshm_input_v2":
        settings.setdefault("screen", 0)  # the older one's default; the newer one's is -1, none
    return replace(wanted, kind=kind, settings=settings)


def _version(kind: str) -> int:
    found = _VERSIONED.fullmatch(kind)
    return int(found[2]) if found else 1
