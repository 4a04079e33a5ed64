"""Live changes: at a boundary of two batches, without losing or doubling a message."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.e2e.flow.processes import until

pytestmark = pytest.mark.usefixtures("each_driver")

BASE = {
    "source": {"generator": {"fields": {"i": "n", "v": "n % 10"}, "rate": 5000}},
    "schema": {"i": "int", "v": "int"},
    "steps": [{"set": {"side": "'old'"}}],
    "sink": {"file": {"path": "out.ndjson"}},
    "recovery": {"epoch": "100ms"},
}


def test_steps_change_live_and_no_message_is_lost(flow):
    one = flow(BASE).start()
    one.until(lambda seen: seen.get("sources", {}).get("in", {}).get("messages", 0) > 1000, "messages")
    pid = one.process.pid
    for side in ("new", "newer"):
        answer = one.ask(
            do="patch",
            live={"steps": [{"set": {"side": f"'{side}'"}}], "sources": {"in": {}}, "sinks": {"out": {}}},
        )
        assert answer.get("ok"), answer
        assert one.observed()["live"] == answer["live"]
        before = one.observed()["sources"]["in"]["messages"]
        one.until(lambda seen, before=before: seen["sources"]["in"]["messages"] > before + 500, "more messages")
    assert one.process.pid == pid
    assert one.stop() == 0
    rows = one.lines("out.ndjson")
    assert [row["i"] for row in rows] == list(range(len(rows)))
    assert list(dict.fromkeys(row["side"] for row in rows)) == ["old", "new", "newer"]


def test_a_live_change_that_is_wrong_or_touches_state_is_refused_and_the_flow_goes_on(flow):
    window = {"window": {"tumbling": "1s", "key": "v", "emit": {"n": "count()"}}}
    one = flow({**BASE, "steps": [window]}).start().ready()
    wrong = one.ask(do="patch", live={"steps": [{"filter": "nope > 1"}, window], "sources": {}, "sinks": {}})
    assert "unknown field 'nope'" in wrong["error"]
    wider = {"window": {**window["window"], "tumbling": "2s"}}
    shape = one.ask(do="patch", live={"steps": [wider], "sources": {}, "sinks": {}})
    assert "restart" in shape["error"]
    fine = one.ask(
        do="patch", live={"steps": [{"filter": "v < 5"}, window], "sources": {}, "sinks": {"out": {"when": "n > 0"}}}
    )
    assert fine.get("ok"), fine
    until(lambda: one.lines("out.ndjson"), "results")
    assert one.stop() == 0


def test_a_rate_limit_changes_live(flow):
    spec = {**BASE, "source": {"generator": {"fields": {"i": "n", "v": "n % 10"}}, "limit": {"messages": 100}}}
    one = flow(spec).start()
    one.until(lambda seen: 20 < seen.get("sources", {}).get("in", {}).get("messages", 0) < 2000, "a slow trickle")
    answer = one.ask(do="patch", live={"steps": [], "sources": {"in": {}}, "sinks": {}})
    assert answer.get("ok"), answer
    one.until(lambda seen: seen["sources"]["in"]["messages"] > 20_000, "messages without a limit")
    assert one.stop() == 0


def test_a_table_is_read_again_when_it_changes(flow, tmp_path):
    (tmp_path / "flow").mkdir()
    table = tmp_path / "flow/rooms.csv"
    table.write_text("v,name\n" + "".join(f"{v},old-{v}\n" for v in range(10)))
    enrich = {"table": {"file": "rooms.csv"}, "on": "str(v)", "key": "v", "fields": {"name": "str"}}
    one = flow({**BASE, "steps": [{"enrich": enrich}]}).start()
    until(lambda: one.lines("out.ndjson"), "results")
    table.write_text("v,name\n" + "".join(f"{v},new-{v}\n" for v in range(10)))
    until(lambda: any(row["name"].startswith("new") for row in one.lines("out.ndjson")[-50:]), "the new table")
    table.write_text("broken\n")
    one.until(lambda seen: one.report() and one.report().reason == "TableUnreadable", "a report that says so")
    assert one.report().degraded
    assert one.report().ready
    table.write_text("v,name\n" + "".join(f"{v},fine-{v}\n" for v in range(10)))
    one.until(lambda seen: one.report() and not one.report().degraded, "a table again")
    away = table.rename(table.with_suffix(".away"))
    one.until(lambda seen: one.report() and "No such file" in one.report().message, "a report that it is gone")
    away.rename(table)
    one.until(lambda seen: one.report() and not one.report().degraded, "the same file again")
    assert one.stop() == 0
    assert one.lines("state/dead.ndjson") == []


def test_a_tap_shows_what_leaves_a_step_and_its_rate_and_no_message_is_lost(flow):
    steps = [
        {"filter": "v < 5"},
        {"sample": {"every": 2}},
        {"set": {"side": "'old'"}},
        {"window": {"tumbling": "100ms", "time": "time(i / 5000)", "emit": {"n": "count()", "odd": "sum(i % 2)"}}},
        {"set": {"even": "n - odd"}},
    ]
    source = {"generator": {"fields": {"i": "n", "v": "n % 10"}, "rate": 5000, "count": 10_000_000}}
    one = flow({**BASE, "source": source, "steps": steps}).start().ready()
    left = one.until(lambda seen: seen["sources"]["in"].get("time_left"), "how long it still takes")
    assert left > 0
    seen = {
        place: one.ask(do="tap", place=place, count=4, seconds=30)
        for place in ("source in", "step 1", "step 3", "step 5", "sink out")
    }
    assert all(len(answer["rows"]) == 4 and answer["rate"] > 0 for answer in seen.values()), seen
    assert [set(answer["rows"][0]) for answer in seen.values()] == [
        {"i", "v"},
        {"i", "v"},
        {"i", "v", "side"},
        {"window_start", "window_end", "n", "odd", "even"},
        {"window_start", "window_end", "n", "odd", "even"},
    ]
    assert all(row["v"] < 5 for row in seen["step 1"]["rows"])
    assert all(row["even"] == row["n"] - row["odd"] for row in seen["step 5"]["rows"])
    results = one.ask(do="tap", count=2, seconds=30)
    assert len(results["rows"]) == 2
    assert "did you mean 'step 3'" in one.ask(do="tap", place="stp 3")["error"]
    one.until(lambda seen: seen["sinks"]["out"]["results"] > 10, "windows")
    assert one.stop() == 0
    # Each 500 are a window: half of them passed the filter, and of these each second one.
    rows = one.lines("out.ndjson")
    assert {row["n"] for row in rows} == {125}
    starts = sorted(datetime.fromisoformat(row["window_start"]).timestamp() for row in rows)
    assert [round(start * 10) for start in starts] == list(range(len(rows)))
    assert len(rows) > 10


def test_a_live_change_that_was_refused_for_its_time_is_not_taken_later(flow, tmp_path):
    steps = [{"custom": {"file": "mine.py", "function": "waits"}}, {"set": {"side": "'old'"}}]
    one = flow({**BASE, "steps": steps})
    (one.directory / "mine.py").write_text(
        "import pathlib, time\n"
        "def waits(rows):\n"
        f"    while pathlib.Path({str(tmp_path / 'held')!r}).exists():\n"
        f"        pathlib.Path({str(tmp_path / 'inside')!r}).touch()\n"
        "        time.sleep(0.01)\n"
        "    return rows\n"
    )
    one.start().ready()
    live = one.observed()["live"]
    (tmp_path / "held").touch()
    until((tmp_path / "inside").exists, "a step that does not return")
    wanted = {"steps": [steps[0], {"set": {"side": "'new'"}}], "sources": {"in": {}}, "sinks": {"out": {}}}
    assert "in time" in one.ask(do="patch", live=wanted)["error"]
    held = messages(one)
    (tmp_path / "held").unlink()
    one.until(lambda seen: seen["sources"]["in"]["messages"] > held + 3000, "messages once more")
    assert one.observed()["live"] == live
    later = messages(one)
    answer = one.ask(do="patch", live=wanted)
    assert answer.get("ok"), answer
    changed = messages(one)
    one.until(lambda seen: seen["sources"]["in"]["messages"] > changed + 500, "messages after the change")
    assert one.stop() == 0
    rows = one.lines("out.ndjson")
    assert [row["i"] for row in rows] == list(range(len(rows)))
    assert {row["side"] for row in rows[:later]} == {"old"}, "what was refused was taken"
    assert rows[-1]["side"] == "new", "the change, asked for again"


def messages(one) -> int:
    return int(one.observed()["sources"]["in"]["messages"])
