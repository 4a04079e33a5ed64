"""Aggregates: what a window keeps of its messages, and what it says when it closes.

A window's state per key is a list of slots. Each aggregate says, as code, how its slot begins, takes one more value,
joins another's, and what it comes to; the compiler writes those into the loop and into the merge. Nulls are left out,
as in SQL.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from streamsd.flow.faults import RowFault
from streamsd.flow.types import ANY, FLOAT, INT, NUMBER, Base, Type, list_of, map_of

MAX_COLLECTED = 100_000


@dataclass(frozen=True, slots=True)
class Slot:
    """One cell of a window's state. In the code `{s}` is the cell, `{o}` the other's, `{x}` the value, `{t}` its time.

    `begin`: the cell after the first value. `add` and `merge`: statements. `none`: the cell while only nulls came,
    where the value may be null.
    """

    begin: str
    add: str
    merge: str
    copy: str = "{s}"
    none: str = "None"


@dataclass(frozen=True, slots=True)
class Aggregate:
    """`takes`: what a value must be. `slots`: by name; equal ones of one value are shared. `value`: code of the result
    over `{a}`, `{b}` …: the cells of the slots in order. `literals`: further arguments, constants, as {p}
    and {q} in code."""

    name: str
    about: str
    example: str
    takes: Type
    result: Callable[[Type], Type]
    slots: tuple[tuple[str, Slot], ...]
    value: str
    literals: tuple[tuple[str, type, Any], ...] = ()
    finite: bool = False
    """Whether its values are made floats that are finite: so that no later step of it can fail."""
    nullable_result: bool = True
    """Whether the result is null where only nulls came."""


COUNT = Slot("1", "{s} += 1", "{s} += {o}", none="0")
_SUM = Slot("{x}", "{s} += {x}", "{s} += {o}")
_MIN = Slot("{x}", "{s} = {x} if {x} < {s} else {s}", "{s} = {o} if {o} < {s} else {s}")
_MAX = Slot("{x}", "{s} = {x} if {x} > {s} else {s}", "{s} = {o} if {o} > {s} else {s}")
NUMBERS = (COUNT, _SUM, _MIN, _MAX)
"""Slots that hold a number or null."""
_MOMENTS = Slot("(1, {x} + 0.0, 0.0)", "{s} = moment({s}, {x})", "{s} = moments({s}, {o})")
_VALUES = Slot("[{x}]", "{s}.append({x})", "{s} += {o}", copy="{s}[:]")
_SET = Slot("{{{x}}}", "{s}.add({x})", "{s} |= {o}", copy="{s}.copy()")
COUNTS = Slot("{{{x}: 1}}", "{s}[{x}] = {s}.get({x}, 0) + 1", "add_counts({s}, {o})", copy="{s}.copy()")
_SKETCH = Slot("{{sketch_bucket({x}): 1}}", "sketch_add({s}, {x})", "add_counts({s}, {o})", copy="{s}.copy()")
_FIRST = Slot("({t}, {x})", "{s} = ({t}, {x}) if {t} < {s}[0] else {s}", "{s} = {o} if {o}[0] < {s}[0] else {s}")
_LAST = Slot("({t}, {x})", "{s} = ({t}, {x}) if {t} >= {s}[0] else {s}", "{s} = {o} if {o}[0] >= {s}[0] else {s}")


def _float(kind: Type) -> Type:
    return FLOAT


def _same(kind: Type) -> Type:
    return NUMBER if kind.base is Base.ANY else kind


def _itself(kind: Type) -> Type:
    return kind


def _table() -> Mapping[str, Aggregate]:
    ranked = map_of(ANY)
    made = (
        Aggregate(
            "count",
            "How many messages; with an argument, how many where it is not null.",
            "count()",
            ANY,
            lambda k: INT,
            (("count", COUNT),),
            "{a}",
            nullable_result=False,
        ),
        Aggregate("sum", "The sum.", "sum(bytes)", NUMBER, _same, (("sum", _SUM),), "{a}"),
        Aggregate(
            "mean",
            "The arithmetic mean.",
            "mean(temp_c)",
            NUMBER,
            _float,
            (("sum", _SUM), ("count", COUNT)),
            "({a} / {b})",
        ),
        Aggregate("min", "The smallest.", "min(temp_c)", NUMBER, _same, (("min", _MIN),), "{a}"),
        Aggregate("max", "The largest.", "max(temp_c)", NUMBER, _same, (("max", _MAX),), "{a}"),
        Aggregate(
            "stddev",
            "The sample standard deviation (over n - 1); null for one value.",
            "stddev(temp_c)",
            NUMBER,
            lambda k: FLOAT.or_null(),
            (("moments", _MOMENTS),),
            "deviation({a})",
            finite=True,
        ),
        Aggregate(
            "variance",
            "The sample variance (over n - 1); null for one value.",
            "variance(temp_c)",
            NUMBER,
            lambda k: FLOAT.or_null(),
            (("moments", _MOMENTS),),
            "variance({a})",
            finite=True,
        ),
        Aggregate(
            "median",
            "The middle value; exact, keeps all values.",
            "median(temp_c)",
            NUMBER,
            _float,
            (("values", _VALUES),),
            "quantile({a}, 0.5)",
            finite=True,
        ),
        Aggregate(
            "quantile",
            "The value that the part q lies below (linear between neighbours); exact, keeps all values.",
            "quantile(ms, 0.95)",
            NUMBER,
            _float,
            (("values", _VALUES),),
            "quantile({a}, {p})",
            (("q", float, None),),
            finite=True,
        ),
        Aggregate(
            "approx_quantile",
            "The same within 1 % of the value, in little memory (DDSketch).",
            "approx_quantile(ms, 0.99)",
            NUMBER,
            _float,
            (("sketch", _SKETCH),),
            "sketch_quantile({a}, {p})",
            (("q", float, None),),
            finite=True,
        ),
        Aggregate(
            "first", "The value of the earliest message.", "first(state)", ANY, _itself, (("first", _FIRST),), "{a}[1]"
        ),
        Aggregate(
            "last", "The value of the latest message.", "last(state)", ANY, _itself, (("last", _LAST),), "{a}[1]"
        ),
        Aggregate(
            "distinct",
            "How many different values; exact, keeps each.",
            "distinct(user)",
            ANY,
            lambda k: INT,
            (("set", _SET),),
            "len({a})",
        ),
        Aggregate(
            "top_k",
            "The k most frequent values: a list of {value, count}.",
            "top_k(page, 3)",
            ANY,
            lambda k: list_of(ranked),
            (("counts", COUNTS),),
            "top_k({a}, {p})",
            (("k", int, 10),),
        ),
        Aggregate(
            "collect",
            "The values, in order of arrival, at most `limit`.",
            "collect(seq, 100)",
            ANY,
            list_of,
            (
                (
                    "collect{p}",
                    Slot(
                        "[{x}]",
                        "{s}.append({x}) if len({s}) < {p} else None",
                        "{s} += {o}[: {p} - len({s})]",
                        copy="{s}[:]",
                    ),
                ),
            ),
            "{a}",
            (("limit", int, 1000),),
        ),
    )
    return {aggregate.name: aggregate for aggregate in made}


AGGREGATES: Mapping[str, Aggregate] = _table()


# --- what the code calls


def moment(state: tuple[int, float, float], x: float) -> tuple[int, float, float]:
    """Welford: count, mean and sum of squared distances, with one more value."""
    n, mean, squares = state
    n += 1
    delta = x - mean
    mean += delta / n
    return (n, mean, squares + delta * (x - mean))


def moments(a: tuple[int, float, float], b: tuple[int, float, float]) -> tuple[int, float, float]:
    """Chan: the same of two sets together."""
    n = a[0] + b[0]
    delta = b[1] - a[1]
    return (n, a[1] + delta * b[0] / n, a[2] + b[2] + delta * delta * a[0] * b[0] / n)


def variance(state: tuple[int, float, float]) -> float | None:
    return state[2] / (state[0] - 1) if state[0] > 1 else None


def deviation(state: tuple[int, float, float]) -> float | None:
    return math.sqrt(state[2] / (state[0] - 1)) if state[0] > 1 else None


def quantile(values: list[float], q: float) -> float:
    """Linear interpolation between the neighbours, as numpy's default."""
    ordered = sorted(values)
    place = q * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return float(ordered[low] + (ordered[high] - ordered[low]) * (place - low))


def add_counts(into: dict[Any, int], other: dict[Any, int]) -> None:
    for key, count in other.items():
        into[key] = into.get(key, 0) + count


def top_k(counts: dict[Any, int], k: int) -> list[dict[str, Any]]:
    """By count, then by value."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    return [{"value": value, "count": count} for value, count in ordered[:k]]


_GAMMA = 1.01 / 0.99
_LOG_GAMMA = math.log(_GAMMA)
_ZERO = 0
_OFFSET = 1 << 20


def sketch_bucket(x: float) -> int:
    """DDSketch (Masson, Rim, Lee 2019): bucket i holds (γ^(i-1), γ^i]. Positive buckets are above 0, negative below."""
    if -1e-300 < x < 1e-300:
        return _ZERO
    index = math.ceil(math.log(abs(x)) / _LOG_GAMMA) + _OFFSET
    return index if x > 0 else -index


def sketch_add(sketch: dict[int, int], x: float) -> None:
    bucket = sketch_bucket(x)
    sketch[bucket] = sketch.get(bucket, 0) + 1


def sketch_quantile(sketch: dict[int, int], q: float) -> float:
    rank = q * (sum(sketch.values()) - 1)
    seen = 0
    chosen = 0
    for bucket in sorted(sketch):
        chosen = bucket
        seen += sketch[bucket]
        if seen > rank:
            break
    if chosen == _ZERO:
        return 0.0
    value = 2 * math.exp((abs(chosen) - _OFFSET) * _LOG_GAMMA) / (1 + _GAMMA)
    return value if chosen > 0 else -value


def finite(value: Any) -> float:
    made = float(value)
    if not math.isfinite(made):
        raise RowFault("bad-value", "an infinite number, or none")
    return made


def number_or_null(value: Any) -> Any:
    if value is None or type(value) is int or type(value) is float:
        return value
    raise RowFault("wrong-type", f"expected number, found {type(value).__name__}")


NAMES: Mapping[str, Any] = {
    "to_builtins": msgspec.to_builtins,
    "float": float,
    **{
        function.__name__: function
        for function in (
            moment,
            moments,
            variance,
            deviation,
            quantile,
            add_counts,
            top_k,
            sketch_bucket,
            sketch_add,
            sketch_quantile,
            finite,
            number_or_null,
        )
    },
}
