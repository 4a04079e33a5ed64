"""What a model expects at a place: read from the annotations, for hints."""

from __future__ import annotations

import types
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from functools import lru_cache

from pydantic import BaseModel, Tag
from pydantic.fields import FieldInfo

from streamsd.core.diagnostics import FieldPath
from streamsd.core.secret import Secret


def alternatives(annotation: object, tag: str = "") -> Iterator[tuple[str, object]]:
    """The members of a union, through Annotated and aliases, each with its discriminating tag where it has one."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        inner, *metadata = typing.get_args(annotation)
        tags = [item.tag for item in metadata if isinstance(item, Tag)]
        yield from alternatives(inner, tags[0] if tags else tag)
    elif origin is typing.Union or isinstance(annotation, types.UnionType):
        for member in typing.get_args(annotation):
            yield from alternatives(member, tag)
    elif hasattr(annotation, "__value__"):
        yield from alternatives(annotation.__value__, tag)
    else:
        yield tag, annotation


def expected_at(model: type[BaseModel], loc: FieldPath, tags: Collection[int] = ()) -> list[object]:
    """The types that may stand at a location of pydantic's; its parts at the indexes `tags` name members of unions."""
    current: list[object] = [model]
    for index, part in enumerate(loc):
        members = [found for annotation in current for found in alternatives(annotation)]
        if index in tags:
            current = [m for tag, m in members if _is_tagged(tag, m, part)] or current
        else:
            current = [found for _, member in members for found in _inside(member, part)]
    return [member for annotation in current for _, member in alternatives(annotation)]


def models_at(model: type[BaseModel], loc: FieldPath, tags: Collection[int] = ()) -> list[type[BaseModel]]:
    """The models among what may stand at a location."""
    return [found for found in expected_at(model, loc, tags) if is_model(found)]


def is_model(annotation: object) -> typing.TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """A model's fields by the name they have in a profile."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def is_no_choice(value: bool, expected: Collection[object]) -> bool:
    """Whether a boolean is taken for a number among the values of a Literal, which Python calls equal."""
    literals = [typing.get_args(member) for member in expected if typing.get_origin(member) is typing.Literal]
    if bool in expected or typing.Any in expected or any(type(v) is bool for values in literals for v in values):
        return False
    return any(value == v for values in literals for v in values)


@lru_cache(maxsize=512)
def holds_secrets(model: type[BaseModel]) -> bool:
    """Whether a Secret can stand anywhere in the model."""
    return _holds(model, set())


def may_be_secret(info: FieldInfo) -> bool:
    """The same of one field."""
    return _holds(info.annotation, set())


def _holds(annotation: object, seen: set[object]) -> bool:
    for _, member in alternatives(annotation):
        if member is Secret:
            return True
        if is_model(member):
            if member not in seen:
                seen.add(member)
                if any(_holds(info.annotation, seen) for info in member.model_fields.values()):
                    return True
        elif any(_holds(part, seen) for part in typing.get_args(member)):
            return True
    return False


def _inside(member: object, part: str | int) -> Iterator[object]:
    if is_model(member):
        info = fields_of(member).get(part) if isinstance(part, str) else None
        if info is None and isinstance(part, str):
            info = member.model_fields.get(part)
        if info is not None:
            yield info.annotation
        return
    origin = typing.get_origin(member)
    arguments = typing.get_args(member)
    if not isinstance(origin, type) or not arguments:
        return
    if issubclass(origin, Mapping):
        if isinstance(part, str) and len(arguments) == 2:
            yield arguments[1]
    elif issubclass(origin, Sequence | Set) and isinstance(part, int):
        yield arguments[min(part, len(arguments) - 1)] if arguments[-1] is not Ellipsis else arguments[0]


def _is_tagged(tag: str, member: object, part: str | int) -> bool:
    if tag:
        return tag == part
    if not is_model(member):
        return False
    if member.__name__ == part:
        return True
    literals = (info.annotation for info in member.model_fields.values())
    return any(typing.get_origin(a) is typing.Literal and part in typing.get_args(a) for a in literals)
