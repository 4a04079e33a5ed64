"""The `batch` step against an oracle that looks at one message at a time."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamsd.flow.checks import check_processes
from streamsd.flow.compiler import problems_of
from streamsd.flow.pipeline import Pipeline
from streamsd.flow.spec import FlowSpec

SCHEMA = {"i": "int", "text": "str"}


def flow(batch: dict[str, Any], typed: bool = True, **more: Any) -> FlowSpec:
    spec = {"source": {"generator": {"fields": {"n": "n"}}}, "steps": [{"batch": batch}], "sink": {"discard": {}}}
    return FlowSpec.model_validate({**spec, **({"schema": SCHEMA} if typed else {}), **more})


def expected(arrivals: list[tuple[int, dict[str, Any]]], ticks: list[int], batch: dict[str, Any]) -> list[list[int]]:
    """Batches of `i`. Time goes on at arrivals and ticks; what is old by then is sent on."""
    out: list[list[int]] = []
    waiting: list[tuple[int, dict[str, Any]]] = []
    size = 0

    def send() -> None:
        nonlocal size
        out.append([row["i"] for _, row in waiting])
        waiting.clear()
        size = 0

    for now, row in sorted([*arrivals, *((tick, None) for tick in ticks)], key=lambda event: event[0]):
        if row is not None:
            own = len(msgspec.json.encode(row))
            if waiting and "size" in batch and size + own > batch["size"]:
                send()
            waiting.append((now, row))
            size += own
            if len(waiting) >= batch["count"]:
                send()
        if waiting and "time" in batch and now - waiting[0][0] >= batch["time"] * 1_000_000:
            send()
    if waiting:
        send()
    return out


@pytest.mark.parametrize("seed", range(30))
def test_batches_are_those_of_the_oracle(seed: int) -> None:
    rnd = random.Random(seed)
    batch: dict[str, Any] = {"count": rnd.choice([1, 3, 10, 1000])}
    if rnd.random() < 0.6:
        batch["size"] = rnd.choice([1, 60, 200, 1000])
    if rnd.random() < 0.6:
        batch["time"] = rnd.choice([0.1, 1.0, 5.0])
    now = 0
    arrivals, ticks = [], []
    for i in range(rnd.randrange(200)):
        now += rnd.choice([1, 1000, 400_000])
        if rnd.random() < 0.2:
            ticks.append(now)
            now += 1
        arrivals.append((now, {"i": i, "text": "x" * rnd.randrange(30)}))
    spec = flow(batch, typed=rnd.random() < 0.5)
    pipeline, found = Pipeline(spec, Path()), []
    events = sorted([*arrivals, *((tick, None) for tick in ticks)], key=lambda event: event[0])
    for at, row in events:
        if row is None:
            pipeline.tick(at)
        else:
            pipeline.feed("in", [json.dumps(row).encode()], now=at)
        if rnd.random() < 0.1:  # a restart
            found += pipeline.results["out"]
            state = pipeline.state()
            pipeline = Pipeline(spec, Path())
            pipeline.restore(state)
    pipeline.finish(now)
    found += pipeline.results["out"]
    made = [msgspec.to_builtins(row)["items"] for row in found]
    assert [[item["i"] for item in items] for items in made] == expected(arrivals, ticks, batch)
    assert [item for items in made for item in items] == [row for _, row in arrivals]
    assert pipeline.letters == []


def test_steps_behind_a_batch_see_it_as_one_message() -> None:
    steps = [
        {"map": {"i": "i"}},
        {"batch": {"count": 2, "as": "rows"}},
        {"set": {"n": "len(rows)", "first": "rows[0].i"}},
    ]
    for typed in (True, False):
        pipeline = Pipeline(flow({}, typed, steps=steps), Path())
        pipeline.feed("in", [b'{"i": 1, "text": "a"}', b'{"i": 2, "text": "b"}', b"nonsense", b'{"i": 3, "text": ""}'])
        pipeline.finish()
        assert [msgspec.to_builtins(row) for row in pipeline.results["out"]] == [
            {"rows": [{"i": 1}, {"i": 2}], "n": 2, "first": 1},
            {"rows": [{"i": 3}], "n": 1, "first": 3},
        ]
        assert [letter.reason for letter in pipeline.letters] == ["malformed"]


@pytest.mark.parametrize("late", ["drop", "dead_letter"])
@pytest.mark.parametrize("shape", [{"tumbling": "50ms"}, {"session": {"gap": "15ms"}}], ids=["tumbling", "session"])
@pytest.mark.parametrize("seed", range(8))
def test_before_a_window_each_partition_has_batches_of_its_own(seed: int, shape: dict[str, Any], late: str) -> None:
    """A batch counts at the time of its last message; none is late, however the partitions take turns, and through
    restarts."""
    rnd = random.Random(seed)
    count, parts = rnd.choice([1, 3, 7]), ["0", "1", "2"][: rnd.randrange(1, 4)]
    streams = {part: [{"i": i, "t": i * 5 + rnd.randrange(5)} for i in range(rnd.randrange(1, 80))] for part in parts}
    steps = [
        {"batch": {"count": count}},
        {"map": {"n": "len(items)", "t": "int(items[-1].t)", "first": "int(items[0].i)"}},
        {"filter": "n > 0"},
        {"window": {**shape, "time": "time_ms(t)", "late": late, "emit": {"batches": "count()", "total": "sum(n)"}}},
    ]
    spec = flow({}, steps=steps, schema={"i": "int", "t": "int"})
    pipeline, found, places = Pipeline(spec, Path()), [], dict.fromkeys(parts, 0)
    pipeline.front.expect("in", parts)
    while left := [part for part in parts if places[part] < len(streams[part])]:
        part = rnd.choice(left)
        rows = streams[part][places[part] : places[part] + rnd.randrange(1, 9)]
        places[part] += len(rows)
        pipeline.feed("in", [json.dumps(row).encode() for row in rows], now=10**6, partition=part)
        pipeline.tick(10**6)
        if rnd.random() < 0.1:
            found += pipeline.results["out"]
            state = pipeline.state()
            pipeline = Pipeline(spec, Path())
            pipeline.restore(state)
            pipeline.front.expect("in", parts)
    pipeline.finish(10**6)
    found += pipeline.results["out"]
    rows = [msgspec.to_builtins(row) for row in found]
    assert pipeline.letters == []
    assert pipeline.late == 0
    batches = [rows[at : at + count] for rows in streams.values() for at in range(0, len(rows), count)]
    assert sum(row["total"] for row in rows) == sum(map(len, streams.values()))
    assert sum(row["batches"] for row in rows) == len(batches)
    if "tumbling" in shape:
        wanted: dict[int, int] = {}
        for batch in batches:
            start = batch[-1]["t"] // 50 * 50
            wanted[start] = wanted.get(start, 0) + len(batch)
        assert {row["window_start"]: row["total"] for row in rows} == wanted


def test_a_batch_that_is_late_for_its_window_is_a_dead_letter_of_messages() -> None:
    for shape in ({"tumbling": "10ms"}, {"session": {"gap": "10ms"}}):
        steps = [
            {"batch": {"count": 2}},
            {"window": {**shape, "time": "time_ms(int(items[0].t))", "late": "dead_letter", "emit": {"n": "count()"}}},
        ]
        pipeline = Pipeline(flow({}, steps=steps, schema={"t": "int"}), Path())
        pipeline.feed("in", [json.dumps({"t": t}).encode() for t in (100, 101, 200, 201, 5, 6)], now=10**6)
        state = pipeline.state()
        pipeline.restore(state)
        pipeline.finish(10**6)
        assert [json.loads(letter.raw) for letter in pipeline.letters] == [{"items": [{"t": 5}, {"t": 6}]}]


def test_where_a_batch_does_not_stand() -> None:
    window = {"window": {"tumbling": "1s", "emit": {"n": "count()"}}}
    assert problems_of(flow({}, steps=[{"batch": {}}, window, {"batch": {}}]), Path()) == ()
    *_, problem = check_processes(flow({}, steps=[window, {"batch": {}}], processes=2))  # before it: no Bytewax here
    assert "of several processes each would have a batch of its own" in problem.message
    sink = {"discard": {}, "steps": [{"batch": {}}]}
    (problem,) = problems_of(flow({}, sink=sink), Path())
    assert "not in a sink's" in problem.message
