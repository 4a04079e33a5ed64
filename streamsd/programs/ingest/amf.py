"""AMF0, in which RTMP's commands are written (Action Message Format, AMF 0, Adobe 2007). Pure."""

from __future__ import annotations

import struct
from typing import TypeAlias

Value: TypeAlias = "bool | float | str | dict[str, Value] | list[Value] | None"

_DEEPEST = 16


class AmfFault(ValueError):
    """The bytes are not AMF0, or not an AMF0 that a publisher sends."""


def decode(data: bytes) -> list[Value]:
    """All values, one after the other. AmfFault."""
    found = []
    at = 0
    while at < len(data):
        value, at = _value(data, at, 0)
        found.append(value)
    return found


def encode(*values: Value) -> bytes:
    """The values, one after the other."""
    return b"".join(_encoded(value) for value in values)


def first_end(data: bytes) -> int:
    """Where the first value ends. AmfFault."""
    return _value(data, 0, 0)[1]


def _value(data: bytes, at: int, depth: int) -> tuple[Value, int]:
    if depth > _DEEPEST:
        raise AmfFault("objects within objects, too deep")
    try:
        marker = data[at]
        at += 1
        match marker:
            case 0x00:
                return struct.unpack_from(">d", data, at)[0], at + 8
            case 0x01:
                return bool(data[at]), at + 1
            case 0x02:
                return _text(data, at)
            case 0x03:
                return _object(data, at, depth)
            case 0x05 | 0x06:
                return None, at
            case 0x08:
                return _object(data, at + 4, depth)
            case 0x0A:
                return _array(data, at, depth)
            case 0x0B:
                return struct.unpack_from(">d", data, at)[0], at + 10
            case 0x0C:
                (length,) = struct.unpack_from(">I", data, at)
                return _cut(data, at + 4, length)
    except (IndexError, struct.error):
        raise AmfFault("cut short") from None
    raise AmfFault(f"a value of type {marker}")


def _text(data: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">H", data, at)
    return _cut(data, at + 2, length)


def _cut(data: bytes, at: int, length: int) -> tuple[str, int]:
    if at + length > len(data):
        raise AmfFault("cut short")
    return data[at : at + length].decode("utf-8", "replace"), at + length


def _object(data: bytes, at: int, depth: int) -> tuple[dict[str, Value], int]:
    found: dict[str, Value] = {}
    while True:
        name, at = _text(data, at)
        if not name and data[at] == 0x09:
            return found, at + 1
        found[name], at = _value(data, at, depth + 1)


def _array(data: bytes, at: int, depth: int) -> tuple[list[Value], int]:
    (count,) = struct.unpack_from(">I", data, at)
    at += 4
    found: list[Value] = []
    for _ in range(count):
        value, at = _value(data, at, depth + 1)
        found.append(value)
    return found, at


def _encoded(value: Value) -> bytes:
    match value:
        case None:
            return b"\x05"
        case bool():
            return b"\x01" + bytes((value,))
        case int() | float():
            return b"\x00" + struct.pack(">d", value)
        case str():
            return b"\x02" + _name(value)
        case dict():
            return b"\x03" + b"".join(_name(k) + _encoded(v) for k, v in value.items()) + b"\0\0\x09"
        case list():
            return b"\x0a" + struct.pack(">I", len(value)) + b"".join(map(_encoded, value))


def _name(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data
