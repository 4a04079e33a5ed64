"""What compiled expressions call. Each is bounded: in the size of what it makes and in the time it takes.

A value whose type was unknown at validation is checked here (`as_str` and its siblings) before a function sees it.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from typing import Any

import msgspec

from streamsd.flow import moments
from streamsd.flow.expressions.calendar import seconds_to_micros
from streamsd.flow.faults import RowFault

MAX_TEXT = 1 << 20
"""Characters of a text that an expression makes."""
MAX_ITEMS = 100_000
"""Items of a list that an expression makes."""
MAX_WEIGHT = 4 << 20
"""Characters, about, that a list or map would be written as which an expression puts together."""
MAX_INT = 1 << 63


def _wrong(wanted: str, value: object) -> RowFault:
    found = {dict: "map", type(None): "null"}.get(type(value), type(value).__name__)
    return RowFault("wrong-type", f"expected {wanted}, found {found}")


def as_bool(value: Any) -> bool:
    if value is True or value is False:
        return bool(value)
    raise _wrong("bool", value)


def as_number(value: Any) -> int | float:
    if type(value) is int or type(value) is float:
        return value
    raise _wrong("number", value)


def as_int(value: Any) -> int:
    if type(value) is int:
        return value
    raise _wrong("int", value)


def as_str(value: Any) -> str:
    if type(value) is str:
        return value
    raise _wrong("str", value)


def as_list(value: Any) -> list[Any]:
    if type(value) is list:
        return value
    raise _wrong("list", value)


def as_map(value: Any) -> dict[str, Any]:
    if type(value) is dict:
        return value
    raise _wrong("map", value)


def as_bytes(value: Any) -> bytes:
    if type(value) is bytes:
        return value
    raise _wrong("bytes", value)


def as_micros(value: Any) -> int:
    """A time of unknown form: RFC 3339 text, or seconds."""
    if type(value) is str:
        return moments.from_text(value)
    if type(value) is int or type(value) is float:
        return seconds_to_micros(value)
    raise _wrong("time", value)


def get(value: Any, key: Any) -> Any:
    """A field that may be missing: None."""
    return value.get(key) if type(value) is dict else None


def bounded(value: Any) -> Any:
    """Whole numbers stay within 64 bits, or a flow's steps could grow one without end."""
    if type(value) is int and not -MAX_INT <= value < MAX_INT:
        raise RowFault("out-of-range", "a whole number left the range of 64 bits")
    return value


def limited(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise RowFault("too-long", f"a text grew past {MAX_TEXT} characters")
    return text


def joined(parts: tuple[str, ...]) -> str:
    """Texts as one, if that is not too long: it is not made before that is known."""
    if sum(map(len, parts)) > MAX_TEXT:
        raise RowFault("too-long", f"a text grew past {MAX_TEXT} characters")
    return "".join(parts)


def weighed(value: Any) -> Any:
    """A list or map with all that is in it, counted as often as it would be written: what holds the same list many
    times, which hold the same one many times, is small until it is written or compared."""
    left = MAX_WEIGHT
    pending = [value]
    while pending:
        part = pending.pop()
        kind = type(part)
        if kind is list or kind is dict:
            left -= 16 + 8 * len(part)
            pending += part.values() if kind is dict else part
        elif kind is str or kind is bytes:
            left -= len(part)
        if left < 0:
            raise RowFault("too-long", f"a list or map grew past {MAX_WEIGHT} characters")
    return value


def concat(left: Any, right: Any) -> Any:
    """text + text, list + list, number + number; nothing else."""
    if type(left) is str and type(right) is str:
        return joined((left, right))
    made = left + right
    if type(made) is list:
        if len(made) > MAX_ITEMS:
            raise RowFault("too-long", f"a list grew past {MAX_ITEMS} items")
        weighed(made)
    return made


def multiply(left: Any, right: Any) -> Any:
    """Numbers only: a text times a number would be a text of any length."""
    return as_number(left) * as_number(right)


def modulo(left: Any, right: Any) -> Any:
    """Numbers only: `%` formats texts in Python."""
    return as_number(left) % as_number(right)


def mean(values: list[Any]) -> float:
    if not values:
        raise RowFault("bad-value", "mean of an empty list")
    return float(sum(values) / len(values))


def round_int(value: float) -> int:
    return round(value)


def round_to(value: Any, digits: int) -> Any:
    # a whole number rounded to minus a thousand million digits would be computed by a power of ten as long
    if not -30 <= digits <= 30:
        raise RowFault("bad-value", "round takes -30 to 30 digits")
    return round(value, digits)


def power(base: float, exponent: float) -> float:
    made = float(base) ** float(exponent)
    if isinstance(made, complex):
        raise RowFault("bad-value", "a root of a negative number")
    return float(made)


def clamp(value: Any, low: Any, high: Any) -> Any:
    return low if value < low else high if value > high else value


def sign(value: float) -> int:
    return (value > 0) - (value < 0)


def to_int(value: Any) -> int:
    """Of a number (towards zero), a decimal text or a bool."""
    if type(value) not in (str, int, float, bool) or (type(value) is str and len(value) > 40):
        raise RowFault("bad-value", "not a whole number")
    made = int(value)
    return int(bounded(made))


def to_float(value: Any) -> float:
    if type(value) not in (str, int, float, bool) or (type(value) is str and len(value) > 400):
        raise RowFault("bad-value", "not a number")
    return float(value)


def to_str(value: Any) -> str:
    """Text as it is; numbers and truth values as JSON writes them; lists and maps as JSON."""
    if type(value) is str:
        return value
    if value is None:
        return "null"
    if type(value) is bytes:
        return limited(value.decode())
    return limited(msgspec.json.encode(value).decode())


def to_bool(value: Any) -> bool:
    """Of true/false, yes/no, on/off, 1/0 in any case."""
    if type(value) is bool:
        return value
    word = str(value).strip().lower() if type(value) in (str, int) else ""
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0"):
        return False
    raise RowFault("bad-value", f"not a truth value: {str(value)[:40]!r}")


def replace_text(text: str, old: str, new: str) -> str:
    if len(new) > len(old) and text.count(old) * (len(new) - len(old)) + len(text) > MAX_TEXT:
        raise RowFault("too-long", f"a text grew past {MAX_TEXT} characters")
    return text.replace(old, new)


def split(text: str, separator: str) -> list[str]:
    if not separator:
        raise RowFault("bad-value", "split by an empty text")
    if text.count(separator) >= MAX_ITEMS:
        raise RowFault("too-long", f"a list grew past {MAX_ITEMS} items")
    return text.split(separator)


def join(values: list[Any], separator: str) -> str:
    parts: list[str] = []
    left = MAX_TEXT
    for value in values:
        parts.append(to_str(value))
        left -= len(parts[-1]) + len(separator)
        if left < 0:
            raise RowFault("too-long", f"a text grew past {MAX_TEXT} characters")
    return separator.join(parts)


def substr(text: str, start: int, length: int) -> str:
    return text[start : start + length] if start >= 0 else text[start:][:length]


def pad_left(text: str, width: int, fill: str) -> str:
    if width > 10_000 or len(fill) != 1:
        raise RowFault("bad-value", "pad_left takes a width up to 10000 and one character")
    return text.rjust(width, fill)


def format_number(value: float, digits: int) -> str:
    if not 0 <= digits <= 30:
        raise RowFault("bad-value", "format_number takes 0 to 30 digits")
    return f"{value:.{digits}f}"


def length(value: Any) -> int:
    if type(value) not in (str, list, dict):
        raise _wrong("str, list or map", value)
    return len(value)


def contains(text: Any, part: Any) -> bool:
    return part in text


def index_of(values: list[Any], value: Any) -> int:
    return values.index(value) if value in values else -1


def first(values: list[Any]) -> Any:
    return values[0] if values else None


def last(values: list[Any]) -> Any:
    return values[-1] if values else None


def unique(values: list[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def sha256(text: Any) -> str:
    return hashlib.sha256(_data(text)).hexdigest()


def blake2b(text: Any) -> str:
    return hashlib.blake2b(_data(text), digest_size=16).hexdigest()


def crc32(text: Any) -> int:
    return zlib.crc32(_data(text))


def bucket(value: Any, count: int) -> int:
    """The same number from 0 to count-1 for the same value, on every host."""
    if count <= 0:
        raise RowFault("bad-value", "bucket takes a count above 0")
    return zlib.crc32(_data(value)) % count


def _data(value: Any) -> bytes:
    if type(value) is bytes:
        return value
    return to_str(value).encode()


def parse_json(text: Any) -> Any:
    return msgspec.json.decode(text)


def to_json(value: Any) -> str:
    return limited(msgspec.json.encode(value).decode())


def type_of(value: Any) -> str:
    names = {dict: "map", type(None): "null", bool: "bool", int: "int", float: "float", str: "str", list: "list"}
    return names.get(type(value), "bytes")


def is_finite(value: float) -> bool:
    return math.isfinite(value)


def log(value: float, base: float = math.e) -> float:
    return math.log(value) if base == math.e else math.log(value, base)


def after(text: str, start: str) -> str:
    """What follows a text that must begin so."""
    if not text.startswith(start):
        raise RowFault("no-match", f"does not begin with {start!r}")
    return text[len(start) :]


def cut(text: str, separator: str) -> tuple[str, str]:
    """Before and after the first separator."""
    before, found, rest = text.partition(separator)
    if not found:
        raise RowFault("no-match", f"no {separator!r} in {text[:40]!r}")
    return before, rest


def no_match() -> None:
    raise RowFault("no-match", "the text does not match the pattern")


def no_row(key: Any) -> None:
    raise RowFault("no-row", f"the table has no row for {str(key)[:80]!r}")


def hashable(value: Any) -> Any:
    """A value that can be compared by: lists and maps cannot."""
    if type(value) in (list, dict, set):
        raise RowFault("wrong-type", "a list or map cannot be a key")
    return value


def missing(name: str) -> Any:
    raise KeyError(name)
