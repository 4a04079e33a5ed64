"""The `batch` step against an oracle that looks at one message at a time."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

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


def test_where_a_batch_does_not_stand() -> None:
    window = {"window": {"tumbling": "1s", "emit": {"n": "count()"}}}
    for steps in ([{"batch": {}}, window], [window, {"batch": {}}]):
        (problem,) = problems_of(flow({}, steps=steps), Path())
        assert "not for a flow with a window" in problem.message
    sink = {"discard": {}, "steps": [{"batch": {}}]}
    (problem,) = problems_of(flow({}, sink=sink), Path())
    assert "not in a sink's" in problem.message
