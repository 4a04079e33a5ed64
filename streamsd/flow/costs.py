"""What changing each field of a flow costs, found as the planner finds it: by the part of the spec it stands in."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from streamsd.core.diagnostics import FieldPath
from streamsd.flow.spec.flow import FlowSpec
from streamsd.flow.spec.steps import SHAPED
from streamsd.flow.split import revealed, split_values

_CHANGED = "\0changed"


class Cost(StrEnum):
    """Mildest first."""

    NOTHING = "nothing"
    """Nothing that runs depends on it."""
    LIVE = "live"
    """Taken in between two batches."""
    RESTART = "restart"
    """The flow drains, starts anew and goes on from the stored state."""
    RESET = "reset"
    """Refused, until `recovery.generation` is raised: the stored state does not fit."""


def costs_of(spec: FlowSpec) -> Iterator[tuple[FieldPath, Cost]]:
    """Each field that the flow declares, in order. Lists of steps are gone into, other lists are one field.

    A change that gives a value which is kept in the state another type costs RESET, wherever it stands: that shows only
    when the other value is known.
    """
    whole = revealed(spec)
    base = split_values(copy.deepcopy(whole))
    for path in _fields(whole, ()):
        if _shaped(path):
            yield path, Cost.RESET
            continue
        held, live = split_values(_with(whole, path))
        yield path, Cost.RESTART if held != base[0] else Cost.LIVE if live != base[1] else Cost.NOTHING


def _fields(value: Any, path: FieldPath) -> Iterator[FieldPath]:
    if isinstance(value, dict) and value and path[:1] != ("tests",):
        for key, inner in value.items():
            yield from _fields(inner, (*path, key))
    elif isinstance(value, list) and path[-1:] == ("steps",):
        for number, step in enumerate(value):
            yield from _fields(step, (*path, number))
    else:
        yield path


def _shaped(path: FieldPath) -> bool:
    """Whether stored state depends on it: a step with memory, or the key of the window that follows."""
    if path[:1] == ("steps",) and path[2:3] == ("key",):
        return True
    for before, does, field in zip(path, path[1:], path[2:], strict=False):
        if isinstance(before, int) and isinstance(does, str) and field in SHAPED.get(does, ()):
            return True
    return False


def _with(whole: dict[str, Any], path: FieldPath) -> dict[str, Any]:
    """The same values with another one at `path`."""
    made: Any = copy.deepcopy(whole)
    inside = made
    for part in path[:-1]:
        inside = inside[part]
    inside[path[-1]] = _CHANGED
    return dict(made)
