"""YAML 1.2 core scalars: `NO` is a text, `12:30:00` is a text, `010` is ten."""

from __future__ import annotations

import math
import re

_NUMBERS = frozenset("0123456789+-.")
_WORDS: dict[str, bool | None] = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_INT = re.compile(r"[-+]?[0-9]+\Z")
_OCTAL = re.compile(r"0o[0-7]+\Z")
_HEX = re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = frozenset(sign + word for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")) | {
    ".nan",
    ".NaN",
    ".NAN",
}
_MAX_DIGITS = 40


class NotANumber(ValueError):
    """A number nobody can mean: infinite, not a number, or of endless digits. The message says which."""


def resolve(text: str) -> bool | int | float | str | None:
    """The value of a plain scalar by the core schema of YAML 1.2 (chapter 10.3). NotANumber: see there."""
    if not text or text[0] not in _NUMBERS:
        return _WORDS.get(text, text)
    if _INT.match(text):
        return int(_short(text))
    if _FLOAT.match(text):
        value = float(_short(text))
        if math.isinf(value):
            raise NotANumber("this number is too large")
        return value
    if _HEX.match(text):
        return int(_short(text), 16)
    if _OCTAL.match(text):
        return int(_short(text)[2:], 8)
    if text in _NOT_FINITE:
        raise NotANumber("numbers of a profile are finite")
    return text


def _short(digits: str) -> str:
    if len(digits) > _MAX_DIGITS:
        raise NotANumber(f"a number of {len(digits)} digits")
    return digits
