"""From results to what a sink writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from streamsd.flow import records
from streamsd.flow.expressions.typed import attribute
from streamsd.flow.faults import ROW_ERRORS
from streamsd.flow.spec.sinks import ROWS, Sink
from streamsd.flow.types import Type

LINES = frozenset({"file", "stdout", "tcp"})
"""Sinks that take one block of lines."""
ADDRESSED: Mapping[str, tuple[str, ...]] = {
    "mqtt": ("topic",),
    "kafka": ("topic", "key"),
    "nats": ("subject",),
    "amqp": ("routing_key",),
}
"""Sinks that take an address with each result: the expressions that make it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Results on their way into a sink: `block` of lines (each ended), or `items`: messages, `(address…, message)`, or
    tuples of values for a table's row."""

    count: int
    block: bytes = b""
    items: Sequence[Any] = ()


Encoded = tuple[Batch, "list[tuple[BaseException, Any]]"]
Encoder = Callable[[list[Any]], Encoded]


def encoder_of(sink: Sink, fields: Mapping[str, Type] | None) -> Encoder:
    """What turns results into a sink's batch; a result that cannot be written is told, and left out."""
    if sink.transport in ROWS:
        return _rows(tuple(attribute(name) for name in fields or ()))
    match sink.format:
        case "json":
            one = records.json_encoder()
        case "msgpack":
            one = records.msgpack_encoder()
        case "text":
            one = records.text_encoder()
        case "csv":
            one = records.csv_encoder(tuple(fields or ()))
    if sink.transport in LINES:
        return _lines(one, sink.format == "json")
    addressed = ADDRESSED.get(sink.transport)
    return _addressed(one, len(addressed)) if addressed else _messages(one)


def _lines(one: records.Encode, json: bool) -> Encoder:
    together = msgspec.json.Encoder().encode_lines if json else None

    def encode(rows: list[Any]) -> Encoded:
        if together is not None:
            try:
                return Batch(len(rows), together(rows)), []
            except ROW_ERRORS:
                pass  # one of them cannot be written: find out which
        made, faults = _each(one, rows)
        return Batch(len(made), b"".join(line + b"\n" for line in made)), faults

    return encode


def _messages(one: records.Encode) -> Encoder:
    def encode(rows: list[Any]) -> Encoded:
        made, faults = _each(one, rows)
        return Batch(len(made), items=made), faults

    return encode


def _addressed(one: records.Encode, parts: int) -> Encoder:
    def encode(rows: list[Any]) -> Encoded:
        made: list[Any] = []
        faults: list[tuple[BaseException, Any]] = []
        for item in rows:
            try:
                made.append((*item[:parts], one(item[parts])))
            except ROW_ERRORS as fault:
                faults.append((fault, item[parts]))
        return Batch(len(made), items=made), faults

    return encode


def _rows(attributes: Sequence[str]) -> Encoder:
    def encode(rows: list[Any]) -> Encoded:
        made, faults = _each(lambda row: tuple(_cell(getattr(row, name)) for name in attributes), rows)
        return Batch(len(made), items=made), faults

    return encode


def _cell(value: Any) -> Any:
    """Lists and maps stand in a table as JSON."""
    if value is None or type(value) in (str, int, float, bool, bytes):
        return value
    return msgspec.json.encode(value).decode()


def _each(one: Callable[[Any], Any], rows: list[Any]) -> tuple[list[Any], list[tuple[BaseException, Any]]]:
    try:
        return [one(row) for row in rows], []
    except ROW_ERRORS:
        made: list[Any] = []
        faults: list[tuple[BaseException, Any]] = []
        for row in rows:
            try:
                made.append(one(row))
            except ROW_ERRORS as fault:
                faults.append((fault, row))
        return made, faults
