"""Bytewax and the loop of our own: each goes on from what the other stored, and what is stored is on the disk."""

from __future__ import annotations

import pickle
import random
import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.flow.processes import Flow
from tests.e2e.flow.test_recovery import SCHEMA, WINDOW, found, windows, write_input
from tests.programs_needed import need_bytewax

WATCHED = """
import sys
from streamsd.programs.flow import journal
from streamsd.programs.flow.engine import Engine

written, settled, stored = [0], [0], Engine.stored
write, settle = journal.Journal.write, journal.JournalRoom.settle

def writes(self):
    written[0] += 1
    return write(self)

def settles(self):
    settle(self)
    settled[0] = written[0]

def stores(self):
    told = f"settled {settled[0]} of {written[0]}" if written[0] else "no journal"
    print(told if settled[0] == written[0] else f"too soon: {told}", flush=True)
    return stored(self)

journal.Journal.write, journal.JournalRoom.settle, Engine.stored = writes, settles, stores
sys.argv = ["flow", *sys.argv[4:]]
from streamsd.programs.flow.start import main
main()
"""
"""The flow's program, which says at each stored epoch whether what its shards wrote was waited for."""


@pytest.mark.parametrize("behind", [[], [{"batch": {"count": 7, "time": "1s"}}]], ids=["windows", "batches of them"])
def test_each_driver_goes_on_from_what_the_other_stored(flow: Any, tmp_path: Path, behind: list[Any]) -> None:
    need_bytewax()
    (tmp_path / "flow").mkdir()
    rows = write_input(tmp_path / "flow/in.ndjson", 15_000, 5)
    one = flow(
        {
            "source": {"file": {"path": "in.ndjson"}, "limit": {"messages": 6000}},
            "schema": SCHEMA,
            "steps": [{"window": {**WINDOW, "lateness": "100ms"}}, *behind],
            "sink": {"file": {"path": "out.ndjson"}, "delivery": "exactly_once"},
            "recovery": {"epoch": "100ms"},
        }
    )
    rnd = random.Random(5)
    goal = 0
    for turn in range(6):
        one.own_loop = bool(turn % 2)
        goal += rnd.randrange(500, 2500)
        one.start()
        one.until(lambda seen, goal=goal: 40 * len(results(one)) > goal or seen.get("complete"), "progress")
        one.kill()
    one.own_loop = True
    one.start()
    one.complete()
    assert one.stop() == 0
    assert found(results(one)) == windows(rows, 100)[0]


def results(one: Flow) -> list[dict[str, Any]]:
    """Those that it wrote: messages are counted anew with each start."""
    return [item for row in one.lines("out.ndjson") for item in row.get("items", [row])]


@pytest.mark.usefixtures("each_driver")
def test_a_state_that_a_crash_left_beside_the_stored_ones_is_never_gone_on_from(flow: Any, tmp_path: Path) -> None:
    """Of an epoch that was not whole: the next run does not touch its key, the one after must not take it either."""
    (tmp_path / "flow").mkdir()
    source = tmp_path / "flow/in.ndjson"
    source.write_text("".join(f'{{"key":"k{i % 50}","value":1,"ts":{i}}}\n' for i in range(5000)))
    one = flow(
        {
            "source": {"file": {"path": "in.ndjson", "follow": True}},
            "schema": SCHEMA,
            "steps": [{"window": {**WINDOW, "tumbling": "10s"}}],
            "sink": {"file": {"path": "out.ndjson"}},
            "recovery": {"epoch": "100ms"},
        }
    ).start()
    one.until(lambda seen: seen["sources"]["in"]["messages"] == 5000, "all")
    assert one.stop() == 0
    (store,) = one.directory.glob("state/generation-*/part-0.sqlite3")
    database = sqlite3.connect(store, isolation_level=None)
    (epoch,) = database.execute("SELECT max(worker_frontier) FROM fronts").fetchone()
    insert = "INSERT INTO snaps (step_id, state_key, snap_epoch, ser_change) VALUES (?, ?, ?, ?)"
    database.execute(insert, ("flow.sinks", "sink out", epoch, pickle.dumps((1, 10**9, 0.0))))
    for shard in range(64):
        database.execute(insert, ("flow.shards", str(shard), epoch, pickle.dumps((shard, 0, b"not a state"))))
    database.close()
    one.start()
    one.until(lambda seen: seen["epochs"] >= 3, "epochs")
    one.kill()
    one.start()
    one.until(lambda seen: seen["epochs"] >= 2, "a start from what was stored")
    with source.open("a") as file:
        file.write('{"key":"k0","value":1,"ts":20000}\n')
    one.until(lambda seen: seen["sinks"]["out"]["results"] == 50, "the window")
    assert one.stop() == 0
    assert {row["key"]: row["n"] for row in one.lines("out.ndjson")} == {f"k{i}": 100 for i in range(50)}


@pytest.mark.usefixtures("each_driver")
def test_journals_are_on_the_disk_when_an_epoch_is_stored_also_while_there_are_no_results(
    flow: Any, tmp_path: Path
) -> None:
    """After a power cut the stored states name journals that have to be there."""
    script = tmp_path / "watched.py"
    script.write_text(WATCHED)
    one = flow(
        {
            "source": {
                "generator": {"fields": {"key": "str(n % 80000)", "value": "n % 7", "ts": "n"}, "rate": 100_000}
            },
            "schema": SCHEMA,
            "steps": [{"window": {**WINDOW, "tumbling": "10h"}}],
            "sink": {"file": {"path": "out.ndjson"}},
            "recovery": {"epoch": "200ms"},
        }
    )
    one.start(sys.executable, str(script))
    one.until(lambda seen: one.log().count("settled") >= 8, "epochs with journals")
    assert one.stop() == 0
    assert "too soon" not in one.log()
    assert one.lines("out.ndjson") == []
