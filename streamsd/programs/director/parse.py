"""The desired document, read strictly: what it does not know is an error, since half of a wish is another wish."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated

from streamsd.core.report import JsonValue
from streamsd.programs.director import model

VERSION = 1

T = TypeVar("T")


class DocumentFault(ValueError):
    """The document is not of the form that this director reads. Never quotes a value: values may be secrets."""


def parse_desired(document: object) -> model.Desired:
    """Read a document; DocumentFault when it is not one."""
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise DocumentFault(f"not a desired document of version {VERSION}")
    fields = {key: value for key, value in document.items() if key != "version"}
    try:
        wire = _ADAPTER.validate_python(fields)
    except ValidationError as fault:
        first = fault.errors(include_input=False, include_url=False)[0]
        raise DocumentFault(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return wire.desired()


_CONFIG = ConfigDict(extra="forbid", hide_input_in_errors=True)


@validated(config=_CONFIG, frozen=True)
class _Wire:
    """The document's own shape where it differs from the model's: scenes and parameters are lists, being ordered."""

    digests: dict[str, str]
    profile: str
    collection: str
    collections: list[str]
    prune: bool
    interrupt: bool
    answer_within: float
    outputs: dict[str, bool | None]
    scenes: list[dict[str, Any]]
    inputs: dict[str, dict[str, Any]]
    groups: dict[str, dict[str, Any]]
    special: dict[str, str]
    transitions: dict[str, dict[str, Any]]
    transition: str | None
    transition_ms: int | None
    program: str | None
    preview: str | None
    studio_mode: bool | None
    video: dict[str, int] | None
    service: dict[str, Any] | None
    parameters: list[tuple[str, str, str]]
    encoders: dict[str, dict[str, Any]]
    others: dict[str, dict[str, Any]] = field(default_factory=dict)

    def desired(self) -> model.Desired:
        scenes = _scenes(self.scenes)
        return model.Desired(
            others={name: _other(data) for name, data in self.others.items()},
            digests=self.digests,
            encoders=self.encoders,
            profile=self.profile,
            collection=self.collection,
            collections=frozenset(self.collections),
            prune=self.prune,
            interrupt=self.interrupt,
            answer_within=self.answer_within,
            outputs=_of(model.Outputs, self.outputs),
            studio=model.Studio(
                scenes=scenes,
                inputs={name: _input(data) for name, data in self.inputs.items()},
                special=self.special,
                groups={name: _scene(data) for name, data in self.groups.items()},
                transitions={name: _of(model.Transition, data) for name, data in self.transitions.items()},
                transition=self.transition,
                transition_ms=self.transition_ms,
                program=self.program,
                preview=self.preview,
                studio_mode=self.studio_mode,
                video=_of(model.Video, self.video) if self.video else None,
                service=_of(model.Service, self.service) if self.service else None,
                parameters={(section, name): value for section, name, value in self.parameters},
            ),
        )


_ADAPTER: TypeAdapter[_Wire] = TypeAdapter(_Wire)


def _scenes(rows: Iterable[Mapping[str, Any]]) -> dict[str, model.Scene]:
    return {str(s.get("name", "")): _scene({k: v for k, v in s.items() if k != "name"}) for s in rows}


def _other(data: Mapping[str, Any]) -> model.Studio:
    """A collection that is not loaded."""
    return _of(
        model.Studio,
        {key: value for key, value in data.items() if key in ("program", "preview")},
        scenes=_scenes(data.get("scenes", ())),
        inputs={name: _input(found) for name, found in data.get("inputs", {}).items()},
        groups={name: _scene(found) for name, found in data.get("groups", {}).items()},
    )


def _scene(data: Mapping[str, Any]) -> model.Scene:
    rest = {k: v for k, v in data.items() if k not in ("items", "filters")}
    return _of(
        model.Scene, rest, items=tuple(_item(i) for i in data.get("items", ())), filters=_filters(data.get("filters"))
    )


def _item(data: Mapping[str, Any]) -> model.Item:
    rest = {k: v for k, v in data.items() if k not in ("transform", "id")}
    return _of(model.Item, rest, transform=_of(model.Transform, data.get("transform", {})))


def _input(data: Mapping[str, Any]) -> model.Input:
    rest = {k: v for k, v in data.items() if k not in ("audio", "filters")}
    audio = data.get("audio")
    sound = None
    if audio is not None:
        tracks = audio.get("tracks", range(1, 7))
        sound = _of(model.Audio, {k: v for k, v in audio.items() if k != "tracks"}, tracks=frozenset(tracks))
    return _of(model.Input, rest, audio=sound, filters=_filters(data.get("filters")))


def _filters(data: object) -> tuple[model.Filter, ...]:
    return tuple(_of(model.Filter, f) for f in data) if isinstance(data, list) else ()


def _of(kind: type[T], data: Mapping[str, JsonValue], **more: object) -> T:
    try:
        return kind(**data, **more)
    except TypeError as fault:
        raise DocumentFault(f"{kind.__name__.lower()}: {fault}") from None
