"""Exactly once, whatever ends the process: kill -9 at random moments, SIGTERM, a disk that is taken away."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from streamsd.flow.checks import allow_reset
from tests.e2e.flow import brokers
from tests.e2e.flow.processes import until
from tests.programs_needed import need_bytewax, need_module

pytestmark = pytest.mark.usefixtures("each_driver")

SCHEMA = {"key": "str", "value": "int", "ts": "time_ms"}
WINDOW = {
    "tumbling": "1s",
    "key": "key",
    "time": "ts",
    "emit": {"n": "count()", "total": "sum(value)", "high": "max(value)"},
}


def write_input(path: Path, count: int, seed: int) -> list[dict[str, Any]]:
    """Messages out of order by up to 300 ms, some of them twice."""
    rnd = random.Random(seed)
    rows = []
    for place in range(count):
        rows.append(
            {"key": f"k{rnd.randrange(40)}", "value": rnd.randrange(1000), "ts": place * 3 + rnd.randrange(300)}
        )
        if rnd.random() < 0.02:
            rows.append(rows[-1])
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows


def windows(rows: list[dict[str, Any]], lateness: int) -> tuple[dict[tuple[str, int], tuple[int, int, int]], int]:
    """The oracle: one message at a time."""
    held: dict[tuple[str, int], list[int]] = defaultdict(list)
    newest, late = -1, 0
    for row in rows:
        newest = max(newest, row["ts"])
        start = row["ts"] // 1000 * 1000
        if start + 1000 + lateness <= newest:
            late += 1
        else:
            held[(row["key"], start)].append(row["value"])
    return {window: (len(values), sum(values), max(values)) for window, values in held.items()}, late


def found(rows: list[dict[str, Any]]) -> dict[tuple[str, int], tuple[int, int, int]]:
    made = {(row["key"], row["window_start"]): (row["n"], row["total"], row["high"]) for row in rows}
    assert len(made) == len(rows), "a window came twice"
    return made


def run_with_kills(flow: Any, tmp_path: Path, times: int, seed: int, url: str) -> None:
    """Kill -9 at random moments of the whole input: in start, in an epoch, between an epoch's parts, after the end."""
    (tmp_path / "flow").mkdir()
    count = 600 * max(times, 25)
    rows = write_input(tmp_path / "flow/in.ndjson", count, seed)
    exact = {"delivery": "exactly_once"}
    one = flow(
        {
            "source": {"file": {"path": "in.ndjson"}, "limit": {"messages": 3000 if times > 10 else 9000}},
            "schema": SCHEMA,
            "steps": [{"window": {**WINDOW, "lateness": "100ms"}}],
            "sinks": {
                "windows": {"file": {"path": "out.ndjson"}, **exact},
                "copy": {"file": {"path": "copy.ndjson"}, "when": "n > 0", **exact},
                "table": {"postgres": {"url": url, "table": "windows"}, **exact},
                "newest": {"postgres": {"url": url, "table": "newest", "key": ["key", "window_start"]}, **exact},
            },
            "recovery": {"epoch": "150ms"},
        }
    )
    rnd = random.Random(seed)
    early = 0
    for _ in range(times):
        one.start()
        if rnd.random() < 0.1:
            time.sleep(rnd.random())  # somewhere in its start
        else:
            goal = rnd.randrange(20, 2 * count // times)
            one.until(
                lambda seen, goal=goal: (
                    seen.get("complete") or seen.get("sources", {}).get("in", {}).get("messages", 0) > goal
                ),
                "progress",
            )
        early += not one.observed().get("complete")
        one.kill()
    assert early >= times // 2, "the kills came after the end"
    one.start()
    one.complete()
    assert one.stop() == 0
    wanted, _ = windows(rows, 100)
    for name in ("out.ndjson", "copy.ndjson"):
        assert found(one.lines(name)) == wanted
    assert one.lines("state/dead.ndjson") == []
    import psycopg
    from psycopg.rows import dict_row

    with psycopg.connect(url, row_factory=dict_row) as database:
        for table in ("windows", "newest"):
            assert found(database.execute(f"select * from {table}").fetchall()) == wanted


@pytest.fixture
def database(tmp_path: Path) -> Iterator[str]:
    need_module("psycopg")
    with brokers.postgres(tmp_path) as (_, url):
        yield url


def test_killed_at_random_moments_every_window_is_written_once(flow, tmp_path, database):
    run_with_kills(flow, tmp_path, 5, 11, database)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_at_fifty_random_moments_every_window_is_written_once(flow, tmp_path, database):
    run_with_kills(flow, tmp_path, 50, int(os.environ.get("STREAMSD_SEED", "12")), database)


def test_batches_hold_each_message_once_through_a_kill(flow, tmp_path):
    (tmp_path / "flow").mkdir()
    count = 6000
    (tmp_path / "flow/in.ndjson").write_text("".join(json.dumps({"i": i}) + "\n" for i in range(count)))
    one = flow(
        {
            "source": {"file": {"path": "in.ndjson"}, "limit": {"messages": 5000}},
            "schema": {"i": "int"},
            "steps": [{"batch": {"count": 70, "time": "10s"}}],
            "sink": {"file": {"path": "out.ndjson"}, "delivery": "exactly_once"},
            "recovery": {"epoch": "150ms"},
        }
    ).start()
    one.until(lambda seen: seen.get("sources", {}).get("in", {}).get("messages", 0) > 2000, "progress")
    one.kill()
    one.start()
    one.complete()
    rows = one.lines("out.ndjson")
    assert [len(row["items"]) for row in rows] == [70] * (count // 70) + [count % 70]
    assert [item["i"] for row in rows for item in row["items"]] == list(range(count))


def in_order(items: list[dict[str, Any]]) -> bool:
    """Whether the windows of each key come one after the other."""
    newest: dict[str, int] = {}
    for item in items:
        if newest.get(item["key"], -1) >= item["window_start"]:
            return False
        newest[item["key"]] = item["window_start"]
    return True


def test_batches_behind_a_window_hold_each_result_once_through_kills(flow, tmp_path):
    (tmp_path / "flow").mkdir()
    rows = write_input(tmp_path / "flow/in.ndjson", 30_000, 7)
    exact = {"delivery": "exactly_once"}
    one = flow(
        {
            "source": {"file": {"path": "in.ndjson"}, "limit": {"messages": 8000}},
            "schema": SCHEMA,
            "steps": [
                {"window": {**WINDOW, "lateness": "100ms"}},
                {"batch": {"count": 47, "time": "700ms"}},
                {"set": {"length": "len(items)"}},
            ],
            "sinks": {
                "all": {"file": {"path": "out.ndjson"}, **exact},
                "full": {"file": {"path": "full.ndjson"}, "when": "length == 47", **exact},
            },
            "recovery": {"epoch": "100ms"},
        }
    )
    rnd = random.Random(7)
    for _ in range(6):
        one.start()
        goal = rnd.randrange(500, 7000)
        one.until(lambda seen, goal=goal: seen["sources"]["in"]["messages"] > goal or seen.get("complete"), "progress")
        one.kill()
    one.start()
    one.complete()
    assert one.stop() == 0
    batches = one.lines("out.ndjson")
    assert all(row["length"] == len(row["items"]) <= 47 for row in batches)
    items = [item for row in batches for item in row["items"]]
    assert found(items) == windows(rows, 100)[0]
    assert in_order(items)
    assert one.lines("full.ndjson") == [row for row in batches if row["length"] == 47]


def test_batches_behind_a_window_are_sent_when_their_time_comes_and_not_again_after_a_stop(flow, tmp_path):
    got: list[Any] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.extend(json.loads(line) for line in self.rfile.read(int(self.headers["content-length"])).splitlines())
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    source = tmp_path / "flow/in.ndjson"
    source.parent.mkdir()
    source.touch()
    one = flow(
        {
            "source": {"file": {"path": "in.ndjson", "follow": True}},
            "schema": SCHEMA,
            "steps": [{"window": WINDOW}, {"batch": {"count": 1000, "time": "450ms"}}],
            "sink": {"http": {"url": f"http://127.0.0.1:{server.server_port}/", "batch": 1}},
            "recovery": {"epoch": "400ms"},
        }
    )
    rnd = random.Random(3)
    try:
        for turn in range(8):
            one.start()
            one.until(lambda seen: seen["epochs"] >= 1, "a start")
            with source.open("a") as out:
                for key in range(20):
                    out.write(json.dumps({"key": f"k{key}", "value": turn, "ts": turn * 1000}) + "\n")
            # A stop around the moment when the batch of the window before is sent.
            wanted = 20 * turn
            one.until(lambda seen: seen["sources"]["in"]["messages"] >= 20, "the messages")
            time.sleep(0.3 + rnd.random() * 0.5)
            assert one.stop() == 0
        one.start()
        one.until(lambda seen: seen["epochs"] >= 1, "a start")
        until(lambda: sum(len(row["items"]) for row in got) >= wanted, "the last batch, by its time alone")
        assert one.stop() == 0
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    items = [item for row in got for item in row["items"]]
    assert len(found(items)) == wanted
    assert in_order(items)


def test_sigterm_stores_what_is_under_way(flow, tmp_path):
    (tmp_path / "flow").mkdir()
    rows = write_input(tmp_path / "flow/in.ndjson", 20_000, 5)
    one = flow(
        {
            "source": {"file": {"path": "in.ndjson"}, "limit": {"messages": 9000}},
            "schema": SCHEMA,
            "steps": [{"window": WINDOW}],
            "sink": {"file": {"path": "out.ndjson"}},
            "recovery": {"epoch": "300ms"},
        }
    ).start()
    one.until(lambda seen: seen.get("sources", {}).get("in", {}).get("messages", 0) > 3000, "progress")
    assert one.stop() == 0
    taken = one.lines("out.ndjson")
    one.start()
    one.complete()
    wanted, late = windows(rows, 0)
    assert found(one.lines("out.ndjson")) == wanted
    assert one.lines("out.ndjson")[: len(taken)] == taken, "nothing that was written is written again"
    assert one.observed()["late"] == late, "the count of late messages outlives a restart"


def test_a_followed_file_is_read_on_through_rotation_and_a_restart(flow, tmp_path):
    (tmp_path / "flow").mkdir()
    path = tmp_path / "flow/in.ndjson"
    path.write_text('{"i": 0}\n{"i": 1}\n{"i"')
    one = flow(
        {
            "source": {"file": {"path": "in.ndjson", "follow": True}},
            "sink": {"file": {"path": "out.ndjson"}},
            "recovery": {"epoch": "100ms"},
        }
    ).start()

    def seen(count: int) -> None:
        until(lambda: len(one.lines("out.ndjson")) >= count, f"{count} results\n{one.log()}")

    seen(2)
    with path.open("a") as more:
        more.write(': 2}\n{"i": 3}\n')
    seen(4)
    one.kill()
    with path.open("a") as more:
        more.write('{"i": 4}\n')
    path.rename(path.with_name("in.ndjson.1"))
    path.write_text('{"i": 5}\n')
    one.start()
    seen(6)
    assert one.stop() == 0
    assert [row["i"] for row in one.lines("out.ndjson")] == list(range(6))


def test_state_of_another_shape_is_refused_until_a_new_generation_is_asked_for(flow, tmp_path):
    (tmp_path / "flow").mkdir()
    write_input(tmp_path / "flow/in.ndjson", 2000, 7)
    spec: dict[str, Any] = {
        "source": {"file": {"path": "in.ndjson"}},
        "schema": SCHEMA,
        "steps": [{"window": WINDOW}],
        "sink": {"file": {"path": "out.ndjson"}},
        "recovery": {"epoch": "100ms"},
    }
    one = flow(spec).start()
    one.complete()
    assert one.stop() == 0
    wider = {**spec, "steps": [{"window": {**WINDOW, "tumbling": "2s"}}]}
    one.change(wider)
    one.start()
    until(lambda: one.report() and one.report().reason == "StateMismatch", "a report that says so")
    assert "recovery.generation 2" in one.report().message
    assert one.report().ready is False
    assert one.stop() == 2
    allow_reset(one.directory / "state/generation-1")
    one.change({**wider, "sink": {"file": {"path": "reset.ndjson"}}})
    one.start()
    one.complete()
    assert one.stop() == 0
    assert {row["window_end"] - row["window_start"] for row in one.lines("reset.ndjson")} == {2000}
    one.change({**spec, "steps": [{"window": {**WINDOW, "tumbling": "3s"}}]})
    one.start()
    until(lambda: one.report() and one.report().reason == "StateMismatch", "what was let go was that state alone")
    assert one.stop() == 2
    one.change({**wider, "recovery": {"epoch": "100ms", "generation": 2}, "sink": {"file": {"path": "new.ndjson"}}})
    one.start()
    one.complete()
    assert {row["window_end"] - row["window_start"] for row in one.lines("new.ndjson")} == {2000}


def test_sinks_and_steps_with_memory_can_be_added_and_sinks_taken_away(flow):
    spec: dict[str, Any] = {
        "source": {"generator": {"fields": {"i": "n", "ts": "n * 100"}, "rate": 2000}},
        "schema": {"i": "int", "ts": "time_ms"},
        "sinks": {"a": {"file": {"path": "a"}}, "b": {"file": {"path": "b"}}},
        "recovery": {"epoch": "100ms"},
    }
    one = flow(spec).start()
    one.until(lambda seen: seen["sinks"]["b"]["results"] > 300, "results")
    assert one.stop() == 0
    count = len(one.lines("a"))
    window = {"tumbling": "1s", "time": "ts", "emit": {"n": "count()", "i": "last(i)"}}
    one.change(
        {**spec, "steps": [{"window": window}], "sinks": {"a": {"file": {"path": "a"}}, "c": {"file": {"path": "c"}}}}
    )
    one.start()
    until(lambda: len(one.lines("c")) > 5, "windows")
    assert one.stop() == 0
    rows = one.lines("a")
    assert [row["i"] for row in rows[:count]] == list(range(count))
    assert rows[count + 1]["n"] == 10, "the windows go on where the messages had come to"
    assert rows[count]["i"] == (count + 9) // 10 * 10 - 1 or rows[count]["i"] == count // 10 * 10 + 9


def test_every_bad_message_is_a_dead_letter_with_its_bytes(flow, tmp_path):
    (tmp_path / "flow").mkdir()
    bad = [
        b"{",
        b'{"key": 1, "value": 1, "ts": 1}',
        b'{"key": "a", "ts": 1}',
        b"\xff\xfe",
        b'{"key": "a", "value": 0, "ts": 1}',
        b"x" * 3000,
    ]
    good = b'{"key": "a", "value": 5, "ts": 1}'
    (tmp_path / "flow/in.ndjson").write_bytes(b"\n".join([good, *bad, good]) + b"\n")
    one = flow(
        {
            "source": {"file": {"path": "in.ndjson"}, "max_message": 1000},
            "schema": SCHEMA,
            "steps": [{"set": {"ratio": "100 / value"}}],
            "sink": {"file": {"path": "out.ndjson"}},
        }
    ).start()
    observed = one.complete()
    assert one.stop() == 0
    letters = one.lines("state/dead.ndjson")
    assert Counter(letter["reason"] for letter in letters) == {
        "malformed": 2,
        "wrong-type": 1,
        "missing-field": 1,
        "division-by-zero": 1,
        "too-long": 1,
    }
    assert observed["dead"] == len(bad)
    assert {letter.get("raw") for letter in letters} >= {bad[0].decode(), bad[1].decode(), bad[4].decode()}
    assert len(one.lines("out.ndjson")) == 2


def test_so_many_keys_that_their_state_is_journalled_are_exact_after_kills(flow: Any) -> None:
    """80,000 keys in one window, then the same in a second: killed while the first fills and while it is being said."""
    keys = 80_000
    one = flow(
        {
            "source": {
                "generator": {
                    "fields": {"key": f"str(n % {keys})", "value": "n % 7", "ts": f"n // {2 * keys} * 3600000"},
                    "count": 4 * keys,
                }
            },
            "schema": SCHEMA,
            "steps": [{"window": {**WINDOW, "tumbling": "1h"}}],
            "sink": {"file": {"path": "out.ndjson"}},
            "recovery": {"epoch": "200ms"},
        }
    ).start()
    until(lambda: list(one.directory.glob("state/generation-*/shards/*.journal")), "a journal")
    one.kill()
    one.start()
    one.until(lambda seen: seen["sinks"]["out"]["results"] > 0, "results of the first window")
    one.kill()
    one.start()
    one.complete()
    assert one.stop() == 0
    rows = one.lines("out.ndjson")
    wanted = {
        (str(key), hour * 3_600_000): (2, sum(n % 7 for n in places), max(n % 7 for n in places))
        for hour in range(2)
        for key in range(keys)
        if (places := (2 * hour * keys + key, (2 * hour + 1) * keys + key))
    }
    assert found(rows) == wanted


@pytest.mark.parametrize("processes", [1, 2])
def test_a_recovery_store_that_was_changed_is_named_and_nothing_is_begun_anew(flow: Any, processes: int) -> None:
    if processes > 1:
        need_bytewax()
    source = {"generator": {"fields": {"key": "n % 5", "ts": "n"}, "rate": 500}}
    one = flow(
        {
            "processes": processes,
            "sources": {"a": source, "b": source},
            "steps": [{"window": {"tumbling": "1s", "key": "key", "emit": {"n": "count()"}}}],
            "sink": {"file": {"path": "out.ndjson"}},
            "recovery": {"epoch": "100ms"},
        }
    ).start()
    one.until(lambda seen: seen["epochs"] >= 3, "epochs")
    assert one.stop() == 0
    (store,) = one.directory.glob("state/generation-*/part-0.sqlite3")
    for beside in store.parent.glob(f"{store.name}-*"):
        beside.unlink()
    store.write_bytes(b"\x07" * 50_000)
    written = one.lines("out.ndjson")
    one.start()
    report = until(lambda: (found := one.report()) and found.reason == "StateDamaged" and found, "a report of it")
    assert "part-0.sqlite3: file is not a database" in report.message
    assert "recovery.generation to 2" in report.message
    assert one.alive(), "to start again would not help"
    assert one.lines("out.ndjson") == written
    assert "Traceback" not in one.log()
    assert one.stop() == 2
