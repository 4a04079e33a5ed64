"""Ten million different keys in one window: what each costs in memory, and how long anything else has to wait.

The window closes while messages of the next one come, recovery is on, and every key has a result.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure
from tests.e2e.flow.processes import Flow

_PAGE = 4096


def resident(pid: int) -> int:
    """Bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def figures(directory: Path, quick: bool) -> Iterator[Figure]:
    keys = 1_000_000 if quick else 10_000_000
    more = keys // 5
    one = Flow(
        directory / "keys",
        {
            "source": {
                "generator": {
                    "fields": {"user": "'user-' + str(n)", "t": f"1700000000000 + (n // {keys}) * 3600000", "v": "n"},
                    "count": keys + more,
                }
            },
            "schema": {"user": "str", "t": "time_ms", "v": "int"},
            "steps": [
                {
                    "window": {
                        "tumbling": "1h",
                        "time": "t",
                        "key": "user",
                        "emit": {"n": "count()", "mean": "mean(v)"},
                    }
                }
            ],
            "sink": {"discard": {}},
        },
    )
    one.start().ready()
    assert one.process is not None
    began = time.monotonic()
    first: tuple[int, int] | None = None
    last = (0, 0)
    pause = cpu = 0.0
    while True:
        observed = one.observed()
        seen = observed["sources"]["in"]["messages"]
        pause, cpu = max(pause, observed["longest_pause"]), max(cpu, observed["longest_pause_cpu"])
        size = resident(one.process.pid)
        if first is None and seen > keys // 20:
            first = (seen, size)
        if seen <= keys:
            last = (seen, size)
        if observed["complete"]:
            break
        assert one.alive(), one.log()
        time.sleep(0.2)
    passed = time.monotonic() - began
    results = observed["sinks"]["out"]["results"]
    one.close()
    assert first is not None
    assert results == keys + more, f"{results} results of {keys + more} keys"
    yield Figure(f"{keys / 1e6:.0f}M keys in a window", (last[1] - first[1]) / (last[0] - first[0]), "B/key", "< 250 B")
    yield Figure("longest pause meanwhile", pause * 1000, "ms", "< 100 ms")
    yield Figure("the longest in CPU time of the flow's thread", cpu * 1000, "ms", "< 100 ms")
    yield Figure("messages a second, each of another key, with its result", (keys + more) / passed / 1e6, "M/s")
