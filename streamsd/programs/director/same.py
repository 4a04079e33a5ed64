"""When two values of OBS mean the same: numbers within a tolerance, settings with their defaults filled in."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields

from streamsd.core.report import JsonValue
from streamsd.programs.director.model import Audio, Settings, Transform

TOLERANCE = 1e-4
"""OBS keeps transforms and audio as 32-bit floats: 0.1 reads back as 0.10000000149."""

VOLUME_TOLERANCE_DB = 0.01


def same(a: object, b: object) -> bool:
    """Whether two JSON values are equal; a boolean is never a number."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, int) and isinstance(b, int):
        return a == b  # exactly: colours are large numbers whose last digits count
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a == b or math.isclose(a, b, rel_tol=TOLERANCE / 10, abs_tol=TOLERANCE / 10)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def near(a: float, b: float, tolerance: float = TOLERANCE) -> bool:
    return math.isclose(a, b, rel_tol=tolerance / 10, abs_tol=tolerance)


def same_audio(a: Audio, b: Audio) -> bool:
    return (
        near(a.volume_db, b.volume_db, VOLUME_TOLERANCE_DB)
        and near(a.balance, b.balance)
        and (a.muted, a.sync_ms, a.monitor, a.tracks) == (b.muted, b.sync_ms, b.monitor, b.tracks)
    )


def different_transform(wanted: Transform, found: Transform) -> tuple[str, ...]:
    """The fields that differ."""

    def differs(name: str) -> bool:
        a, b = getattr(wanted, name), getattr(found, name)
        return not near(a, b) if isinstance(a, float) else a != b

    return tuple(f.name for f in fields(Transform) if differs(f.name))


def different_settings(
    wanted: Settings, found: Settings, defaults: Settings, kept: Collection[str] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(keys whose value must be set, keys that must go back to the default). `kept`: keys that the source itself
    writes, which are left alone."""

    def differ(a: JsonValue, b: JsonValue) -> bool:
        # What is not set and has no default reads as nothing of its type (libobs, obs_data_get_*).
        unset = a if b is None else b
        if (a is None or b is None) and not isinstance(unset, list | dict):
            return bool(unset)
        return not same(a, b)

    changed = tuple(key for key in wanted if differ(wanted[key], found.get(key, defaults.get(key))))
    extra = tuple(
        key for key in found if key not in wanted and key not in kept and differ(found[key], defaults.get(key))
    )
    return changed, extra


def offset_of(wanted: Sequence[Transform], found: Sequence[Transform]) -> tuple[float, float] | None:
    """By how much all wanted positions lie off the found ones, when they all do by the same.

    OBS keeps a group's children such that their bounding box begins at 0, 0, and moves the group instead: a group
    whose children are all off by the same is the declared one, moved.
    """
    if not wanted or len(wanted) != len(found):
        return None
    dx, dy = wanted[0].x - found[0].x, wanted[0].y - found[0].y
    for w, f in zip(wanted, found, strict=True):
        if not (near(w.x - f.x, dx, 0.01) and near(w.y - f.y, dy, 0.01)):
            return None
    return dx, dy
