"""Every step: what it makes of messages, with a schema and without."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from streamsd.flow.pipeline import Pipeline
from streamsd.flow.records import as_dict
from streamsd.flow.spec import FlowSpec

SOURCE = {"generator": {"fields": {"n": "n"}}}


def run(
    steps: list[Any], messages: list[Any], schema: dict[str, Any] | None = None, base: Path = Path(), **more: Any
) -> tuple[list[dict[str, Any]], list[str]]:
    """Results and the reasons of dead letters."""
    spec: dict[str, Any] = {"source": SOURCE, "steps": steps, "sink": {"discard": {}}, **more}
    if schema:
        spec["schema"] = schema
    pipeline = Pipeline(FlowSpec.model_validate(spec), base)
    pipeline.feed("in", [m if isinstance(m, bytes) else json.dumps(m).encode() for m in messages], now=1_000_000)
    pipeline.finish(2_000_000)
    return [as_dict(row) for row in pipeline.results["out"]], [letter.reason for letter in pipeline.letters]


A = {"x": 1, "s": "ab", "tags": ["p", "q"]}
TYPES = {"x": "int", "s": "str", "tags": "list[str]"}


@pytest.mark.parametrize("schema", [TYPES, None], ids=["typed", "open"])
@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        ([], [A]),
        ([{"filter": "x > 1"}], []),
        ([{"filter": "x > 0 and s == 'ab'"}], [A]),
        ([{"map": {"y": "x + 1", "t": "s"}}], [{"y": 2, "t": "ab"}]),
        ([{"map": {"x": "x * 10", "was": "x"}}], [{"x": 10, "was": 1}]),
        ([{"set": {"x": "x * 10", "y": "x + 1"}}], [{**A, "x": 10, "y": 11}]),
        ([{"drop": ["s", "tags"]}], [{"x": 1}]),
        ([{"keep": ["s"]}], [{"s": "ab"}]),
        ([{"rename": {"x": "s", "s": "x"}}], [{"x": "ab", "s": 1, "tags": ["p", "q"]}]),
        (
            [{"flatten": {"field": "tags", "as": "tag"}}, {"keep": ["x", "tag"]}],
            [{"x": 1, "tag": "p"}, {"x": 1, "tag": "q"}],
        ),
        (
            [{"flatten": {"field": "tags", "as": "tag"}}, {"filter": "tag == 'q'"}, {"map": {"tag": "tag"}}],
            [{"tag": "q"}],
        ),
        ([{"redact": {"fields": ["s"]}}, {"drop": ["tags"]}], [{"x": 1, "s": "***"}]),
        ([{"convert": {"x": "str"}}, {"keep": ["x"]}], [{"x": "1"}]),
        ([{"sample": {"every": 2}}], [A]),
        ([{"set": {"at": "now()"}}, {"map": {"at": "at"}}], [{"at": "1970-01-01T00:00:01Z"}]),
    ],
)
def test_steps_make_of_a_message(schema, steps, wanted):
    if schema and steps and "rename" in steps[0]:
        steps = [{"rename": {"x": "n", "s": "x"}}, {"rename": {"n": "s"}}]
    found, dead = run(steps, [A], schema)
    assert dead == []
    assert [dict(sorted(row.items())) for row in found] == [dict(sorted(row.items())) for row in wanted]


def test_parse_by_pattern_and_by_expression():
    line = '10.0.0.1 - alice [17/Mar] "GET /x HTTP" 200 1234'
    pattern = '{host} - {user} [{at}] "{request}" {status:int} {size}'
    source = {"source": {**SOURCE, "format": "text"}}
    found, dead = run(
        [{"parse": {"field": "line", "pattern": pattern, "types": {"size": "int"}}}, {"drop": ["line"]}],
        [line.encode(), b"what"],
        **source,
    )
    assert found == [
        {"host": "10.0.0.1", "user": "alice", "at": "17/Mar", "request": "GET /x HTTP", "status": 200, "size": 1234}
    ]
    assert dead == ["no-match"]
    regex = r"(?P<host>\S+) .* (?P<size>\d+)$"
    found, dead = run(
        [{"parse": {"field": "line", "regex": regex, "types": {"size": "int"}}}, {"keep": ["size"]}],
        [line.encode(), b"what"],
        **source,
    )
    assert (found, dead) == ([{"size": 1234}], ["no-match"])


@pytest.mark.parametrize(
    ("given", "kind", "wanted"),
    [
        ("42", "int", 42),
        ("x", "int", None),
        (3.9, "int", 3),
        ("1.5", "float", 1.5),
        ("yes", "bool", True),
        (None, "int?", None),
        ("2030-01-01T00:00:00Z", "time_ms", 1893456000000),
        (1893456000, "time", "2030-01-01T00:00:00Z"),
        ([1], "list", [1]),
    ],
)
def test_convert(given, kind, wanted):
    found, dead = run([{"convert": {"v": kind}}], [{"v": given}])
    assert (found, dead) == (([{"v": wanted}], []) if wanted is not None or given is None else ([], ["bad-value"]))


def table(tmp_path: Path, kind: str) -> dict[str, Any]:
    rows = [{"id": "a", "site": "north", "floor": 1}, {"id": "b", "site": "south", "floor": None}]
    match kind:
        case "csv":
            (tmp_path / "t.csv").write_text("id,site,floor\na,north,1\nb,south,\n")
        case "json":
            (tmp_path / "t.json").write_text(json.dumps(rows))
        case "map":
            (tmp_path / "t.json").write_text(json.dumps({row.pop("id"): row for row in rows}))
        case "db":
            database = sqlite3.connect(tmp_path / "t.db")
            database.execute("create table t (id, site, floor)")
            database.executemany("insert into t values (?, ?, ?)", [tuple(row.values()) for row in rows])
            database.commit()
            database.close()
            return {"file": "t.db", "query": "select * from t"}
    return {"file": "t.csv" if kind == "csv" else "t.json"}


@pytest.mark.parametrize("kind", ["csv", "json", "map", "db"])
def test_enrich_from_every_kind_of_table(tmp_path, kind):
    enrich = {"table": table(tmp_path, kind), "on": "id", "key": "id", "fields": {"site": "str", "floor": "int?"}}
    messages = [{"id": "a"}, {"id": "b"}, {"id": "c"}]
    found, dead = run([{"enrich": enrich}], messages, {"id": "str"}, tmp_path)
    assert found == [{"id": "a", "site": "north", "floor": 1}, {"id": "b", "site": "south", "floor": None}]
    assert dead == ["no-row"]
    found, dead = run([{"enrich": {**enrich, "missing": "drop"}}], messages, {"id": "str"}, tmp_path)
    assert (len(found), dead) == (2, [])
    nullable = {**enrich, "fields": {"site": "str?"}, "missing": "null"}
    found, dead = run([{"enrich": nullable}, {"filter": "site is None"}], messages, None, tmp_path)
    assert (found, dead) == ([{"id": "c", "site": None}], [])


def test_dedupe_remembers_for_a_while_and_so_many():
    spec = {
        "source": SOURCE,
        "schema": {"id": "int"},
        "steps": [{"dedupe": {"key": "id", "within": "10s", "max": 3}}],
        "sink": {"discard": {}},
    }
    pipeline = Pipeline(FlowSpec.model_validate(spec), Path())

    def feed(second: int, *ids: int) -> list[int]:
        before = len(pipeline.results["out"])
        pipeline.feed("in", [json.dumps({"id": i}).encode() for i in ids], now=second * 1_000_000)
        return [row.id for row in pipeline.results["out"][before:]]

    assert feed(0, 1, 2, 1, 2, 2) == [1, 2]
    assert feed(9, 1, 3) == [3]
    assert feed(10, 1, 2, 3) == [1, 2], "ten seconds after it was seen first"
    assert feed(11, 4, 5, 3) == [4, 5, 3], "the oldest was forgotten for the newest"
    other = Pipeline(FlowSpec.model_validate(spec), Path())
    other.restore(pipeline.state())
    other.feed("in", [b'{"id": 5}', b'{"id": 9}'], now=12_000_000)
    assert [row.id for row in other.results["out"]] == [9]
    assert pipeline.standing.counts()["repeated"] == 5


def test_throttle_and_sample_by_key():
    found, _ = run([{"throttle": {"rate": 1, "burst": 2, "key": "k"}}], [{"k": k} for k in "aabbab"], {"k": "str"})
    assert [row["k"] for row in found] == ["a", "a", "b", "b"]
    messages = [{"k": f"k{i}"} for i in range(1000)]
    first, _ = run([{"sample": {"fraction": 0.2, "key": "k"}}], messages, {"k": "str"})
    again, _ = run([{"sample": {"fraction": 0.2, "key": "k"}}], [*messages, *messages], {"k": "str"})
    assert again == first * 2
    assert 120 < len(first) < 280


def test_redact_with_a_hash_can_be_counted_and_not_read():
    step = {"redact": {"fields": ["user"], "with": "hash", "key": "k"}}
    found, _ = run([step], [{"user": u} for u in ("anna", "bob", "anna")], {"user": "str"})
    assert found[0] == found[2] != found[1]
    assert len(found[0]["user"]) == 32
    other, _ = run([{"redact": {**step["redact"], "key": "other"}}], [{"user": "anna"}], {"user": "str"})
    assert other[0] != found[0]


def test_a_custom_function_gets_batches_and_its_faults_are_dead_letters(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def double(rows):\n    return [{'x': row['x'] * 2} for row in rows for _ in range(2)]\n"
        "def broken(rows):\n    raise RuntimeError('no')\ndef odd(rows):\n    return [{'x': 'text'}, 5]\n"
    )
    custom = {"file": "mine.py", "function": "double", "schema": {"x": "int"}}
    found, dead = run([{"custom": custom}, {"set": {"y": "x + 1"}}], [{"x": 1}, {"x": 2}], {"x": "int"}, tmp_path)
    assert found == [{"x": 2, "y": 3}] * 2 + [{"x": 4, "y": 5}] * 2
    assert dead == []
    found, dead = run([{"custom": {**custom, "function": "broken"}}], [{"x": 1}, {"x": 2}], {"x": "int"}, tmp_path)
    assert (found, dead) == ([], ["custom-failed"] * 2)
    found, dead = run([{"custom": {**custom, "function": "odd"}}], [{"x": 1}], {"x": "int"}, tmp_path)
    assert (found, dead) == ([], ["wrong-type", "custom-failed"])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise KeyError('x')", "mine.py:2 f: KeyError: 'x'"),
        ("import sys; sys.exit(3)", "mine.py:2 f: SystemExit: 3"),
        ("return 1 / 0", "mine.py:2 f: ZeroDivisionError: division by zero"),
        ("pass", "f of mine.py returned NoneType, not a list: does it return the rows?"),
        ("yield from rows", "f of mine.py returned generator, not a list: return list(…)"),
        ("return [1]", "f of mine.py returned an item of int, not dict"),
        ("return f(rows)", "RecursionError"),
    ],
)
def test_what_a_custom_function_does_wrong_is_told_with_its_place(tmp_path, body, words):
    (tmp_path / "mine.py").write_text(f"def f(rows):\n    {body}\n")
    custom = {"file": "mine.py", "function": "f"}
    spec = {"source": SOURCE, "steps": [{"custom": custom}], "sink": {"discard": {}}}
    pipeline = Pipeline(FlowSpec.model_validate(spec), tmp_path)
    pipeline.feed("in", [b'{"x": 1}'])
    (letter,) = pipeline.letters
    assert letter.reason == "custom-failed"
    assert words in letter.message


def test_formats():
    text, dead = run([], [b"one", b"\xff"], source={**SOURCE, "format": "text"})
    assert (text, dead) == ([{"line": "one"}], ["malformed"])
    table_, dead = run(
        [],
        [b'a,1,"x,y"', b"b,,z", b"c", b"d,q,z"],
        source={**SOURCE, "format": "csv", "schema": {"k": "str", "n": "int?", "t": "str"}},
    )
    assert table_ == [{"k": "a", "n": 1, "t": "x,y"}, {"k": "b", "n": None, "t": "z"}]
    assert dead == ["malformed", "wrong-type"]
    import msgspec

    packed, _ = run(
        [{"set": {"y": "x + 1"}}], [msgspec.msgpack.encode({"x": 1})], source={**SOURCE, "format": "msgpack"}
    )
    assert packed == [{"x": 1, "y": 2}]
    several, dead = run(
        [{"filter": "meta('topic') is None"}],
        [b'{"x": 1}\n\n{"x": 2}\r\n{"x":', b'{"x": 3}'],
        source={**SOURCE, "format": "ndjson"},
    )
    assert (several, dead) == ([{"x": 1}, {"x": 2}, {"x": 3}], ["malformed"])


def test_bytes_go_through_as_they_came():
    spec = {
        "source": {**SOURCE, "format": "raw"},
        "steps": [{"filter": "crc32(data) != 0"}],
        "sinks": {
            "mqtt": {"mqtt": {"topic": "t"}, "format": "raw"},
            "file": {"file": {"path": "x"}, "format": "msgpack"},
            "same": {"file": {"path": "y"}, "format": "raw"},
        },
    }
    pipeline = Pipeline(FlowSpec.model_validate(spec), Path())
    messages = [b"\xff\n\0", b"two"]
    pipeline.feed("in", messages)
    given = pipeline.results | {"mqtt": [("t", row) for row in pipeline.results["mqtt"]]}
    made = {name: pipeline.plan.sinks[name].encode(rows)[0] for name, rows in given.items()}
    assert pipeline.letters == []
    assert list(made["mqtt"].items) == [("t", message) for message in messages]
    assert made["same"].block == b"".join(messages)
    import msgspec

    assert made["file"].block == b"".join(msgspec.msgpack.encode({"data": message}) for message in messages)


def test_sinks_have_conditions_and_steps_of_their_own():
    spec = {
        "source": SOURCE,
        "steps": [{"set": {"z": "x * 2"}}],
        "sinks": {
            "all": {"discard": {}},
            "big": {"discard": {}, "when": "x > 5", "steps": [{"map": {"big": "z"}}]},
            "faulty": {"discard": {}, "steps": [{"map": {"r": "10 / (x - 7)"}}]},
        },
    }
    pipeline = Pipeline(FlowSpec.model_validate(spec), Path())
    pipeline.feed("in", [json.dumps({"x": x}).encode() for x in (1, 7, 9)])
    assert [as_dict(row) for row in pipeline.results["all"]] == [{"x": 1, "z": 2}, {"x": 7, "z": 14}, {"x": 9, "z": 18}]
    assert [as_dict(row) for row in pipeline.results["big"]] == [{"big": 14}, {"big": 18}]
    assert [as_dict(row) for row in pipeline.results["faulty"]] == [{"r": 10 / -6}, {"r": 5.0}]
    assert [letter.reason for letter in pipeline.letters] == ["division-by-zero"]


def test_sources_are_united_and_each_has_steps_of_its_own():
    spec = {
        "sources": {
            "a": {**SOURCE, "schema": {"t": "float"}, "steps": [{"map": {"c": "t"}}]},
            "b": {**SOURCE, "schema": {"f": "float"}, "steps": [{"map": {"c": "(f - 32) / 1.8"}}]},
        },
        "steps": [{"filter": "c > 0"}],
        "sink": {"discard": {}},
    }
    pipeline = Pipeline(FlowSpec.model_validate(spec), Path())
    pipeline.feed("a", [b'{"t": 5}', b'{"t": -5}'])
    pipeline.feed("b", [b'{"f": 50}'])
    assert [row.c for row in pipeline.results["out"]] == [5.0, 10.0]


def test_windows_by_arrival_close_as_time_goes_by_and_silent_sources_are_let_go():
    window = {"tumbling": "10s", "emit": {"n": "count()"}}
    pipeline = Pipeline(
        FlowSpec.model_validate({"source": SOURCE, "steps": [{"window": window}], "sink": {"discard": {}}}), Path()
    )
    pipeline.feed("in", [b"{}", b"{}"], now=12_000_000)
    pipeline.tick(19_000_000)
    assert pipeline.results["out"] == []
    pipeline.tick(20_000_000)
    assert [as_dict(row) for row in pipeline.results["out"]] == [
        {"window_start": "1970-01-01T00:00:10Z", "window_end": "1970-01-01T00:00:20Z", "n": 2}
    ]
    timed = {**window, "time": "ts", "idle": "30s"}
    spec = {"source": SOURCE, "schema": {"ts": "time_s"}, "steps": [{"window": timed}], "sink": {"discard": {}}}
    pipeline = Pipeline(FlowSpec.model_validate(spec), Path())
    pipeline.feed("in", [b'{"ts": 3.5}', b'{"ts": 4}'], now=1_000_000)
    pipeline.tick(30_000_000)
    assert pipeline.results["out"] == []
    pipeline.tick(31_000_001)
    assert [as_dict(row) for row in pipeline.results["out"]] == [{"window_start": 0, "window_end": 10, "n": 2}]
    pipeline.feed("in", [b'{"ts": 5}', b'{"ts": 12}'], now=32_000_000)
    assert pipeline.late == 1, "its window was closed by the silence"


def test_one_wrong_clock_does_not_close_the_windows_of_the_others():
    window = {"tumbling": "1s", "time": "ts", "emit": {"n": "count()"}, "max_ahead": "1h"}
    found, dead = run([{"window": window}], [{"ts": 500}, {"ts": 10**13}, {"ts": 700}], {"ts": "time_ms"})
    assert (found, dead) == ([{"window_start": 0, "window_end": 1000, "n": 2}], ["time-ahead"])


def test_a_window_may_say_no_more_than_that_it_was():
    window = {"tumbling": "1s", "key": "k", "time": "ts", "emit": {"length": "window_end - window_start"}}
    found, _ = run([{"window": window}], [{"ts": 500, "k": "a"}, {"ts": 600, "k": "a"}], {"ts": "time_ms", "k": "str"})
    assert found == [{"k": "a", "window_start": 0, "window_end": 1000, "length": 1.0}]


def test_late_messages_can_be_dead_letters():
    window = {"tumbling": "1s", "time": "ts", "emit": {"n": "count()"}, "late": "dead_letter"}
    messages = [{"ts": 500}, {"ts": 2500}, {"ts": 600}]
    assert run([{"window": window}], messages, {"ts": "time_ms"})[1] == ["late"]
    session = {"session": {"gap": "1s"}, "time": "ts", "emit": {"n": "count()"}, "late": "dead_letter"}
    assert run([{"window": session}], [{"ts": 500}, {"ts": 9500}, {"ts": 600}], {"ts": "time_ms"})[1] == ["late"]
