"""From results to what a sink writes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from streamsd.flow import records
from streamsd.flow.expressions.typed import attribute
from streamsd.flow.faults import ROW_ERRORS, RowFault
from streamsd.flow.seals import Sealer
from streamsd.flow.spec.sinks import ROWS, Sink
from streamsd.flow.spec.sources import BINARY
from streamsd.flow.types import Base, TimeForm, Type

LINES = frozenset({"file", "stdout", "tcp"})
"""Sinks that take one block of lines."""
TEXTS = LINES | {"udp", "http", "websocket", "sse"}
"""Sinks whose messages are text, whatever is in them."""
MESSAGES = TEXTS | {"mqtt", "kafka", "nats", "amqp", "grpc"}
"""Sinks that send messages, which can be sealed."""
ADDRESSED: Mapping[str, tuple[str, ...]] = {
    "mqtt": ("topic",),
    "kafka": ("topic", "key"),
    "nats": ("subject",),
    "amqp": ("routing_key",),
    "obs": ("source", "text"),
}
"""Sinks that take an address with each result: the expressions that make it."""

AROUND = 512
"""Bytes of a Kafka record that are neither key nor value: the head of its batch (61), its own (up to some 30), and a
seal's with a key id of up to 255."""


def most_of(sink: Sink) -> int | None:
    """Bytes of key and message that the sink takes at most; None: it has no such limit."""
    return sink.kafka.max_message.bytes - AROUND if sink.kafka is not None else None


@dataclass(frozen=True, slots=True)
class Batch:
    """Results on their way into a sink: `block` of lines (each ended) or of MessagePack, or `items`:
    messages, `(address…, message)`, or tuples of values for a table's row."""

    count: int
    block: bytes = b""
    items: Sequence[Any] = ()


Encoded = tuple[Batch, "list[tuple[BaseException, Any]]"]
Encoder = Callable[[list[Any]], Encoded]


def encoder_of(sink: Sink, fields: Mapping[str, Type] | None, sealer: Sealer | None = None) -> Encoder:
    """What turns results into a sink's batch; a result that cannot be written is told, and left out."""
    if sink.transport in ROWS:
        told = sink.sqlite or sink.postgres
        return _rows(fields or {}, told.key if told else (), json_any=sink.postgres is not None)
    if sink.format == "parquet":
        return _columns(fields or {})
    if sink.obs is not None:
        return _addressed(lambda row: b"", 2)
    match sink.format:
        case "json":
            one = records.json_encoder()
        case "msgpack":
            one = records.msgpack_encoder()
        case "text":
            one = records.text_encoder()
        case "raw":
            one = records.raw_encoder()
        case "csv":
            one = records.csv_encoder(tuple(fields or ()))
    addressed = ADDRESSED.get(sink.transport)
    most = most_of(sink)
    if sealer is not None:
        made = _addressed(one, len(addressed), most) if addressed else _messages(one)
        return _sealed(made, sealer, bool(addressed), sink.transport in LINES)
    if sink.transport in LINES:
        return _blocks(one) if sink.format in BINARY else _lines(one, sink.format == "json")
    return _addressed(one, len(addressed), most) if addressed else _messages(one)


def _sealed(encoder: Encoder, sealer: Sealer, addressed: bool, lines: bool) -> Encoder:
    def encode(rows: list[Any]) -> Encoded:
        batch, faults = encoder(rows)
        closed: Sequence[Any] = (sealer.close_addressed if addressed else sealer.close)(batch.items)
        if lines:
            return Batch(batch.count, b"".join(line + b"\n" for line in closed)), faults
        return Batch(batch.count, items=closed), faults

    return encode


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


def _blocks(one: records.Encode) -> Encoder:
    """One after the other with nothing between: readers of MessagePack see where each ends."""

    def encode(rows: list[Any]) -> Encoded:
        made, faults = _each(one, rows)
        return Batch(len(made), b"".join(made)), faults

    return encode


def _messages(one: records.Encode) -> Encoder:
    def encode(rows: list[Any]) -> Encoded:
        made, faults = _each(one, rows)
        return Batch(len(made), items=made), faults

    return encode


def _addressed(one: records.Encode, parts: int, most: int | None = None) -> Encoder:
    """`most`: bytes of message and key, which is the last part of an address."""

    def checked(item: Any) -> tuple[Any, ...]:
        message = one(item[parts])
        if most is not None and len(message) + len((item[parts - 1] or "").encode()) > most:
            raise RowFault("too-long", f"a result of {len(message)} bytes: with its key the sink takes at most {most}")
        return (*item[:parts], message)

    def encode(rows: list[Any]) -> Encoded:
        made, faults = _each(checked, rows)
        return Batch(len(made), items=made), [(fault, item[parts]) for fault, item in faults]

    return encode


def _rows(fields: Mapping[str, Type], key: Sequence[str], json_any: bool) -> Encoder:
    cells = [(attribute(name), _plain if _is_plain(kind, json_any) else _as_json) for name, kind in fields.items()]
    keys = [(name, attribute(name)) for name in key]

    def one(row: Any) -> tuple[Any, ...]:
        for name, place in keys:
            if getattr(row, place) is None:
                raise RowFault("null-key", f"{name} is null, and is the table's key")
        return tuple(write(getattr(row, place)) for place, write in cells)

    def encode(rows: list[Any]) -> Encoded:
        made, faults = _each(one, rows)
        return Batch(len(made), items=made), faults

    return encode


def _columns(fields: Mapping[str, Type]) -> Encoder:
    """Tuples whose values are of exactly the type that their columns have."""
    cells = [(attribute(name), _cast(kind)) for name, kind in fields.items()]

    def one(row: Any) -> tuple[Any, ...]:
        values = ((getattr(row, place), cast) for place, cast in cells)
        return tuple(None if value is None else cast(value) for value, cast in values)

    def encode(rows: list[Any]) -> Encoded:
        made, faults = _each(one, rows)
        return Batch(len(made), items=made), faults

    return encode


def _cast(kind: Type) -> Callable[[Any], Any]:
    if kind.base is Base.TIME:
        number = kind.form not in (TimeForm.TEXT, TimeForm.COMPUTED, None)
        return float if kind.form is TimeForm.SECONDS else _whole if number else _text
    match kind.base:
        case Base.INT:
            return _whole
        case Base.FLOAT | Base.NUMBER:
            return float
        case Base.BOOL:
            return bool
        case Base.BYTES:
            return bytes
        case Base.STR:
            return _text
        case _:
            return lambda value: msgspec.json.encode(value).decode()


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise RowFault("wrong-type", f"expected a whole number, got {type(value).__name__}")
    if not -(1 << 63) <= value < 1 << 63:
        raise RowFault("out-of-range", "a whole number left the range of 64 bits")
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise RowFault("wrong-type", f"expected a text, got {type(value).__name__}")
    return value


def _is_plain(kind: Type, json_any: bool) -> bool:
    return kind.base not in (Base.LIST, Base.MAP, Base.OBJECT) and not (json_any and kind.base is Base.ANY)


def _plain(value: Any) -> Any:
    """A value that databases take: they hold whole numbers of 64 bits, and texts without NUL."""
    if type(value) is int and not -(1 << 63) <= value < 1 << 63:
        raise RowFault("out-of-range", "a whole number left the range of 64 bits")
    if type(value) is str and "\0" in value:
        raise RowFault("cannot-encode", "a text with NUL, which databases do not take")
    if value is None or type(value) in (str, int, float, bool, bytes):
        return value
    return _as_json(value)


def _as_json(value: Any) -> Any:
    if value is None:
        return None
    text = msgspec.json.encode(value).decode()
    if "\\u0000" in text:
        raise RowFault("cannot-encode", "a text with NUL, which databases do not take")
    return text


def address_check(transport: str, name: str) -> Callable[[str], str]:
    """Checks an address that was made from a message: the brokers' clients would fail on it, or send it elsewhere."""
    rules: Mapping[tuple[str, str], tuple[re.Pattern[str], int]] = {
        ("mqtt", "topic"): (re.compile(r"[^+#\0]+"), 65535),
        ("nats", "subject"): (re.compile(r"[^\s*>.\0]+(\.[^\s*>.\0]+)*"), 1000),
        ("kafka", "topic"): (re.compile(r"[A-Za-z0-9._-]+"), 249),
        ("kafka", "key"): (re.compile(r".*", re.DOTALL), 1 << 20),
        ("amqp", "routing_key"): (re.compile(r".*", re.DOTALL), 255),
        ("obs", "source"): (re.compile(r"[^\0]+"), 1000),
        ("obs", "text"): (re.compile(r"[^\0]*"), 20_000),
    }
    pattern, most = rules[(transport, name)]

    def check(text: str) -> str:
        if len(text.encode()) > most or not pattern.fullmatch(text):
            raise RowFault("bad-address", f"not a {name} of {transport}: {text[:80]!r}")
        return text

    return check


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
