"""Batches behind a window against an oracle: the same flow without them, and what it says put together by hand."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamsd.flow.pipeline import Pipeline
from streamsd.flow.spec import FlowSpec

WINDOWS = {
    "tumbling": {"tumbling": "50ms"},
    "sliding": {"sliding": {"size": "60ms", "every": "20ms"}},
    "session": {"session": {"gap": "15ms"}},
}


def flow(shape: str, behind: list[dict[str, Any]]) -> FlowSpec:
    window = {"key": "key", "time": "time_ms(t)", "lateness": "10ms", "emit": {"n": "count()", "total": "sum(i)"}}
    steps = [{"window": {**WINDOWS[shape], **window}}, {"filter": "n > 1"}, *behind]
    schema = {"key": "str", "i": "int", "t": "int"}
    source = {"generator": {"fields": {"n": "n"}}}
    return FlowSpec.model_validate({"source": source, "schema": schema, "steps": steps, "sink": {"discard": {}}})


class Run:
    """A flow that is restarted now and then."""

    def __init__(self, spec: FlowSpec) -> None:
        self.spec = spec
        self.pipeline = Pipeline(spec, Path())
        self.letters = 0

    def said(self) -> list[dict[str, Any]]:
        """What it has said since it was asked last."""
        rows = [msgspec.to_builtins(row) for row in self.pipeline.results["out"]]
        self.pipeline.results["out"].clear()
        return rows

    def restart(self) -> None:
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(self.pipeline.standing.results.state()))
        whole = self.pipeline.state()
        self.letters += len(self.pipeline.letters)
        self.pipeline = Pipeline(self.spec, Path())
        self.pipeline.restore(whole)
        self.pipeline.standing.results.restore(state)


class Oracle:
    """Puts together what comes at once, looking at the time when all of it was taken."""

    def __init__(self, batch: dict[str, Any]) -> None:
        self.batch = batch
        self.waiting: list[dict[str, Any]] = []
        self.since = 0
        self.out: list[list[dict[str, Any]]] = []

    def take(self, rows: list[dict[str, Any]], now: int) -> None:
        for row in rows:
            size = sum(len(msgspec.json.encode(one)) for one in (*self.waiting, row))
            if self.waiting and size > self.batch.get("size", 1 << 60):
                self.send()
            if not self.waiting:
                self.since = now
            self.waiting.append(row)
            if len(self.waiting) == self.batch["count"]:
                self.send()
        if self.waiting and "time" in self.batch and now - self.since >= self.batch["time"] * 1_000_000:
            self.send()

    def send(self) -> None:
        if self.waiting:
            self.out.append(self.waiting)
            self.waiting = []


@pytest.mark.parametrize("shape", WINDOWS)
@pytest.mark.parametrize("seed", range(12))
def test_batches_hold_each_result_once_in_order_through_restarts(seed: int, shape: str) -> None:
    rnd = random.Random(f"{seed} {shape}")
    batch: dict[str, Any] = {"count": rnd.choice([1, 2, 5, 1000])}
    if rnd.random() < 0.5:
        batch["size"] = rnd.choice([1, 150, 600])
    if rnd.random() < 0.6:
        batch["time"] = rnd.choice([0.1, 1.0])
    plain, batched = Run(flow(shape, [])), Run(flow(shape, [{"batch": {**batch, "as": "rows"}}]))
    oracle, found, results = Oracle(batch), [], []
    now = at = 0
    for _ in range(rnd.randrange(10, 120)):
        now += rnd.choice([1, 1000, 300_000])
        if rnd.random() < 0.75:
            at += rnd.randrange(25)
            messages = [
                json.dumps({"key": f"k{rnd.randrange(6)}", "i": rnd.randrange(100), "t": at + rnd.randrange(-8, 8)})
                for _ in range(rnd.randrange(1, 9))
            ]
            for run in (plain, batched):
                run.pipeline.feed("in", [message.encode() for message in messages], now=now)
            results += (said := plain.said())
            oracle.take(said, now)
        for run in (plain, batched):
            run.pipeline.tick(now)
        results += (said := plain.said())
        oracle.take(said, now)
        found += batched.said()
        if rnd.random() < 0.15:
            batched.restart()
    plain.pipeline.finish(now)
    batched.pipeline.finish(now)
    last = plain.said()
    oracle.take(last, now)
    oracle.send()
    found += batched.said()
    assert [row["rows"] for row in found] == oracle.out
    assert [one for row in found for one in row["rows"]] == [*results, *last]
    assert batched.letters == 0
    assert batched.pipeline.letters == []


def test_steps_between_and_behind_batches_see_them_as_messages() -> None:
    behind = [
        {"set": {"even": "n % 2 == 0"}},
        {"batch": {"count": 2, "as": "pair"}},
        {"set": {"first": "str(pair[0].key)"}},
        {"batch": {"count": 2, "as": "pairs"}},
        {"map": {"n": "len(pairs)", "first": "str(pairs[0].first)"}},
    ]
    pipeline = Pipeline(flow("tumbling", behind), Path())
    for key in "abcdefg":
        messages = [json.dumps({"key": key, "i": i, "t": 10}).encode() for i in range(2)]
        pipeline.feed("in", messages, now=10**6)
    pipeline.finish(10**6)
    rows = [msgspec.to_builtins(row) for row in pipeline.results["out"]]
    assert [row["n"] for row in rows] == [2, 2]
    assert pipeline.letters == []
