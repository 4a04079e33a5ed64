"""Versions of input kinds: OBS offers the newest one only, and a release may bring another.

OBS 29 has `xshm_input` and `slideshow`, 30 `slideshow_v2`, 32 `xshm_input_v2` and a `slideshow_v2` with other words:
what is declared for the one is said to the other in its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import replace

from streamsd.core.report import JsonValue
from streamsd.programs.director.model import Input, Settings, Studio
from streamsd.programs.director.pictures import around

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


def fitted(studio: Studio, kinds: Collection[str], defaults: Callable[[str], Settings]) -> Studio:
    """The same with each input in the version that this OBS has. `defaults`: of a kind's settings, as that OBS tells
    them: 30 has another `slideshow_v2` than 32."""
    return replace(studio, inputs={name: _fitted(wanted, kinds, defaults) for name, wanted in studio.inputs.items()})


def _fitted(wanted: Input, kinds: Collection[str], defaults: Callable[[str], Settings]) -> Input:
    kind = offered(wanted.kind, kinds)
    settings = dict(wanted.settings)
    if base(kind) == "slideshow" and (kind != wanted.kind or "playback_mode" in settings):
        _say_mode(settings, defaults(kind))
    if kind == "slideshow_v2" and kind != wanted.kind and "use_custom_size" not in settings:
        # the older one is by itself as large as its pictures, the newer one 1920x1080
        if (size := around(_slides(settings))) is not None:
            settings["use_custom_size"] = "{}x{}".format(*size)
    elif kind == "xshm_input_v2" and kind != wanted.kind:
        settings.setdefault("screen", 0)  # the older one's default; the newer one's is -1, none
    return replace(wanted, kind=kind, settings=settings)


def _say_mode(settings: dict[str, JsonValue], known: Settings) -> None:
    if "playback_mode" in known:
        loop, shuffled = settings.pop("loop", True), settings.pop("randomize", False)
        settings.setdefault("playback_mode", "random" if shuffled else "loop" if loop else "once")
    elif "playback_mode" in settings:
        mode = settings.pop("playback_mode")
        settings |= {"loop": mode != "once", "randomize": mode == "random"}


def _slides(settings: Settings) -> list[str]:
    rows = settings.get("files")
    named = (row.get("value") for row in rows if isinstance(row, dict)) if isinstance(rows, list) else ()
    return [str(value) for value in named if value]


def _version(kind: str) -> int:
    found = _VERSIONED.fullmatch(kind)
    return int(found[2]) if found else 1
