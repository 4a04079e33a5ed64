"""What generated code calls with times, which are microseconds: spans of seconds, and the parts of a date (UTC)."""

from __future__ import annotations

from collections.abc import Callable

from streamsd.flow import moments
from streamsd.flow.faults import RowFault


def seconds_to_micros(value: float) -> int:
    """The nearest microsecond. Whole seconds stay exact at any size."""
    if type(value) is int:
        return value * 1_000_000
    return round(value * 1e6)


def seconds_text(micros: int) -> float | int:
    """Microseconds as seconds: whole ones as an integer."""
    whole, rest = divmod(micros, 1_000_000)
    return whole if rest == 0 else micros / 1e6


def parts_of(name: str) -> Callable[[int], int]:
    def take(micros: int) -> int:
        return int(getattr(moments.to_datetime(micros), name))

    return take


def weekday(micros: int) -> int:
    """1 is Monday, 7 Sunday."""
    return moments.to_datetime(micros).isoweekday()


_DIRECTIVES = frozenset("YmdHMSfjaAbBpIyuVGzZ%")


def format_time(micros: int, pattern: str) -> str:
    """strftime with the directives that are the same on every platform."""
    if len(pattern) > 200:
        raise RowFault("bad-value", "a time pattern has at most 200 characters")
    at = pattern.find("%")
    while at >= 0:
        if pattern[at + 1 : at + 2] not in _DIRECTIVES or at + 1 >= len(pattern):
            raise RowFault("bad-value", f"unknown time directive {pattern[at : at + 2]!r}")
        at = pattern.find("%", at + 2)
    return moments.to_datetime(micros).strftime(pattern)


def truncate(micros: int, seconds: float) -> int:
    step = seconds_to_micros(seconds)
    if step <= 0:
        raise RowFault("bad-value", "truncate takes a span above 0")
    return micros // step * step
