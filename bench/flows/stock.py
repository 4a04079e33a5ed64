"""The same keyed window on Bytewax's stock operators, in the same run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
import bytewax.operators.windowing as win
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, TestingSource, run_main

from bench.figures import Figure
from bench.flows import memory
from bench.flows.messages import START, make, window


def figures(directory: Path, quick: bool) -> Iterator[Figure]:
    messages = make(50_000 if quick else 200_000)
    out: list[Any] = []
    flow = Dataflow("stock")
    stream = op.input("in", flow, TestingSource(messages, batch_size=1000))
    rows = op.map("decode", stream, json.loads)
    kept = op.filter("filter", rows, lambda row: row["temp_c"] > -40)
    keyed = op.key_on("key", kept, lambda row: row["device"])
    clock = win.EventClock(lambda row: datetime.fromtimestamp(row["ts"] / 1000, UTC), timedelta(hours=1))
    windower = win.TumblingWindower(timedelta(seconds=1), datetime.fromtimestamp(START / 1000, UTC))

    def add(state: tuple[int, float], row: Any) -> tuple[int, float]:
        return state[0] + 1, state[1] + row["temp_c"]

    folded = win.fold_window(
        "fold", keyed, clock, windower, lambda: (0, 0.0), add, lambda a, b: (a[0] + b[0], a[1] + b[1])
    )
    made = op.map(
        "encode", folded.down, lambda item: json.dumps([item[0], item[1][1][0], item[1][1][1] / item[1][1][0]])
    )
    op.output("out", made, TestingSink(out))
    began = time.process_time()
    run_main(flow)
    stock = len(messages) / (time.process_time() - began)
    ours = memory.run(messages, window(True), True, 1000)[0]
    yield Figure("keyed window on Bytewax's stock operators", stock / 1e6, "M/s/core")
    yield Figure("ours beside it", ours / stock, "times", ">= 5")
