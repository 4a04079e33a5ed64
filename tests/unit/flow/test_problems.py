"""Flows that are wrong: each fault with its path in the spec, its words and a way out, all of them in one go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from streamsd.core.diagnostics import dotted
from streamsd.flow.compiler import problems_of
from streamsd.flow.spec import FlowSpec
from streamsd.flow.standing import Files

GENERATOR = {"generator": {"fields": {"n": "n"}}}
SCHEMA = {"room": "str", "temp_c": "float", "ts": "time_ms", "hum": "float?", "tags": "list[str]"}


def problems(tmp_path: Path, **changes: Any) -> list[tuple[str, str, str]]:
    spec = {"source": GENERATOR, "schema": SCHEMA, "steps": [], "sink": {"discard": {}}, **changes}
    found = problems_of(FlowSpec.model_validate({k: v for k, v in spec.items() if v is not None}), tmp_path)
    return [(dotted(p.path), p.message, p.hint) for p in found]


WINDOW = {"tumbling": "1s", "time": "ts", "emit": {"n": "count()"}}

WRONG = [
    ([{"filter": "temp_c >"}, {"drop": ["room"]}], "steps[0].filter", "not an expression", ""),
    ([{"filter": "temp > 3"}], "steps[0].filter", "unknown field 'temp'", "did you mean 'temp_c'?"),
    ([{"set": {"a": "temp_c"}}, {"filter": "b > 3"}], "steps[1].filter", "unknown field 'b'", "a, hum"),
    ([{"map": {"a": "hum + 1"}}], "steps[0].map.a", "'hum' may be null", "coalesce"),
    ([{"drop": ["rom"]}], "steps[0].drop[0]", "unknown field 'rom'", "did you mean 'room'?"),
    ([{"keep": ["x"]}], "steps[0].keep[0]", "unknown field 'x'", "fields:"),
    ([{"rename": {"temp_c": "room"}}], "steps[0].rename", "there is a field 'room' already", "drop it"),
    ([{"convert": {"hum": "int"}}], "steps[0].convert.hum", "the field may be null", "int?"),
    ([{"convert": {"tags": "int"}}], "steps[0].convert.tags", "cannot convert list[str] to int", ""),
    ([{"flatten": {"field": "room", "as": "r"}}], "steps[0].flatten.field", "flatten takes a list", ""),
    ([{"parse": {"field": "temp_c", "pattern": "{a}"}}], "steps[0].parse.field", "parse takes a text", ""),
    ([{"parse": {"field": "room", "pattern": "{a}{b}"}}], "steps[0].parse.pattern", "nothing between", ""),
    ([{"parse": {"field": "room", "pattern": "x"}}], "steps[0].parse.pattern", "no field", "{host}"),
    ([{"parse": {"field": "room", "regex": "x"}}], "steps[0].parse.regex", "no named group", "(?P<name>"),
    (
        [{"enrich": {"table": {"file": "no.csv"}, "on": "room", "key": "k", "fields": {"a": "str"}}}],
        "steps[0].enrich.table",
        "No such file",
        "",
    ),
    (
        [{"enrich": {"table": {"file": "rooms.csv"}, "on": "temp_c", "key": "k", "fields": {"a": "str"}}}],
        "steps[0].enrich.on",
        "the keys of a CSV file are texts, and this is float",
        "str(temp_c)",
    ),
    (
        [{"enrich": {"table": {"file": "rooms.csv"}, "on": "room", "key": "room", "fields": {"a": "str"}}}],
        "steps[0].enrich.table",
        "no column 'room'; columns: a, k",
        "",
    ),
    (
        [{"window": {**WINDOW, "time": "temp_c"}}],
        "steps[0].window.time",
        "an event time is a time; this is float",
        "time(x)",
    ),
    ([{"window": {**WINDOW, "key": "rom"}}], "steps[0].window.key", "unknown field 'rom'", ""),
    ([{"window": {**WINDOW, "key": "temp_c"}}], "steps[0].window.key", "a key is a text, a whole number", ""),
    ([{"window": {**WINDOW, "key": "lower(room)"}}], "steps[0].window.key", "has no name", "{name: expression}"),
    (
        [{"window": {**WINDOW, "emit": {"x": "temp_c"}}}],
        "steps[0].window.emit.x",
        "is a field of single messages",
        "last(temp_c)",
    ),
    (
        [{"window": {**WINDOW, "emit": {"x": "mean(room)"}}}],
        "steps[0].window.emit.x",
        "mean takes numbers; this is str",
        "mean(temp_c)",
    ),
    (
        [{"window": {**WINDOW, "emit": {"x": "quantile(temp_c, 2)"}}}],
        "steps[0].window.emit.x",
        "q lies between 0 and 1",
        "",
    ),
    ([{"window": {**WINDOW, "emit": {"window_start": "count()"}}}], "steps[0].window.emit.window_start", "already", ""),
    ([{"window": {**WINDOW, "tumbling": 0.0005}}], "steps[0].window.tumbling", "no whole number", ""),
    (
        [{"window": {"sliding": {"size": "10s", "every": "3s"}, "time": "ts", "emit": {"n": "count()"}}}],
        "steps[0].window.sliding.size",
        "a multiple of `every`",
        "write 3 x 3s",
    ),
    ([{"window": WINDOW}, {"window": WINDOW}], "steps[1]", "a flow has one window or join", "second flow"),
    ([{"window": WINDOW}, {"filter": "temp_c > 3"}], "steps[1].filter", "unknown field 'temp_c'", "n, window_end"),
    ([{"window": WINDOW}, {"dedupe": {"key": "n", "within": "1m"}}], "steps[1]", "dedupe stands before the window", ""),
    ([{"key": "room"}], "steps[0]", "no window follows", ""),
    ([{"custom": {"file": "no.py", "function": "f"}}], "steps[0].custom.file", "cannot read", ""),
    ([{"throttle": {"rate": 1, "key": "rom"}}], "steps[0].throttle.key", "unknown field 'rom'", ""),
    ([{"redact": {"fields": ["rom"]}}], "steps[0].redact.fields[0]", "unknown field 'rom'", ""),
]


@pytest.mark.parametrize(("steps", "path", "message", "hint"), WRONG, ids=[f"{w[1]} {w[2][:20]}" for w in WRONG])
def test_a_wrong_step_is_told_with_its_path(tmp_path, steps, path, message, hint):
    (tmp_path / "rooms.csv").write_text("k,a\n1,x\n")
    found = problems(tmp_path, steps=steps)
    assert found, "nothing was found"
    assert found[0][0] == path
    assert message in found[0][1]
    assert hint in found[0][2]


def test_all_faults_of_one_result_and_of_one_address_are_told(tmp_path):
    emit = {"x": "maen(temp_c) + temp_c - lst(hum)", "y": "mean(tmp) + sum(rom)"}
    found = problems(tmp_path, steps=[{"window": {**WINDOW, "emit": emit}}])
    assert [(path[-1], message.split(" (")[0]) for path, message, _ in found] == [
        ("x", "unknown aggregate or function 'maen'"),
        ("x", "'temp_c' is a field of single messages"),
        ("x", "unknown aggregate or function 'lst'"),
        ("y", "unknown field 'tmp'"),
        ("y", "unknown field 'rom'"),
    ]
    found = problems(tmp_path, sink={"mqtt": {"topic": "a/{rom}/{tmp}/{hum}"}})
    assert [message.rpartition("(")[2] for _, message, _ in found] == [
        "at character 4: 'rom')",
        "at character 10: 'tmp')",
        "at character 16: 'hum')",
    ]


def test_all_faults_are_told_in_one_go_and_none_twice(tmp_path):
    steps = [{"filter": "tmp > 3"}, {"set": {"x": "rom", "y": "x + 1"}}, {"filter": "room > 5"}]
    assert [path for path, _, _ in problems(tmp_path, steps=steps)] == [
        "steps[0].filter",
        "steps[1].set.x",
        "steps[2].filter",
    ]
    two = {
        "sources": {"a": {**GENERATOR, "schema": SCHEMA}, "b": {**GENERATOR, "schema": SCHEMA}},
        "source": None,
        "schema": None,
    }
    assert len(problems(tmp_path, steps=steps, **two)) == 3
    sinks = {"sinks": {"a": {"discard": {}}, "b": {"discard": {}}}, "sink": None}
    after = [{"window": WINDOW}, {"filter": "nope > 3"}]
    assert len(problems(tmp_path, steps=after, **sinks)) == 1


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        (
            {
                "source": None,
                "schema": None,
                "sources": {"a": {**GENERATOR, "schema": {"x": "int"}}, "b": {**GENERATOR, "schema": {"x": "float"}}},
            },
            "sources.b",
            "not like those of 'a' (x: int and float)",
        ),
        ({"sink": {"discard": {}, "when": "rom == 'a'"}}, "sink.when", "unknown field 'rom'"),
        (
            {"sink": None, "sinks": {"x": {"discard": {}, "steps": [{"window": WINDOW}]}}},
            "sinks.x.steps[0]",
            "not in a sink's",
        ),
        ({"sink": {"mqtt": {"topic": "rooms/#"}}}, "sink.mqtt.topic", "not a topic of mqtt"),
        ({"sink": {"mqtt": {"topic": "rooms/{rom}"}}}, "sink.mqtt.topic", "unknown field 'rom'"),
        ({"sink": {"mqtt": {"topic": "rooms/{room"}}}, "sink.mqtt.topic", "a brace is not closed"),
        ({"sink": {"mqtt": {"topic": "rooms/{hum}"}}}, "sink.mqtt.topic", "may be null"),
        ({"sink": {"sqlite": {"path": "x", "table": "t", "key": ["rom"]}}}, "sink.sqlite.key", "unknown field 'rom'"),
        ({"sink": {"sqlite": {"path": "x", "table": "t"}}, "schema": None}, "sink.sqlite", "needs to know the fields"),
        ({"sink": {"stdout": {}, "format": "csv"}, "schema": None}, "sink.format", "csv needs to know the fields"),
        ({"sink": {"stdout": {}, "format": "text"}}, "sink.format", "a field `line`"),
        ({"source": {**GENERATOR, "format": "text"}}, "source.format", "takes no schema"),
        ({"source": {**GENERATOR, "format": "raw"}}, "source.format", "takes no schema"),
        ({"source": {"file": {"path": "x"}, "format": "msgpack"}}, "source.format", "where msgpack may have any byte"),
        ({"sink": {"sse": {"listen": ":9"}, "format": "msgpack"}}, "sink.format", "events are text, msgpack is none"),
        ({"sink": {"stdout": {}, "format": "raw"}}, "sink.format", "a field `data`"),
        ({"source": {**GENERATOR, "format": "csv", "columns": ["room"]}}, "schema.temp_c", "no such column"),
    ],
)
def test_wrong_ends_are_told_with_their_path(tmp_path, changes, path, message):
    found = problems(tmp_path, **changes)
    assert found[0][0] == path
    assert message in found[0][1]


def test_a_join_names_two_sources(tmp_path):
    join = {"left": "a", "right": "c", "on": "k", "within": "1s", "emit": {"k": "left.k"}}
    two = {name: {**GENERATOR, "schema": {"k": "str"}} for name in ("a", "b")}
    found = problems(tmp_path, source=None, schema=None, sources=two, steps=[{"join": join}])
    assert found[0][:2] == ("steps[0].join.right", "no source 'c'")
    wrong = {**join, "right": "b", "emit": {"x": "left.q", "y": "k"}}
    found = problems(tmp_path, source=None, schema=None, sources=two, steps=[{"join": wrong}])
    assert [path for path, _, _ in found] == ["steps[0].join.emit.x", "steps[0].join.emit.y"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "either source or sources"),
        ({"source": GENERATOR, "sources": {"a": GENERATOR}}, "either source or sources"),
        ({"source": {}}, "exactly one of"),
        ({"source": {**GENERATOR, "stdin": {}}}, "exactly one of"),
        ({"source": GENERATOR, "sink": None}, "either sink or sinks"),
        ({"source": GENERATOR, "steps": [{}]}, "exactly one of"),
        ({"source": GENERATOR, "steps": [{"filter": "a", "drop": ["b"]}]}, "exactly one of"),
        ({"source": GENERATOR, "steps": [{"window": {"emit": {"n": "count()"}}}]}, "one of tumbling, sliding, session"),
        ({"source": GENERATOR, "schema": {"a": "integer"}}, "did you mean 'int'?"),
        ({"source": {**GENERATOR, "format": "csv"}}, "csv needs columns"),
        ({"source": GENERATOR, "steps": [{"redact": {"fields": ["a"], "with": "hash"}}]}, "needs a key"),
        ({"source": {"tcp": {"listen": "nowhere"}}}, "listen"),
    ],
)
def test_what_the_model_itself_refuses(spec, message):
    with pytest.raises(ValidationError) as caught:
        FlowSpec.model_validate({"sink": {"discard": {}}, **spec})
    assert message in str(caught.value)


def test_true_null_and_numbers_are_expressions_too():
    spec = FlowSpec.model_validate(
        {
            "source": GENERATOR,
            "steps": [{"filter": True}, {"map": {"a": 1, "b": None, "c": 2.5}}],
            "sink": {"discard": {}},
        }
    )
    assert spec.steps[0].filter == "true"
    assert spec.steps[1].map == {"a": "1", "b": "null", "c": "2.5"}
    assert problems_of(spec, Path()) == ()


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("def other(rows):\n    return rows\n", False),
        ("if True:\n    def f(rows):\n        return rows\n", True),
        ("try:\n    from fast import f\nexcept ImportError:\n    def f(rows):\n        return rows\n", True),
        ("from os.path import *\n", True),
        ("def f(rows:\n", False),
    ],
)
def test_a_function_is_looked_for_without_running_its_file(tmp_path: Path, text: str, known: bool) -> None:
    (tmp_path / "mine.py").write_text(text)
    step = {"custom": {"file": "mine.py", "function": "f"}}
    spec = FlowSpec.model_validate({"source": GENERATOR, "steps": [step], "sink": {"discard": {}}})
    assert (problems_of(spec, tmp_path, Files.READ) == ()) is known


@pytest.mark.parametrize(
    ("text", "at", "message", "hint"),
    [
        ("def g(rows):\n    return rows\nimport os\n", "function", "has no function 'f'", "it defines: g"),
        ("x = 1\nf = 5\n", "function", "'f' of", ""),
        ("def f(rows):\n  return (\n", "file", "line 2 is not Python: '(' was never closed", ""),
        (
            "import nothing_at_all\ndef f(rows): ...\n",
            "file",
            "line 1: ModuleNotFoundError",
            "runs when the flow starts",
        ),
        ("import sys\nsys.exit(2)\ndef f(rows): ...\n", "file", "line 2: SystemExit: 2", "runs when the flow starts"),
    ],
)
def test_a_file_of_a_step_that_cannot_run_is_told_with_its_line(tmp_path: Path, text, at, message, hint) -> None:
    (tmp_path / "mine.py").write_text(text)
    ((path, words, what),) = problems(tmp_path, steps=[{"custom": {"file": "mine.py", "function": "f"}}])
    assert path == f"steps[0].custom.{at}"
    assert message in words
    assert hint in what


def test_a_key_that_is_none_is_told_without_showing_it(tmp_path: Path) -> None:
    sealed = {"method": "blake2b", "keys": {"k": "geheim"}}
    found = problems(tmp_path, source={**GENERATOR, "sealed": sealed})
    assert [(path, "32 bytes" in message) for path, message, _ in found] == [("source.sealed.keys", True)]
    assert "geheim" not in str(found)
    sink = {"sqlite": {"path": "x", "table": "t"}, "seal": {"method": "blake2b", "key_id": "k", "key": "0" * 64}}
    assert problems(tmp_path, sink=sink)[0][:2] == ("sink.seal", "a sqlite sink sends no messages to seal")
