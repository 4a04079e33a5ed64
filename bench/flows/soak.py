"""A soak: 20,000 messages a second for ten minutes through steps, a keyed window and two sinks; memory stays flat.

With `--quick` as quickly as the flow takes them, with shorter epochs: three million messages, and some hundred epochs.
"""

from __future__ import annotations

import copy
import os
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.figures import Figure
from bench.flows.latency import connected, cpu_seconds
from tests.e2e.flow.processes import Flow, free_port

RATE = 20_000
QUICK = 3_000_000
BAD = 10_000
"""One message in so many is no JSON: dead letters must not grow without end either."""

SPEC = {
    "schema": {"device": "str", "temp_c": "float", "ts": "time_ms", "seq": "int"},
    "steps": [
        {"filter": "temp_c > -40"},
        {"dedupe": {"key": "seq", "within": "2s"}},
        {"set": {"site": "f'site-{bucket(device, 20)}'", "parts": "split(device, '-')"}},
        {
            "window": {
                "tumbling": "1s",
                "key": ["device", "site"],
                "time": "ts",
                "lateness": "1s",
                "emit": {
                    "n": "count()",
                    "mean": "mean(temp_c)",
                    "p99": "approx_quantile(temp_c, 0.99)",
                    "kinds": "distinct(parts[0])",
                },
            }
        },
    ],
    "sinks": {
        "file": {"file": {"path": "out.ndjson", "rotate": "16MB", "keep": 2}},
        "newest": {"sqlite": {"path": "newest.db", "table": "newest", "key": ["device"]}},
    },
    "dead_letter": {"max_size": "1MB"},
}


def resident(pid: int) -> float:
    """MB of memory that the process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def figures(directory: Path, quick: bool) -> Iterator[Figure]:
    yield from _quick(directory) if quick else _long(directory)


def _quick(directory: Path) -> Iterator[Figure]:
    port = free_port()
    spec: dict[str, Any] = copy.deepcopy({**SPEC, "recovery": {"epoch": "100ms"}})
    spec["steps"][1]["dedupe"]["within"] = "200ms"
    one = Flow(directory / "soak", {"source": {"tcp": {"listen": f"127.0.0.1:{port}"}}, **spec})
    one.start().ready()
    assert one.process is not None
    sender = threading.Thread(target=_push, args=(port,), daemon=True)
    sender.start()
    marks: list[tuple[float, float]] = []
    end = time.monotonic() + 600
    while True:
        seen = one.observed()["sources"]["in"]["messages"]
        if seen > len(marks) * QUICK / 40:
            marks.append((seen / 1e6, resident(one.process.pid)))
        if seen >= QUICK or time.monotonic() > end:
            break
        time.sleep(0.05)
    epochs = one.observed()["epochs"]
    one.close()
    second = marks[len(marks) // 2 :]
    slope = statistics.linear_regression([at for at, _ in second], [size for _, size in second]).slope
    yield Figure("resident after half of 3M messages", second[0][1], "MB", "", f"{epochs} epochs in all")
    yield Figure("at their end", marks[-1][1], "MB")
    yield Figure("slope in the second half", slope, "MB per million", "< 1")
    yield Figure("lost in the soak", QUICK - seen, "messages", "0")


def _long(directory: Path) -> Iterator[Figure]:
    seconds = 600
    port = free_port()
    one = Flow(directory / "soak", {"source": {"tcp": {"listen": f"127.0.0.1:{port}"}}, **SPEC})
    one.start().ready()
    assert one.process is not None
    pid = one.process.pid
    before = cpu_seconds(pid)
    sender = threading.Thread(target=_offer, args=(port, seconds), daemon=True)
    sender.start()
    sizes: dict[int, float] = {}
    began = time.monotonic()
    for minute in range(1, seconds // 60 + 1):
        time.sleep(max(0.0, began + minute * 60 - 2 - time.monotonic()))
        sizes[minute] = resident(pid)
        print(f"minute {minute}: {sizes[minute]:.0f} MB", file=sys.stderr, flush=True)
    sender.join(seconds)  # on a host that is too busy it is late
    known = -1
    while (seen := one.observed()["sources"]["in"]["messages"]) > known and seen < RATE * seconds:
        known = seen
        time.sleep(5)
    used = (cpu_seconds(pid) - before) / seconds
    observed = one.observed()
    one.close()
    for minute in (1, 5, 10):
        if minute in sizes:
            yield Figure(f"resident after {minute} min at 20k/s", sizes[minute], "MB")
    middle, last = sizes[(len(sizes) + 1) // 2], sizes[len(sizes)]
    minutes = sorted(sizes)[len(sizes) // 2 :]
    slope = statistics.linear_regression(minutes, [sizes[minute] for minute in minutes]).slope
    yield Figure("slope in the second half", slope, "MB a minute", "< 0.5")
    yield Figure("growth in the second half", (last / middle - 1) * 100, "%", "< 5 %")
    lost = RATE * seconds - observed["sources"]["in"]["messages"]
    yield Figure("lost in the soak", lost, "messages", "0", f"{observed['dead']} dead letters, {observed['late']} late")
    yield Figure("of a core in the soak", used * 100, "%")


def _offer(port: int, seconds: int) -> None:
    """Send each ten milliseconds what is due."""
    per_step = RATE // 100
    with connected(port) as out:
        start = time.time()
        for step in range(seconds * 100):
            due = start + step / 100
            time.sleep(max(0.0, due - time.time()))
            out.sendall(_lines(step * per_step, per_step, round(due * 1000)))


def _push(port: int) -> None:
    """The same without waiting."""
    with connected(port) as out:
        for first in range(0, QUICK, 200):
            out.sendall(_lines(first, 200, 1_700_000_000_000 + first // 20))


def _lines(first: int, count: int, at: int) -> bytes:
    """`at`: milliseconds."""
    return b"".join(
        b"nonsense\n"
        if i % BAD == 7
        else b'{"device":"dev-%03d","temp_c":%.1f,"ts":%d,"seq":%d}\n' % (i % 500, i % 600 / 10 - 20, at - i % 300, i)
        for i in range(first, first + count)
    )
