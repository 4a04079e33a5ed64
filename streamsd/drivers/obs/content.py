"""What a scene says of itself to the instance that shows it, and how the parts of several become one document.

The shapes inside (`Json`) are those of the director's document (streamsd.programs.director.parse).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from streamsd.core.diagnostics import Problem, name_hint
from streamsd.core.report import JsonValue
from streamsd.drivers.pulse import PulseDevice
from streamsd.drivers.x11 import XDisplay

Json = dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class SceneContent:
    """One scene, called `key` in the profile and `name` in OBS: `scene` with its items from the bottom up, the inputs
    and groups that it defines, scenes that it shows (their contents), names of sources that others define, and what it
    captures."""

    key: str
    name: str
    scene: Json
    inputs: Mapping[str, Json] = field(default_factory=dict)
    groups: Mapping[str, Json] = field(default_factory=dict)
    nested: tuple[SceneContent, ...] = ()
    uses: frozenset[str] = frozenset()
    displays: tuple[XDisplay, ...] = ()
    devices: tuple[PulseDevice, ...] = ()


@dataclass(frozen=True, slots=True)
class Collection:
    """Several scenes as one collection, in order; scenes that are only shown inside others come last. `special`: the
    inputs that sound in every scene, by OBS's name of their place. `others`: collections that are not loaded, by
    name."""

    scenes: tuple[SceneContent, ...]
    inputs: Mapping[str, Json]
    groups: Mapping[str, Json]
    displays: tuple[XDisplay, ...]
    devices: tuple[PulseDevice, ...]
    special: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, Collection] = field(default_factory=dict)


def collect(scenes: Iterable[SceneContent], shared: Mapping[str, Json]) -> tuple[Collection, list[Problem]]:
    """Join scenes and the instance's own sources. Problems: two things of one name (OBS has one namespace for scenes,
    groups and inputs), and sources that nobody defines."""
    listed = _with_nested(scenes)
    problems: list[Problem] = []
    inputs: dict[str, Json] = {}
    groups: dict[str, Json] = {}
    owner: dict[str, str] = {content.name: f"scene {content.name}" for content in listed}
    needed = frozenset[str]().union(*(content.uses for content in listed))
    for name, source in shared.items():
        if name in owner:
            problems.append(_twice(name, "sources", owner[name]))
        owner[name] = "sources"
        if name in needed:
            inputs[name] = source
    for content in listed:
        where = f"scene {content.name}"
        for name, source in content.inputs.items():
            if name in inputs and inputs[name] == source:
                continue
            if name in owner:
                problems.append(_twice(name, where, owner[name]))
            owner[name] = where
            inputs[name] = source
        for name, group in content.groups.items():
            if name in owner:
                problems.append(_twice(name, where, owner[name]))
            owner[name] = where
            groups[name] = group
    for content in listed:
        for name in sorted(content.uses - inputs.keys()):
            hint = name_hint(name, inputs.keys() | shared.keys(), "defined")
            problems.append(
                Problem("source-unknown", f"scene {content.name} shows {name!r}, which nothing defines", hint)
            )
    collection = Collection(
        scenes=listed,
        inputs=inputs,
        groups=groups,
        displays=_unique(d for content in listed for d in content.displays),
        devices=_unique(d for content in listed for d in content.devices),
    )
    return collection, problems


def _with_nested(scenes: Iterable[SceneContent]) -> tuple[SceneContent, ...]:
    found: dict[str, SceneContent] = {}
    waiting = list(scenes)
    while waiting:
        content = waiting.pop(0)
        if content.name not in found:
            found[content.name] = content
            waiting.extend(content.nested)
    return tuple(found.values())


def _twice(name: str, where: str, before: str) -> Problem:
    return Problem(
        "source-defined-twice",
        f"{name!r} is defined in {where} and in {before}, differently",
        "give one of them another name; to show the same source in several scenes, write `source: NAME` in the others",
        ("scenes",),
    )


T = TypeVar("T")


def _unique(items: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(items))
