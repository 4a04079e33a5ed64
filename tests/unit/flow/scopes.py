"""Expressions by themselves: a scope of typed fields, and what an expression says of a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamsd.flow.expressions.check import compile_expression
from streamsd.flow.expressions.names import NAMES
from streamsd.flow.expressions.typed import Pool
from streamsd.flow.loops import LoopBuilder
from streamsd.flow.records import json_decoder
from streamsd.flow.rows import Row, Writer
from streamsd.flow.spec.words import read_type
from streamsd.flow.standing import Standing
from streamsd.flow.types import Type

NOW = 1_700_000_000_000_000
FIELDS = {
    "temp_c": "float",
    "room": "str",
    "n": "int",
    "ok": "bool",
    "hum": "float?",
    "ts": "time_ms",
    "at": "time",
    "tags": "list[str]",
    "counts": "map[int]",
    "device": {"id": "str", "battery": "float?"},
    "raw": "any",
}


def schema(fields: Mapping[str, Any] = FIELDS) -> dict[str, Type]:
    return {name: read_type(kind) for name, kind in fields.items()}


def type_of(text: str, fields: Mapping[str, Any] = FIELDS) -> str:
    """The type of an expression over these fields; ExpressionError when it is wrong."""
    pool, writer = Pool(), Writer()
    return str(compile_expression(text, Row.closed(writer, pool, schema(fields), "m"), pool).type)


def values_of(
    text: str, messages: list[bytes], fields: Mapping[str, Any] | None = FIELDS
) -> tuple[list[Any], list[BaseException]]:
    """What an expression says of each message, and the faults. `fields` None: nothing is known of them."""
    from pathlib import Path

    problems: list[Any] = []
    known = None if fields is None else schema(fields)
    builder = LoopBuilder(known, Standing(Path()), problems, Path(), json_decoder(known))
    typed = builder.steps.expression(text, ())
    assert typed is not None, problems
    builder.writer.line(f"append({typed.kept()})")
    loop, _ = builder.build()
    found, dead = loop(messages, [None] * len(messages), NOW, "")
    return found, [fault for fault, _ in dead]


def constant(text: str) -> Any:
    """The value of an expression without fields."""
    pool = Pool()
    typed = compile_expression(text, Row.closed(Writer(), pool, {}, "m"), pool)
    return eval(typed.code, {**NAMES, **pool.constants, "now": NOW})
