"""Colours, places and names as people write them, and as OBS counts them."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StringConstraints

Color: TypeAlias = Annotated[str, StringConstraints(pattern=r"^#([0-9A-Fa-f]{6}|[0-9A-Fa-f]{8})$")]
"""`#rrggbb` or `#rrggbbaa`."""

SourceName: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^\S(.*\S)?$")]
"""The name of a source, as OBS shows it: spaces inside are fine."""

Align: TypeAlias = Literal[
    "top-left", "top", "top-right", "left", "center", "right", "bottom-left", "bottom", "bottom-right"
]

Fit: TypeAlias = Literal["stretch", "inside", "outside", "width", "height", "shrink"]

Blend: TypeAlias = Literal["normal", "additive", "subtract", "screen", "multiply", "lighten", "darken"]

Monitor: TypeAlias = Literal["none", "monitor_only", "monitor_and_output"]

Pair: TypeAlias = Annotated[list[float], Field(min_length=2, max_length=2)]

FITS: dict[str, str] = {
    "stretch": "OBS_BOUNDS_STRETCH",
    "inside": "OBS_BOUNDS_SCALE_INNER",
    "outside": "OBS_BOUNDS_SCALE_OUTER",
    "width": "OBS_BOUNDS_SCALE_TO_WIDTH",
    "height": "OBS_BOUNDS_SCALE_TO_HEIGHT",
    "shrink": "OBS_BOUNDS_MAX_ONLY",
}

_BITS = {"left": 1, "right": 2, "top": 4, "bottom": 8, "center": 0}


def align_bits(align: str) -> int:
    """OBS's alignment: 1 left, 2 right, 4 top, 8 bottom; the middle is 0."""
    return sum(_BITS[part] for part in align.split("-"))


def abgr(color: str) -> int:
    """OBS's number for a colour: alpha, blue, green, red from the highest byte down."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    alpha = int(color[7:9], 16) if len(color) == 9 else 255
    return alpha << 24 | blue << 16 | green << 8 | red
