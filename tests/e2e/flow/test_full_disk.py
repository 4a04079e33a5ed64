"""A disk that is full, or may not be written to: it is told, tried again, and nothing is missing once there is room."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.flow.processes import Flow, until
from tests.programs_needed import need_module

FAST = {"epoch": "100ms"}
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


def test_a_flow_whose_state_finds_no_room_says_so_and_goes_on_from_what_was_stored(flow, disk: Disk) -> None:
    count, keys = 40_000, 8000
    one = flow(
        {
            "source": {"generator": {"fields": {"i": "n", "k": f"n % {keys}"}, "count": count, "rate": 20_000}},
            "schema": {"i": "int", "k": "int"},
            "steps": [{"window": {"tumbling": "1h", "key": "k", "emit": {"n": "count()", "total": "sum(i)"}}}],
            "sink": {"file": {"path": "out.ndjson"}, "delivery": "exactly_once"},
            "recovery": FAST,
        }
    )
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
    disk.change("size=256m")
    until(lambda: not one.alive(), "it ends, to be started again")
    one.start()
    one.complete()
    assert one.stop() == 0
    rows = {row["k"]: (row["n"], row["total"]) for row in one.lines("out.ndjson")}
    assert len(one.lines("out.ndjson")) == len(rows), "a window came twice"
    assert rows == {k: (count // keys, sum(range(k, count, keys))) for k in range(keys)}
