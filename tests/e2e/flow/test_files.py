"""Files that flows write: Parquet in whole files, and text files that begin anew by size and time."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

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


@pytest.mark.parametrize("kind", ["fifo", "directory", "device"])
def test_what_is_no_file_is_named_and_waited_for(flow, kind: str):
    one = flow({"source": {"file": {"path": "in.ndjson"}}, "sink": {"file": {"path": "out.ndjson"}}})
    path = one.directory / "in.ndjson"
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case _:
            path.symlink_to("/dev/zero")
    one.start()
    until(lambda: (told := one.report()) and told.degraded, f"a word of it\n{one.log()}")
    assert one.report().reason == "SourceUnreachable"
    assert "is not a regular file" in one.report().message
    path.rmdir() if kind == "directory" else path.unlink()
    path.write_text('{"i":1}\n')
    until(lambda: one.lines("out.ndjson") == [{"i": 1}], f"the file, once there is one\n{one.log()}")
    assert one.stop() == 0


@pytest.mark.parametrize("follow", [True, False])
def test_another_file_in_the_place_of_one_that_was_read_is_read_from_its_beginning(flow, follow: bool):
    source = {"file": {"path": "in.ndjson", "follow": follow}}
    one = flow({"source": source, "sink": {"file": {"path": "out.ndjson"}}, "recovery": {"epoch": "100ms"}})
    path = one.directory / "in.ndjson"
    path.write_text("".join(f'{{"i":{i}}}\n' for i in range(100)))
    one.start()
    until(lambda: len(one.lines("out.ndjson")) == 100, f"the first file\n{one.log()}")
    assert one.stop() == 0
    longer = one.directory / "new"
    longer.write_text("".join(f'{{"i":{i}}}\n' for i in range(1000, 1200)))
    longer.rename(path)
    one.start()
    until(lambda: len(one.lines("out.ndjson")) >= 300, f"the second\n{one.log()}")
    assert [row["i"] for row in one.lines("out.ndjson")[100:]] == list(range(1000, 1200))
    assert "file-replaced" in one.log()


@pytest.mark.parametrize("how", ["moved", "removed", "replaced"])
def test_a_file_that_is_taken_away_under_a_sink_is_begun_anew(flow, how: str):
    source = {"file": {"path": "in.ndjson", "follow": True}}
    one = flow({"source": source, "sink": {"file": {"path": "out.ndjson"}}, "recovery": {"epoch": "100ms"}})
    given, taken = one.directory / "in.ndjson", one.directory / "out.ndjson"
    given.write_text('{"i":1}\n')
    one.start()
    until(lambda: one.lines("out.ndjson") == [{"i": 1}], f"the first row\n{one.log()}")
    match how:
        case "moved":
            taken.rename(one.directory / "elsewhere")
        case "removed":
            taken.unlink()
        case _:
            (one.directory / "new").write_text('{"i":0}\n')
            (one.directory / "new").replace(taken)
    with given.open("a") as more:
        more.write('{"i":2}\n')
    wanted = [{"i": 0}, {"i": 2}] if how == "replaced" else [{"i": 2}]
    until(lambda: one.lines("out.ndjson") == wanted, f"the second row in the new file\n{one.log()}")
    assert "file-replaced" in one.log()
    epochs = one.until(lambda seen: seen["epochs"], "an epoch")
    with given.open("a") as more:
        more.write("no message\n")
    one.until(lambda seen: seen["dead"] and seen["epochs"] > epochs + 2, "that it is stored")
    one.kill()
    with given.open("a") as more:
        more.write('{"i":3}\n')
    one.start()
    until(lambda: one.lines("out.ndjson") == [*wanted, {"i": 3}], f"and the third, once, after a kill\n{one.log()}")
    if how == "moved":
        assert one.lines("elsewhere") == [{"i": 1}]
