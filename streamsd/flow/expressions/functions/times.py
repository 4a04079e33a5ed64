"""Functions of times."""

from __future__ import annotations

from collections.abc import Iterable

from streamsd.flow.expressions.functions.signature import Function, dynamic, function, signature
from streamsd.flow.types import COMPUTED_TIME, FLOAT, INT, STR, parse_type


def times() -> Iterable[Function]:
    yield function(
        "now",
        "time",
        "When this batch was taken from the source.",
        "now() > time(0)",
        signature("now", COMPUTED_TIME, ""),
    )
    yield function(
        "time",
        "time",
        "A time from RFC 3339 text or from seconds since 1970.",
        "time('1970-01-01T00:01:00Z') == time(60)",
        dynamic("as_micros({0})", COMPUTED_TIME),
        signature("from_text({0})", COMPUTED_TIME, "s: str"),
        signature("seconds_to_micros({0})", COMPUTED_TIME, "seconds: number"),
    )
    yield function(
        "time_ms",
        "time",
        "A time from milliseconds since 1970; it stays that number.",
        "time_ms(1000) == time(1)",
        signature("({0})", parse_type("time_ms"), "ms: int"),
    )
    yield function(
        "epoch",
        "time",
        "Seconds since 1970.",
        "epoch(time(1.5)) == 1.5",
        signature("(({0}) / 1000000)", FLOAT, "t: time"),
    )
    yield function(
        "epoch_ms",
        "time",
        "Whole milliseconds since 1970.",
        "epoch_ms(time(1.5)) == 1500",
        signature("(({0}) // 1000)", INT, "t: time"),
    )
    yield function(
        "age",
        "time",
        "Seconds from t until now.",
        "age(time(0)) > 0",
        signature("((now - ({0})) / 1000000)", FLOAT, "t: time"),
    )
    yield function(
        "truncate",
        "time",
        "Down to a multiple of that many seconds.",
        "truncate(time(125), 60) == time(120)",
        signature("truncate({0}, {1})", COMPUTED_TIME, "t: time, seconds: number"),
    )
    for part in ("year", "month", "day", "hour", "minute", "second"):
        yield function(
            part,
            "time",
            f"The {part}, in UTC.",
            f"{part}(time(0)) == {1970 if part == 'year' else 1 if part in ('month', 'day') else 0}",
            signature(part + "({0})", INT, "t: time"),
        )
    yield function(
        "weekday",
        "time",
        "1 is Monday, 7 is Sunday, in UTC.",
        "weekday(time(0)) == 4",
        signature("weekday({0})", INT, "t: time"),
    )
    yield function(
        "format_time",
        "time",
        "By strftime's directives, in UTC.",
        "format_time(time(0), '%Y-%m-%d') == '1970-01-01'",
        signature("format_time({0}, {1})", STR, "t: time, pattern: str"),
    )
