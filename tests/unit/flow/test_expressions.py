"""The language of expressions: types, errors with their place, what is refused, and what bounds there are."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import pytest

from streamsd.flow.expressions.functions import FUNCTIONS, SPECIAL
from streamsd.flow.expressions.source import MAX_DEPTH, MAX_LENGTH, ExpressionError, read
from streamsd.flow.faults import explain
from tests.unit.flow.scopes import FIELDS, constant, type_of, values_of

MESSAGE = {
    "temp_c": 21.5,
    "room": "Kitchen",
    "n": 7,
    "ok": True,
    "hum": None,
    "ts": 1_700_000_000_123,
    "at": "2023-11-14T22:13:20.5Z",
    "tags": ["a", "b"],
    "counts": {"x": 3},
    "device": {"id": "d1"},
    "raw": {"list": [1, 2], "text": "abc", "deep": {"x": 1}},
}


def value(text: str, fields: Any = FIELDS, **changes: Any) -> Any:
    found, faults = values_of(text, [json.dumps({**MESSAGE, **changes}).encode()], fields)
    if faults:
        raise faults[0]
    return found[0]


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=list(FUNCTIONS))
def test_the_example_of_every_function_holds(function):
    assert constant(function.example) is True


@pytest.mark.parametrize(
    ("text", "kind", "wanted"),
    [
        ("n + 1", "int", 8),
        ("n / 2", "float", 3.5),
        ("n // 2", "int", 3),
        ("-n % 4", "int", 1),
        ("temp_c * 1.8 + 32", "float", 70.7),
        ("n + temp_c", "float", 28.5),
        ("room + '!'", "str", "Kitchen!"),
        ("f'{room}-{n}-{ok}-{temp_c}'", "str", "Kitchen-7-true-21.5"),
        ("room[0]", "str", "K"),
        ("room[1:3]", "str", "it"),
        ("tags[-1]", "str", "b"),
        ("tags + ['c']", "list[str]", ["a", "b", "c"]),
        ("counts.x + counts['x']", "int", 6),
        ("device.id", "str", "d1"),
        ("coalesce(device.battery, 1.5)", "float", 1.5),
        ("coalesce(hum, temp_c)", "float", 21.5),
        ("hum is None", "bool", True),
        ("hum is not None and hum > 3", "bool", False),
        ("hum is null or hum > 3", "bool", True),
        ("hum if hum is not None else 0.0", "float", 0.0),
        ("not has(hum)", "bool", True),
        ("1 < n <= 7 < 8", "bool", True),
        ("'a' in tags", "bool", True),
        ("n in [1, 7]", "bool", True),
        ("'itch' in room", "bool", True),
        ("'x' in counts", "bool", True),
        ("room == 'Kitchen' and ok", "bool", True),
        ("'hot' if temp_c > 30 else 'fine'", "str", "fine"),
        ("raw.list[1] * 2", "number", 4),
        ("raw.text + 'd'", "str", "abcd"),
        ("raw['deep'].x", "any", 1),
        ("coalesce(raw.nothing.at.all, 'x')", "any", "x"),
        ("len(raw.list) + len(raw.text)", "int", 5),
        ("ts > at", "bool", False),
        ("at - ts", "float", 0.377),
        ("epoch_ms(ts + 1.5)", "int", 1_700_000_001_623),
        ("ts < '2024-01-01T00:00:00Z'", "bool", True),
        ("hour(ts)", "int", 22),
        ("format_time(ts, '%H:%M')", "str", "22:13"),
        ("matches(room, '^K.*n$')", "bool", True),
        ("extract(room, 'K(it)')", "str?", "it"),
        ("sub(room, '[a-z]', '.')", "str", "K......"),
        ("round(temp_c)", "int", 22),
        ("max(n, 10)", "int", 10),
        ("{'a': n, 'b': [n]}", "map[any]", {"a": 7, "b": [7]}),
        ("str([now()][0]) == str(now())", "bool", True),
        ("true and not false", "bool", True),
        ("field('n') + 1", "int", 8),
    ],
)
def test_what_expressions_say(text, kind, wanted):
    assert type_of(text) == kind
    found = value(text)
    assert math.isclose(found, wanted) if isinstance(wanted, float) else found == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("x + 1", 3),
        ("x * 2.5", 5.0),
        ("y + 'c'", "abc"),
        ("coalesce(z, 9)", 9),
        ("has(z)", False),
        ("int('4') + x", 6),
        ("z is None", True),
    ],
)
def test_without_a_schema_fields_have_the_type_they_come_with(text, wanted):
    found, faults = values_of(text, [b'{"x": 2, "y": "ab"}'], None)
    assert (found, faults) == ([wanted], [])


BAD = [
    ("temp > 3", 1, "unknown field 'temp'", "did you mean 'temp_c'?"),
    ("room == 'a' and tmep_c > 3", 17, "unknown field 'tmep_c'", "did you mean 'temp_c'?"),
    ("temp_c > 'a'", 1, "cannot compare float > str", ""),
    ("temp_c > '30'", 1, "cannot compare float > str", "write the number without quotes: 30"),
    ("room + n", 1, "cannot add str and int", "f-string"),
    ("n + (room * 2)", 6, "cannot compute str * int", ""),
    ("hum > 3", 1, "'hum' may be null", "coalesce(hum, …)"),
    ("device.batery", 1, "unknown field 'batery'", "did you mean 'battery'?"),
    ("room.lower()", 1, "only functions of the table can be called", "write lower(x)"),
    ("lowr(room)", 1, "unknown function 'lowr'", "did you mean 'lower'?"),
    ("lower(n)", 1, "lower(int) does not fit", "write lower(s: str)"),
    ("substr(room, 1)", 1, "substr(str, int) does not fit", "substr(s: str, start: int, length: int)"),
    ("n and ok", 1, "a condition is true or false; this is int", "x != 0"),
    ("temp_c = 3", 8, "'=' does not compare", "write '=='"),
    ("ok && n > 3", 4, "'&&' is not an operator", "write 'and'"),
    ("ok || n > 3", 4, "'||' is not an operator", "write 'or'"),
    ("!ok", 1, "'!' is not an operator", "write 'not'"),
    ("n ** 2", 1, "'**' is not part of the language", "pow(x, y)"),
    ("[x for x in tags]", 1, "comprehensions are not part of the language", "flatten"),
    ("(lambda: 1)()", 2, "functions cannot be defined", "custom"),
    ("n & 1", 1, "bit operators are not part of the language", "'and'"),
    ("(n, 1)", 1, "a comma makes a tuple", "write a list"),
    ("temp_c >", 8, "this is not an expression", ""),
    ("n == room", 1, "int and str are never equal", "convert the text"),
    ("'x' in 3", 1, "'in' looks into lists, texts and maps", ""),
    ("matches(room, '(')", 15, "not a regular expression", "RE2"),
    ("matches(room, tags[0])", 15, "this stands in quotes", "matches(s, 'pattern')"),
    ("ts > 5", 1, "cannot compare a time with int", "time(x)"),
    ("ts + at", 1, "cannot compute time_ms + time", "seconds are added"),
    ("f'{n:05}'", None, "f-strings take no format", "format_number"),  # Pythons differ in where they see it
    ("round(x=3)", 7, "arguments have no names", "in the order"),
    ("lower", 1, "'lower' is a function", "write lower(…)"),
    ("", 1, "an expression is empty", ""),
    ("# hot", 1, "an expression is empty", ""),
    ("n, 1", 1, "a comma makes a tuple", "write a list"),
    ("n) + (1", 2, "a parenthesis is closed that was not opened", ""),
    ("1if ok else 2", 1, "a number ends where a word begins", "a space"),
    ("tags[0:1:1]", 10, "a slice takes no step", ""),
    ("{n: 1}", 2, "a key of a map is a text in quotes", ""),
    ("tags['a']", 1, "list[str] has no field 'a'", ""),
]


@pytest.mark.parametrize(("text", "place", "message", "hint"), BAD, ids=[row[0] or "empty" for row in BAD])
def test_a_wrong_expression_is_told_with_its_place_and_what_to_write(text, place, message, hint):
    with pytest.raises(ExpressionError) as caught:
        type_of(text)
    fault = caught.value
    assert message in fault.message
    assert hint in fault.hint
    if place is not None:
        assert fault.start + 1 == place
        assert f"(at character {place}" in fault.place(text)


def faults_of(text: str) -> tuple[ExpressionError, ...]:
    """What keeps a text from being an expression, before anything is known of its fields."""
    try:
        return read(text).faults
    except ExpressionError as fault:
        return fault.all


TYPED = [row for row in BAD if not faults_of(row[0])]


@pytest.mark.parametrize(("text", "place", "message", "hint"), TYPED, ids=[row[0] for row in TYPED])
def test_faults_that_have_nothing_to_do_with_each_other_are_told_together(text, place, message, hint):
    for other, _, words, _ in TYPED:
        with pytest.raises(ExpressionError) as caught:
            type_of(f"[{text}, {other}]")
        told = caught.value.all
        assert [fault for fault in told if message in fault.message and fault.start == place], other
        assert [fault for fault in told if words in fault.message], other
        assert len(told) == (1 if words == message else 2)


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("tmp > 3 and rom == 'a' and hum < n", [0, 12, 27]),
        ("tmp * 1.8 + 32 > 'x'", [0]),
        ("lowr(rom) == uper(room)", [0, 5, 13]),
        ("room.lower() == rom", [0, 16]),
        ("n & 1 and [x for x in tags] and n ** 2 > 1", [0, 10, 32]),
        ("n and tmp", [0, 6]),
        ("hum > 3 and hum < 5", [0]),
        ("n if tmp else rom", [5, 14]),
        ("matches(rom, '(')", [8, 13]),
        ("f'{tmp} {room + n}'", None),
        ("1 < tmp < rom", [4, 10]),
    ],
)
def test_each_fault_has_its_place_and_none_that_follows_from_another_is_told(text, places):
    with pytest.raises(ExpressionError) as caught:
        type_of(text)
    told = caught.value.all
    if places is None:  # Pythons differ in where they see what is in an f-string
        assert len(told) == 2
    else:
        assert [fault.start for fault in told] == places


def test_places_count_characters_not_bytes_and_go_over_lines():
    with pytest.raises(ExpressionError) as caught:
        type_of("room == 'äöü' and\n tmp > 3")
    assert caught.value.start == len("room == 'äöü' and\n ")


HOSTILE = [
    "__import__('os').system('touch /tmp/x')",
    "().__class__.__bases__[0].__subclasses__()",
    "room.__class__",
    "device.__class__",
    "eval('1')",
    "exec('1')",
    "open('/etc/passwd')",
    "getattr(room, 'upper')",
    "globals()",
    "(x := 5)",
    "[*tags]",
    "lower(*tags)",
    "{**counts}",
    "...",
    "1j",
    "b'abc'",
    "await n",
    "yield n",
    "n if n else yield",
    "print(n)",
    "room % n",
    "'%1000000000d' % n",
    "'x' * 1000000000",
    "n << 100000",
    "10 ** 10 ** 10",
    "9" * 30,
    "(" * 300 + "1" + ")" * 300,
    "-" * 1000 + "n",
    "not " * 400 + "ok",
    "[" * 60 + "]" * 60,
    "n" + " + n" * 600,
    "n + 1\n; import os",
    "n\0",
    "f'{room!r}'",
    "f'{room:>1000000000}'",
    "k0",
    "now",
    "m",
    "ROW_ERRORS",
    "append(n)",
    "bury(n)",
    "x" * 3000,
    "matches(room, '" + "(a*)*" * 300 + "')",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_expression_is_refused_and_never_runs(text):
    began = time.monotonic()
    with pytest.raises(ExpressionError):
        type_of(text)
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("text", "message", "reason"),
    [
        ("x * y", {"x": "ab", "y": 10**9}, "wrong-type"),
        ("x % y", {"x": "%1000000000d", "y": 5}, "wrong-type"),
        ("x[0]", {"x": []}, "out-of-range"),
        ("x.a", {"x": {}}, "missing-field"),
        ("gone", {"x": 1}, "missing-field"),
        ("1 / x", {"x": 0}, "division-by-zero"),
        ("x > 3", {"x": "a"}, "wrong-type"),
        ("x and true", {"x": 1}, "wrong-type"),
        ("sqrt(x)", {"x": -1}, "bad-value"),
        ("exp(x)", {"x": 1e9}, "out-of-range"),
        ("int(x)", {"x": "9" * 5000}, "bad-value"),
        ("x * x * x * x * x", {"x": 10**15}, "out-of-range"),
        ("time(x)", {"x": "yesterday"}, "bad-value"),
        ("year(time(x))", {"x": 1e15}, "bad-value"),
        ("lower(x)", {"x": 5}, "wrong-type"),
        ("replace(x, 'a', y)", {"x": "a" * 5000, "y": "b" * 5000}, "too-long"),
        ("x + x", {"x": "a" * 900_000}, "too-long"),
        ("f'{x}{x}'", {"x": "a" * 900_000}, "too-long"),
        ("sub(x, 'a', y)", {"x": "a" * 5000, "y": "b" * 5000}, "too-long"),
        ("pad_left(x, 100000000, ' ')", {"x": "a"}, "bad-value"),
        ("format_number(x, 1000000)", {"x": 1}, "bad-value"),
        ("split(x, '')", {"x": "a"}, "bad-value"),
        ("format_time(now(), x)", {"x": "%Q"}, "bad-value"),
        ("bucket(x, 0)", {"x": 1}, "bad-value"),
        ("parse_json(x)", {"x": "{"}, "malformed"),
        ("x in y", {"x": 1, "y": 5}, "wrong-type"),
    ],
)
def test_a_message_that_does_not_fit_is_told_why_and_costs_little(text, message, reason):
    began = time.monotonic()
    found, faults = values_of(text, [json.dumps(message).encode()], None)
    assert found == []
    assert explain(faults[0])[0] == reason
    assert time.monotonic() - began < 20


def test_regular_expressions_take_time_linear_in_the_text():
    began = time.monotonic()
    assert value("matches(room, '^(a+)+$')", room="a" * 100_000 + "b") is False
    assert time.monotonic() - began < 20


def test_the_bounds_are_those_of_the_documentation():
    assert not faults_of("n" + " " * (MAX_LENGTH - 1))
    with pytest.raises(ExpressionError, match="at most 2000 characters"):
        read("n" * (MAX_LENGTH + 1))
    nested = "n"
    for _ in range(MAX_DEPTH + 1):
        nested = f"abs({nested})"
    with pytest.raises(ExpressionError, match="nests at most"):
        read(nested)


def test_special_functions_are_described():
    assert set(SPECIAL) == {"coalesce", "has", "field", "meta", "matches", "extract", "sub"}
    assert not set(SPECIAL) & set(FUNCTIONS)


def test_half_a_surrogate_pair_is_refused_where_it_is_written() -> None:
    (fault,) = faults_of("'\\ud800'")
    assert "surrogate" in fault.message
