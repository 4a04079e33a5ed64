"""What changing a field costs, written on the field itself.

`fps: Annotated[int, OnChange.RESTART]` shows in the schema as `x-on-change`, in the reference page and in a plan. A
field without one is RESTART. The contract suite compiles every kind twice and holds what is written to what happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeGuard

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from streamsd.core.diagnostics import FieldPath


class OnChange(StrEnum):
    """The cost of a change, mildest first."""

    NONE = "none"
    """Nothing that runs depends on it: a description, a label, a retry policy."""
    PATCH = "patch"
    """Changed in place: every pid stays."""
    RESTART = "restart"
    """The processes that use it start anew."""
    REPLACE = "replace"
    """The resource ends and starts anew, and what stands on it too."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core_schema)
        schema["x-on-change"] = str(self)
        return schema

    @property
    def rank(self) -> int:
        return list(OnChange).index(self)


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field that differs between two specs. `before` and `after` are for people; secrets show as `***`."""

    path: FieldPath
    policy: OnChange
    before: str
    after: str


def changed_fields(old: BaseModel, new: BaseModel, prefix: FieldPath = ()) -> tuple[FieldChange, ...]:
    """Every field that differs, deepest place first known to both sides; the policy is the nearest one written."""
    changes: list[FieldChange] = []
    _compare(old, new, prefix, OnChange.RESTART, changes)
    return tuple(changes)


def _compare(old: object, new: object, path: FieldPath, policy: OnChange, out: list[FieldChange]) -> None:
    if old == new:
        return
    if isinstance(old, BaseModel) and isinstance(new, BaseModel) and type(old) is type(new):
        for name, info in type(old).model_fields.items():
            written = next((m for m in info.metadata if isinstance(m, OnChange)), policy)
            _compare(getattr(old, name), getattr(new, name), (*path, info.alias or name), written, out)
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(k for k in new if k not in old)]:
            _compare(old.get(key), new.get(key), (*path, key), policy, out)
        return
    if _by_item(old) and _by_item(new) and len(old) == len(new):
        within: list[FieldChange] = []
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            _compare(one, other, (*path, index), policy, within)
        # where it differs is for people; what it costs stands on the list
        out.extend(replace(change, policy=policy) for change in within)
        return
    out.append(FieldChange(path, policy, _words(old), _words(new)))


def _by_item(value: object) -> TypeGuard[Sequence[BaseModel]]:
    return isinstance(value, list | tuple) and all(isinstance(item, BaseModel) for item in value)


def _words(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, BaseModel):
        return value.__class__.__name__
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
