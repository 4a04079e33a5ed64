"""Files that flows write: Parquet in whole files, and text files that begin anew by size and time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.e2e.flow.processes import until
from tests.programs_needed import need_module


def rows_of(directory: Path) -> list[dict[str, Any]]:
    """Of all finished files, in order. Each of them can be read at any time."""
    import pyarrow.parquet as pq

    return [row for file in sorted(directory.glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


def test_parquet_files_are_whole_and_hold_each_row_once_through_kills(flow, tmp_path: Path):
    need_module("pyarrow")
    here = tmp_path / "flow"
    here.mkdir()
    count = 12_000

    def lines(first: int, end: int) -> str:
        rows = (
            {"i": i, "t": i / 2, "name": f"r{i % 9}", "ts": i, "tags": [i % 3], "note": None} for i in range(first, end)
        )
        return "".join(json.dumps(row) + "\n" for row in rows)

    (here / "in.ndjson").write_text(lines(0, count))
    sink = {"file": {"path": "out/rooms.parquet", "rotate": 60_000}, "format": "parquet", "delivery": "exactly_once"}
    spec = {
        "source": {"file": {"path": "in.ndjson"}, "limit": {"messages": 5000}},
        "schema": {"i": "int", "t": "float", "name": "str", "ts": "time_ms", "tags": "list[int]", "note": "str?"},
        "sink": sink,
        "recovery": {"epoch": "100ms"},
    }
    one = flow(spec)
    for goal in (2000, 3500):
        one.start()
        one.until(
            lambda seen, goal=goal: (
                rows_of(here / "out") is not None
                and (seen.get("complete") or seen.get("sources", {}).get("in", {}).get("messages", 0) > goal)
            ),
            "progress",
        )
        one.kill()
        found = [row["i"] for row in rows_of(here / "out")]
        assert found == list(range(len(found)))
    # A new column begins a new file.
    with (here / "in.ndjson").open("a") as more:
        more.write(lines(count, count + 1000))
    one.change({**spec, "steps": [{"set": {"twice": "i * 2"}}]})
    one.start()
    one.complete()
    assert one.stop() == 0
    found = rows_of(here / "out")
    assert [row["i"] for row in found] == list(range(count + 1000))
    assert len(list((here / "out").glob("*.parquet"))) > 5
    assert {k: v for k, v in found[7].items() if k != "ts"} == {
        "i": 7,
        "t": 3.5,
        "name": "r7",
        "tags": "[1]",
        "note": None,
    }
    assert found[7]["ts"].isoformat() == "1970-01-01T00:00:00.007000+00:00"
    assert "twice" not in found[0]
    assert found[-1]["twice"] == 2 * (count + 999)


def test_a_text_file_begins_anew_by_time_and_keeps_so_many(flow):
    one = flow(
        {
            "source": {"generator": {"fields": {"i": "n"}, "rate": 400}},
            "schema": {"i": "int"},
            "sink": {"file": {"path": "out.csv", "rotate_every": "300ms", "keep": 2}, "format": "csv"},
            "recovery": {"epoch": "100ms"},
        }
    ).start()
    until((one.directory / "out.csv.2").exists, "two old files")
    one.kill()
    one.start()
    one.until(lambda seen: seen["sources"]["in"]["messages"] > 400, "messages after a kill")
    assert one.stop() == 0
    assert not (one.directory / "out.csv.3").exists()
    text = [(one.directory / name).read_text().splitlines() for name in ("out.csv.2", "out.csv.1", "out.csv")]
    assert {lines[0] for lines in text if lines} == {"i"}
    numbers = [int(line) for lines in text for line in lines[1:]]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "each once, in order"
