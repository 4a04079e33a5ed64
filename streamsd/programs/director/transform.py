"""Transforms as obs-websocket writes them."""

from __future__ import annotations

from collections.abc import Iterable

from streamsd.core.report import JsonValue
from streamsd.programs.director.model import NO_BOUNDS, Transform

_NAMES = {
    "x": "positionX",
    "y": "positionY",
    "scale_x": "scaleX",
    "scale_y": "scaleY",
    "rotation": "rotation",
    "alignment": "alignment",
    "bounds_type": "boundsType",
    "bounds_width": "boundsWidth",
    "bounds_height": "boundsHeight",
    "bounds_alignment": "boundsAlignment",
    "crop_left": "cropLeft",
    "crop_right": "cropRight",
    "crop_top": "cropTop",
    "crop_bottom": "cropBottom",
}

_BOUNDS = ("bounds_type", "bounds_width", "bounds_height", "bounds_alignment")


def transform_data(wanted: Transform, fields: Iterable[str]) -> dict[str, JsonValue]:
    """The named fields. Bounds go together, and without their size where there are none: OBS refuses a width of 0."""
    names = set(fields)
    if names & set(_BOUNDS):
        names |= set(_BOUNDS)
        if wanted.bounds_type == NO_BOUNDS:
            names -= {"bounds_width", "bounds_height", "bounds_alignment"}
    return {_NAMES[name]: getattr(wanted, name) for name in _NAMES if name in names}
