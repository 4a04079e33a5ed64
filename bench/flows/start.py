"""From the start of the process to the first result."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure
from tests.e2e.flow.processes import Flow


def figures(directory: Path, quick: bool) -> Iterator[Figure]:
    taken = []
    for number in range(3 if quick else 7):
        one = Flow(
            directory / f"start-{number}",
            {
                "source": {"generator": {"fields": {"i": "n"}, "rate": 1000}},
                "sink": {"file": {"path": "out"}},
                "recovery": {"epoch": "50ms"},
            },
        )
        out = one.directory / "out"
        began = time.monotonic()
        one.start()
        while not (out.exists() and out.stat().st_size):
            time.sleep(0.002)
        taken.append(time.monotonic() - began)
        one.close()
    yield Figure("cold start to first result", statistics.median(taken), "s", "< 1 s", "epoch 50 ms")
