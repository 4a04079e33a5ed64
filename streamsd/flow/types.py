"""The types of a flow's fields and expressions.

A type is written as in a schema: `int`, `float?` (may be missing or null), `list[str]`, `map[float]`, `time_ms`. What a
value looks like while a flow runs follows from its type, so that decoded fields pass through untouched: a `time_ms`
stays the integer it came as, and only an expression that computes with it pays for a conversion.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

from streamsd.core.diagnostics import nearest


class Base(StrEnum):
    ANY = "any"
    NULL = "null"
    BOOL = "bool"
    INT = "int"
    NUMBER = "number"
    """int or float: which one is known only when it runs."""
    FLOAT = "float"
    STR = "str"
    BYTES = "bytes"
    TIME = "time"
    LIST = "list"
    MAP = "map"
    OBJECT = "object"


class TimeForm(StrEnum):
    """How a moment is written. All are UTC."""

    TEXT = "text"
    """RFC 3339 text, as in `time`."""
    SECONDS = "s"
    MILLIS = "ms"
    MICROS = "us"
    NANOS = "ns"
    COMPUTED = "computed"
    """Integer microseconds inside the flow, written as RFC 3339 text."""


@dataclass(frozen=True, slots=True)
class Type:
    """`item`: of list and map. `fields`: of an object, in order. `form`: of a time."""

    base: Base
    optional: bool = False
    item: Type | None = None
    fields: tuple[tuple[str, Type], ...] = ()
    form: TimeForm | None = None

    def __str__(self) -> str:
        mark = "?" if self.optional else ""
        match self.base:
            case Base.LIST | Base.MAP if self.item is not None:
                return f"{self.base}[{self.item}]{mark}"
            case Base.OBJECT:
                return "{" + ", ".join(f"{name}: {kind}" for name, kind in self.fields) + "}" + mark
            case Base.TIME if self.form not in (TimeForm.TEXT, TimeForm.COMPUTED, None):
                return f"time_{self.form}{mark}"
            case _:
                return f"{self.base}{mark}"

    @property
    def numeric(self) -> bool:
        return self.base in (Base.INT, Base.FLOAT, Base.NUMBER)

    def required(self) -> Type:
        """The same without null."""
        return replace(self, optional=False) if self.optional else self

    def or_null(self) -> Type:
        """The same, but it may be null."""
        if self.optional or self.base in (Base.ANY, Base.NULL):
            return self
        return replace(self, optional=True)

    def field(self, name: str) -> Type | None:
        return next((kind for known, kind in self.fields if known == name), None)


ANY = Type(Base.ANY)
NULL = Type(Base.NULL)
BOOL = Type(Base.BOOL)
INT = Type(Base.INT)
FLOAT = Type(Base.FLOAT)
NUMBER = Type(Base.NUMBER)
STR = Type(Base.STR)
BYTES = Type(Base.BYTES)
TIME = Type(Base.TIME, form=TimeForm.TEXT)
COMPUTED_TIME = Type(Base.TIME, form=TimeForm.COMPUTED)

WRITTEN: Mapping[str, Type] = {
    "any": ANY,
    "bool": BOOL,
    "int": INT,
    "float": FLOAT,
    "str": STR,
    "bytes": BYTES,
    "time": TIME,
    "time_s": Type(Base.TIME, form=TimeForm.SECONDS),
    "time_ms": Type(Base.TIME, form=TimeForm.MILLIS),
    "time_us": Type(Base.TIME, form=TimeForm.MICROS),
    "time_ns": Type(Base.TIME, form=TimeForm.NANOS),
}
"""The names that stand in a schema."""

_NESTED = re.compile(r"^(list|map)\[(.*)\]$")
_DEPTH = 8


def list_of(item: Type) -> Type:
    return Type(Base.LIST, item=item)


def map_of(item: Type) -> Type:
    return Type(Base.MAP, item=item)


def parse_type(text: str, depth: int = 0) -> Type:
    """The type that `text` names; ValueError says what to write."""
    text = text.strip()
    if text.endswith("?"):
        return parse_type(text[:-1], depth).or_null()
    if nested := _NESTED.match(text):
        if depth >= _DEPTH:
            raise ValueError(f"types nest at most {_DEPTH} deep")
        return Type(Base(nested[1]), item=parse_type(nested[2], depth + 1))
    if text in ("list", "map"):
        return Type(Base(text), item=ANY)
    if text in WRITTEN:
        return WRITTEN[text]
    close = nearest(text, [*WRITTEN, "list[any]", "map[any]", *_ALIASES])
    close = _ALIASES.get(text, _ALIASES.get(close or "", close))
    hint = f"did you mean {close!r}? " if close else ""
    raise ValueError(
        f"unknown type {text!r}; {hint}types: {', '.join(WRITTEN)}, list[T], map[T], and T? where it may be null"
    )


_ALIASES = {
    "string": "str",
    "text": "str",
    "integer": "int",
    "long": "int",
    "double": "float",
    "number": "float",
    "boolean": "bool",
    "timestamp": "time",
    "datetime": "time",
    "date": "time",
    "array": "list[any]",
    "object": "map[any]",
    "dict": "map[any]",
}

Schema: TypeAlias = Mapping[str, Type]


def object_of(fields: Mapping[str, Type]) -> Type:
    return Type(Base.OBJECT, fields=tuple(fields.items()))


def accepts(wanted: Type, given: Type) -> bool:
    """Whether a value of `given` can stand where `wanted` is asked for; any is accepted, and checked when it runs."""
    if wanted.base is Base.ANY:
        return True
    if given.optional and not wanted.optional:
        return False
    if given.base is Base.ANY:
        return True
    if given.base is Base.NULL:
        return wanted.optional
    if wanted.base is Base.NUMBER:
        return given.numeric
    if wanted.base is Base.FLOAT:
        return given.numeric
    if wanted.base is not given.base:
        return False
    if wanted.base in (Base.LIST, Base.MAP):
        return wanted.item is None or given.item is None or accepts(wanted.item, given.item)
    return True


def common(left: Type, right: Type) -> Type:
    """The narrowest type that holds both."""
    if left == right:
        return left
    optional = left.optional or right.optional or Base.NULL in (left.base, right.base)
    if left.base is Base.NULL:
        return right.or_null()
    if right.base is Base.NULL:
        return left.or_null()
    a, b = left.required(), right.required()
    if a == b:
        joined = a
    elif a.numeric and b.numeric:
        joined = FLOAT if Base.FLOAT in (a.base, b.base) and Base.NUMBER not in (a.base, b.base) else NUMBER
        if {a.base, b.base} == {Base.INT, Base.FLOAT}:
            joined = NUMBER
    elif a.base is b.base and a.base in (Base.LIST, Base.MAP) and a.item and b.item:
        joined = Type(a.base, item=common(a.item, b.item))
    else:
        return ANY
    return joined.or_null() if optional else joined
