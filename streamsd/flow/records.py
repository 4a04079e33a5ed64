"""Records: how messages become rows and rows become messages again.

A row is an instance of a msgspec.Struct made from its fields, or a dict where the fields are not known beforehand.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from streamsd.flow.expressions.typed import attribute
from streamsd.flow.faults import RowFault
from streamsd.flow.types import Base, TimeForm, Type

Decode = Callable[[bytes], Any]
Encode = Callable[[Any], bytes]

_PLAIN: Mapping[Base, Any] = {
    Base.ANY: Any,
    Base.NULL: None,
    Base.BOOL: bool,
    Base.INT: int,
    Base.NUMBER: int | float,
    Base.FLOAT: float,
    Base.STR: str,
    Base.BYTES: bytes,
}


def annotation(kind: Type) -> Any:
    """The Python type that msgspec decodes a field of this type as."""
    match kind.base:
        case Base.LIST:
            made: Any = list[annotation(kind.item) if kind.item else Any]  # type: ignore[misc]  # made at run time
        case Base.MAP:
            made = dict[str, annotation(kind.item) if kind.item else Any]  # type: ignore[misc]  # made at run time
        case Base.OBJECT:
            made = struct_of("Object", dict(kind.fields))
        case Base.TIME:
            form = kind.form
            made = (
                str if form in (TimeForm.TEXT, TimeForm.COMPUTED) else int | float if form is TimeForm.SECONDS else int
            )
        case base:
            made = _PLAIN[base]
    return made | None if kind.optional else made


def struct_of(name: str, fields: Mapping[str, Type]) -> type[msgspec.Struct]:
    """The Struct that messages of a schema are decoded to; fields that may be null are null where they are missing."""
    made = [
        (attribute(field), annotation(kind), None) if kind.optional else (attribute(field), annotation(kind))
        for field, kind in fields.items()
    ]
    return msgspec.defstruct(name, made, rename=_names(fields), kw_only=True, gc=False)


def record_of(fields: Sequence[str]) -> type[msgspec.Struct]:
    """The Struct of rows that a flow makes: built by position, encoded by what the values are."""
    return msgspec.defstruct("Record", [(attribute(field), Any) for field in fields], rename=_names(fields), gc=False)


def _names(fields: Mapping[str, Type] | Sequence[str]) -> dict[str, str]:
    return {attribute(field): field for field in fields}


def plain(kind: Type) -> Type:
    """The type of a value that is kept in a flow's state: objects are maps there."""
    if kind.base is Base.OBJECT:
        return Type(Base.MAP, optional=kind.optional, item=Type(Base.ANY))
    if kind.item is not None:
        return Type(kind.base, optional=kind.optional, item=plain(kind.item))
    return kind


def has_objects(kind: Type) -> bool:
    """Whether a value of the type holds Structs."""
    return kind.base is Base.OBJECT or (kind.item is not None and has_objects(kind.item))


def json_decoder(schema: Mapping[str, Type] | None) -> Decode:
    """One JSON object a message."""
    if schema is None:
        return msgspec.json.Decoder(dict[str, Any]).decode
    return msgspec.json.Decoder(struct_of("Message", schema)).decode


def msgpack_decoder(schema: Mapping[str, Type] | None) -> Decode:
    """One MessagePack map a message."""
    if schema is None:
        return msgspec.msgpack.Decoder(dict[str, Any]).decode
    return msgspec.msgpack.Decoder(struct_of("Message", schema)).decode


def csv_decoder(columns: Sequence[str], schema: Mapping[str, Type]) -> Decode:
    """One line a message; an empty cell is null where the schema allows null."""
    struct = struct_of("Message", schema)
    count = len(columns)
    optional = {name for name, kind in schema.items() if kind.optional}
    known = set(schema)

    def decode(raw: bytes) -> Any:
        text = raw.decode().rstrip("\r\n")
        cells = next(csv.reader((text,), strict=True), []) if '"' in text else text.split(",")
        if len(cells) != count:
            raise RowFault("malformed", f"{len(cells)} cells, expected {count}")
        found = {
            name: cell
            for name, cell in zip(columns, cells, strict=True)
            if name in known and not (cell == "" and name in optional)
        }
        return msgspec.convert(found, struct, strict=False)

    return decode


def lean_decoder(format: str, fields: Mapping[str, str]) -> Decode:
    """Takes only these fields (and their attributes) out of a message; a missing one is UNSET."""
    made = [(held, Any, msgspec.UNSET) for held in fields.values()]
    rename = {held: field for field, held in fields.items()}
    struct = msgspec.defstruct("Lean", made, rename=rename, kw_only=True, gc=False)
    return msgspec.msgpack.Decoder(struct).decode if format == "msgpack" else msgspec.json.Decoder(struct).decode


class _Line(msgspec.Struct, gc=False):
    line: str


def text_decoder() -> Decode:
    """The message itself, as the field `line`."""

    def decode(raw: bytes) -> Any:
        return _Line(raw.decode())

    return decode


class _Data(msgspec.Struct, gc=False):
    data: bytes


def raw_decoder() -> Decode:
    """The message itself, as the field `data`."""
    return _Data


def raw_encoder() -> Encode:
    """The field `data` of each row: bytes, or a text as UTF-8."""

    def encode(row: Any) -> bytes:
        data = row["data"] if type(row) is dict else row.data
        if type(data) is bytes:
            return data
        if type(data) is str:
            return data.encode()
        raise RowFault("cannot-encode", f"`data` is {type(data).__name__}: raw is written from bytes or a text")

    return encode


def json_encoder() -> Encode:
    return msgspec.json.Encoder().encode


def msgpack_encoder() -> Encode:
    return msgspec.msgpack.Encoder().encode


def text_encoder() -> Encode:
    """The field `line` of each row."""

    def encode(row: Any) -> bytes:
        line = row["line"] if type(row) is dict else row.line
        return line.encode() if type(line) is str else msgspec.json.encode(line)

    return encode


def csv_encoder(columns: Sequence[str]) -> Encode:
    """One line a row, without its end."""
    attributes = [attribute(column) for column in columns]

    def encode(row: Any) -> bytes:
        out = io.StringIO()
        cells = [_cell(getattr(row, name)) for name in attributes]
        csv.writer(out, lineterminator="").writerow(cells)
        return out.getvalue().encode()

    return encode


def _cell(value: Any) -> Any:
    if value is None or type(value) in (str, int, float):
        return value
    return msgspec.json.encode(value).decode()


def as_dict(row: Any) -> dict[str, Any]:
    """A row as a plain mapping of plain values."""
    made = msgspec.to_builtins(row)
    assert isinstance(made, dict)
    return made
