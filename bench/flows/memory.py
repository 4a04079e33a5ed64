"""Decode, steps, window and encode, in memory and one thread."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.figures import Figure
from bench.flows.messages import PASS, SCHEMA, make, window
from streamsd.flow.pipeline import Pipeline
from streamsd.flow.spec import FlowSpec


def run(messages: list[bytes], steps: list[dict[str, Any]], typed: bool, batch: int) -> tuple[float, list[Any]]:
    """Messages a CPU second, and the results."""
    spec: dict[str, Any] = {
        "source": {"generator": {"fields": {"n": "n"}}},
        "steps": steps,
        "sink": {"file": {"path": "x"}},
    }
    if typed:
        spec["schema"] = SCHEMA
    pipeline = Pipeline(FlowSpec.model_validate(spec), Path())
    encode = pipeline.plan.sinks["out"].encode
    kept: list[Any] = []
    # as the flow's own process has it: with all these rows kept, the collector would be what is measured
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    began = time.process_time()
    for at in range(0, len(messages), batch):
        pipeline.feed("in", messages[at : at + batch], now=1_700_000_000_000_000 + at)
        rows = pipeline.results["out"]
        if rows:
            encode(rows)
            kept += rows
            rows.clear()
    pipeline.finish(2**50)
    passed = time.process_time() - began
    assert not pipeline.letters
    return len(messages) / passed, [*kept, *pipeline.results["out"]]


def figures(directory: Path, quick: bool) -> Iterator[Figure]:
    messages = make(100_000 if quick else 1_000_000)
    wanted = sum(1 for m in messages if float(m.split(b'"temp_c":')[1].split(b",")[0]) > -40)
    for name, typed, reach in (("schema", True, ">= 1.2M"), ("no schema", False, ">= 0.8M")):
        rate = max(run(messages, PASS, typed, 1000)[0] for _ in range(3))
        yield Figure(f"decode, filter, map, encode; {name}", rate / 1e6, "M/s/core", reach)
    for name, typed, reach in (("schema", True, ">= 0.9M"), ("no schema", False, ">= 0.7M")):
        best = 0.0
        for _ in range(3):
            rate, rows = run(messages, window(typed), typed, 1000)
            assert sum(row.n for row in rows) == wanted, "every message is counted once"
            best = max(best, rate)
        yield Figure(f"the same with a keyed 1 s window; {name}", best / 1e6, "M/s/core", reach)
