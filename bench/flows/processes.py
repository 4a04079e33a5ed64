"""Flows of several processes: what a second one brings, how long a change of number takes, when a stall is seen."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.figures import Figure
from bench.flows.latency import cpu_seconds
from bench.flows.messages import SCHEMA, make
from tests.e2e.flow.processes import Flow, until

WINDOW = {"tumbling": "1s", "key": "device", "emit": {"n": "count()", "mean": "mean(temp_c)"}}


def figures(directory: Path, quick: bool) -> Iterator[Figure]:
    rates = {}
    for processes in (1, 2):
        rate, per_core = _rate(directory / f"rate-{processes}", processes, 1_000_000 if quick else 8_000_000)
        rates[processes] = rate
        load = f"load {os.getloadavg()[0]:.0f}"
        yield Figure(f"keyed window from two files, processes: {processes}", rate / 1e3, "k/s", "", load)
        yield Figure(f"the same for each second of processor time, processes: {processes}", per_core / 1e3, "k/s/core")
    yield Figure("two processes beside one", rates[2] / rates[1], "times", "about 2 on two free cores")
    yield from _changes(directory / "changes")


def _rate(directory: Path, processes: int, count: int) -> tuple[float, float]:
    """(messages a second, messages a second of processor time) of the middle of a run through two files."""
    directory.mkdir()
    block = b"\n".join(make(100_000)) + b"\n"
    for name in "ab":
        with (directory / f"{name}.ndjson").open("wb") as file:
            for _ in range(count // 200_000):
                file.write(block)
    one = Flow(
        directory,
        {
            "processes": processes,
            "sources": {name: {"file": {"path": f"{name}.ndjson"}, "schema": SCHEMA} for name in "ab"},
            "steps": [{"filter": "temp_c > 20"}, {"window": WINDOW}],
            "sink": {"discard": {}},
            "recovery": {"epoch": "1s"},
        },
    ).start()
    try:
        before = one.until(lambda seen: _taken(seen) > count * 0.1 and _taken(seen), "a tenth")
        pids = _pids(one)
        began, spent = time.monotonic(), sum(map(cpu_seconds, pids))
        after = one.until(lambda seen: _taken(seen) > count * 0.9 and _taken(seen), "nine tenths")
        passed, spent = time.monotonic() - began, sum(map(cpu_seconds, pids)) - spent
        return (after - before) / passed, (after - before) / max(spent, 0.01)
    finally:
        one.close()
        for name in "ab":
            (directory / f"{name}.ndjson").unlink()


def _taken(seen: dict[str, Any]) -> int:
    return sum(source["messages"] for source in seen["sources"].values())


def _pids(one: Flow) -> list[int]:
    assert one.process is not None
    told = [int(process["pid"]) for process in one.observed().get("processes", [])]
    return told or [one.process.pid]


def _changes(directory: Path) -> Iterator[Figure]:
    def spec(processes: int) -> dict[str, Any]:
        source = {
            "generator": {"fields": {"k": "f'k{n % 50}'", "ts": "n // 20"}, "rate": 20_000},
            "schema": {"k": "str", "ts": "time_ms"},
        }
        window = {"tumbling": "100ms", "key": "k", "time": "ts", "emit": {"n": "count()"}}
        return {
            "processes": processes,
            "sources": {"a": source, "b": source},
            "steps": [{"window": window}],
            "sink": {"file": {"path": "out.ndjson"}},
        }

    one = Flow(directory, spec(1)).start()
    try:
        for processes, name in ((2, "1 -> 2"), (1, "2 -> 1")):
            _more(one)
            began = time.monotonic()
            one.stop()
            one.change(spec(processes))
            one.start()
            _more(one)
            pause = time.monotonic() - began
            yield Figure(f"from the request to stop to the first window, {name} processes", pause, "s", "< 3")
        one.stop()
        one.change(spec(2))
        one.start()
        _more(one)
        began = time.monotonic()
        os.kill(_pids(one)[1], signal.SIGSTOP)
        assert one.process is not None
        one.process.wait(60)
        seen = time.monotonic() - began
        yield Figure("a frozen process is seen, and the group ended", seen, "s", "< 5")
        one.start()
        _more(one)
        yield Figure("from there to the first window", time.monotonic() - began - seen, "s")
        wrong = [row for row in one.lines("out.ndjson")[:-50] if row["n"] != 80]
        yield Figure("windows that are not exact after all that", len(wrong), "", "0")
    finally:
        one.close()


def _more(one: Flow) -> None:
    """Wait for one more result."""
    path = one.directory / "out.ndjson"
    before = path.stat().st_size if path.exists() else 0
    until(lambda: path.exists() and path.stat().st_size > before, "a result")
