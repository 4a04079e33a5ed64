"""What several processes tell of themselves, as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamsd.core.report import JsonValue

_GREATEST = frozenset({"epoch_age", "longest_pause", "longest_pause_cpu", "time_left"})
_LEAST = frozenset({"epochs", "patched"})


def together(told: Sequence[Mapping[str, Any]]) -> dict[str, JsonValue]:
    """The figures of a flow from those of its processes: counts and rates are added up, the oldest epoch counts, and
    the watermark is the one that is least far."""
    made: dict[str, JsonValue] = {}
    for name in dict.fromkeys(name for one in told for name in one):
        values = [one[name] for one in told if name in one]
        made[name] = _one(name, values)
    return made


def _one(name: str, values: list[Any]) -> JsonValue:
    first = values[0]
    if name == "watermark":
        return None if None in values else str(min(values))
    if name in _GREATEST:
        return float(max(values))
    if name in _LEAST:
        return int(min(values))
    if isinstance(first, Mapping):
        return together(values)
    if isinstance(first, bool):
        return all(values)
    if isinstance(first, int | float):
        total: int | float = sum(values)
        return total if isinstance(total, int) else round(total, 3)
    if isinstance(first, list):
        return list(dict.fromkeys(item for value in values for item in value))
    return str(first)
