"""A disk that is full, or may not be written to: it is told, tried again, and nothing is missing once there is room."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamsd.core.report import Report, read_report
from tests.e2e.flow.processes import Flow, until
from tests.e2e.host import Host
from tests.programs_needed import need_bytewax, need_module

FAST = {"epoch": "100ms"}
EMIT = {"n": "count()", "total": "sum(i)"}
COUNT = 12_000

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk: needs root")


class Disk:
    """A small disk of its own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir(parents=True)
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(place)]
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("this machine lets nobody mount")

    def change(self, options: str) -> None:
        """Mount it anew: `ro`, `rw,size=64m`."""
        subprocess.run(["mount", "-o", f"remount,{options}", str(self.place)], check=True)

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.place)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk")
    yield made
    made.close()


def told(one: Flow, *words: str) -> str:
    """The reason of a report whose message has all these words."""

    def found() -> str:
        report = one.report()
        good = report is not None and all(word in report.message.lower() for word in words)
        return report.reason if report is not None and good else ""

    try:
        return until(found, f"a report of {words}")
    except AssertionError as fault:
        raise AssertionError(f"{fault}: {one.report()}\n{one.log()[-3000:]}") from None


def report(host: Host) -> Report:
    """What the flow `counts` of a daemon reports."""
    found = read_report(host.settings.run_dir / "r/Flow.counts/report.json")
    assert found is not None
    return found


def numbers_of(kind: str, place: Path) -> list[int]:
    match kind:
        case "file":
            return [json.loads(line)["i"] for line in (place / "out.ndjson").read_text().splitlines()]
        case "parquet":
            import pyarrow.parquet as pq

            files = sorted(place.glob("out-*.parquet"))
            return [i for file in files for i in pq.read_table(file).column("i").to_pylist()]
        case _:
            with sqlite3.connect(place / "out.db") as database:
                return [i for (i,) in database.execute("SELECT i FROM t ORDER BY streamsd_seq")]


@pytest.mark.parametrize(
    "kind", [pytest.param("file", marks=pytest.mark.slow), "parquet", pytest.param("sqlite", marks=pytest.mark.slow)]
)
def test_a_sink_waits_for_room_and_has_each_row_once(flow, disk: Disk, kind: str) -> None:
    if kind == "parquet":
        need_module("pyarrow")
    sinks = {
        "file": {"file": {"path": "../disk/out.ndjson"}},
        "parquet": {"file": {"path": "../disk/out.parquet", "rotate": "300k"}, "format": "parquet"},
        "sqlite": {"sqlite": {"path": "../disk/out.db", "table": "t"}},
    }
    one = flow(
        {
            "source": {"generator": {"fields": {"i": "n"}, "count": COUNT}},
            "schema": {"i": "int"},
            # Nothing that packs well.
            "steps": [{"set": {"pad": "sha256(str(i)) + sha256(str(i + 1)) + sha256(str(i + 2))"}}],
            "sink": {**sinks[kind], "delivery": "exactly_once"},
            "recovery": FAST,
        }
    )
    disk.change("ro")
    one.start()
    assert told(one, "open database" if kind == "sqlite" else "read-only") == "SinkUnreachable"
    disk.change("rw")
    assert told(one, "full" if kind == "sqlite" else "no space") == "SinkUnreachable"
    if kind == "parquet":
        modes = {file.name: file.stat().st_mode & 0o777 for file in disk.place.glob(".out-*.arrows")}
        assert set(modes.values()) == {0o600}, modes
    one.kill()
    one.start()
    assert told(one, "full" if kind == "sqlite" else "no space") == "SinkUnreachable"
    disk.change("size=64m")
    one.complete()
    until(lambda: not one.report().degraded, "a report that all is well")
    assert one.stop() == 0
    assert numbers_of(kind, disk.place) == list(range(COUNT))


def counting(processes: int, count: int, keys: int) -> dict[str, Any]:
    """Each process' source counts to `count`; a window adds up by key."""
    source = {
        "generator": {"fields": {"i": "n", "k": f"n % {keys}"}, "count": count, "rate": 20_000},
        "schema": {"i": "int", "k": "int"},
    }
    return {
        "processes": processes,
        "sources": {"ab"[number]: source for number in range(processes)},
        # By a time of its own: the hour may end while the test runs.
        "steps": [{"window": {"tumbling": "1h", "key": "k", "time": "time(i / 20000)", "emit": EMIT}}],
        "sink": {"file": {"path": "out.ndjson"}, "delivery": "exactly_once"},
        "recovery": FAST,
    }


def exact(rows: list[dict[str, Any]], processes: int, count: int, keys: int) -> bool:
    """Whether each window is there once, and is what all sources came to."""
    found = {row["k"]: (row["n"], row["total"]) for row in rows}
    wanted = {k: (processes * (count // keys), processes * sum(range(k, count, keys))) for k in range(keys)}
    return len(rows) == len(found) and found == wanted


@pytest.mark.parametrize("processes", [1, 2])
def test_a_flow_whose_state_finds_no_room_says_so_and_goes_on_from_what_was_stored(
    flow, disk: Disk, processes: int
) -> None:
    count, keys = 40_000, 8000
    one = flow(counting(processes, count, keys))
    (one.directory / "state").symlink_to(disk.place)
    disk.change("ro")
    one.start()
    assert told(one, "read-only file system") == "StateUnwritable"
    assert one.alive(), "it waits"
    disk.change("rw,size=1m")
    # Whoever supervises it starts it again.
    until(lambda: not one.alive(), "it ends, to be started again")
    one.start()
    assert told(one, "no space left") == "StateUnwritable"
    assert one.alive(), "it waits"
    beat = one.report().beat
    until(lambda: one.report().beat > beat + 2, "and tells so")
    disk.change("size=256m")
    until(lambda: not one.alive(), "it ends, to be started again")
    one.start()
    one.complete()
    assert one.stop() == 0
    assert exact(one.lines("out.ndjson"), processes, count, keys)


def test_a_group_that_waits_for_room_ends_with_sigterm(flow, disk: Disk) -> None:
    one = flow(counting(2, 40_000, 8000))
    (one.directory / "state").symlink_to(disk.place)
    one.start()
    assert told(one, "no space left") == "StateUnwritable"
    assert "does not answer" in one.ask(do="patch", live={"steps": [], "sources": {}, "sinks": {}})["error"]
    one.stop()
    assert not list(disk.place.glob(".room")), "what it tried is gone"


def test_the_daemon_does_not_start_a_group_again_and_again_that_waits_for_room(host: Host) -> None:
    need_bytewax()
    count, keys = 40_000, 8000
    fields = f"{{i: n, k: n % {keys}}}"
    source = f"{{generator: {{fields: {fields}, count: {count}, rate: 20000}}, schema: {{i: int, k: int}}}}"
    with contextlib.closing(Disk(host.settings.state_dir / "r/Flow.counts")) as disk:
        host.write(
            f"""
            version: 1
            flows:
              counts:
                processes: 2
                sources: {{a: {source}, b: {source}}}
                steps:
                  - window:
                      {{tumbling: 1h, key: k, time: time(i / 20000), emit: {{n: count(), total: sum(i)}}}}
                sink: {{file: {{path: out.ndjson}}, delivery: exactly_once}}
                recovery: {{epoch: 100ms}}
            """
        )
        host.up("--no-watch")
        host.until(lambda: host.condition("Flow/counts", "Ready")["reason"] == "StateUnwritable", "what is wrong")
        first = host.pid("Flow/counts/runner")
        beat = report(host).beat
        host.until(lambda: report(host).beat > beat + 8, "it waits in place")
        assert host.pid("Flow/counts/runner") == first
        disk.change("size=256m")
        host.until(lambda: host.resource("Flow/counts")["observed"].get("complete"), "it goes on by itself")
        assert host.pid("Flow/counts/runner") != first
        (process,) = host.resource("Flow/counts")["processes"]
        assert process["restarts"] == 1
        rows = [json.loads(line) for line in (host.directory / "out.ndjson").read_text().splitlines()]
        assert exact(rows, 2, count, keys)
        assert host.cli("down").returncode == 0
