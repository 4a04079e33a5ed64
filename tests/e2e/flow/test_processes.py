"""Flows of several processes: exact windows whatever ends them, other numbers of them, back-pressure, live changes."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.flow.processes import PATIENCE, Flow, until
from tests.e2e.flow.test_recovery import SCHEMA, WINDOW, found, windows, write_input
from tests.programs_needed import need, need_bytewax

Windows = dict[tuple[str, int], tuple[int, int, int]]


def inputs(directory: Path, names: str, count: int, seed: int) -> Windows:
    """A file for each name, and the windows of all of them together."""
    directory.mkdir(exist_ok=True)
    wanted: Windows = {}
    for place, name in enumerate(names):
        rows = write_input(directory / f"{name}.ndjson", count, seed + place)
        made, late = windows(rows, 300)
        assert late == 0
        for window, (n, total, high) in made.items():
            known = wanted.get(window, (0, 0, 0))
            wanted[window] = (known[0] + n, known[1] + total, max(known[2], high))
    return wanted


def spec_of(names: str, processes: int, **more: Any) -> dict[str, Any]:
    return {
        "processes": processes,
        "sources": {
            name: {"file": {"path": f"{name}.ndjson"}, "schema": SCHEMA, "limit": {"messages": 9000}} for name in names
        },
        "steps": [{"window": {**WINDOW, "lateness": "300ms"}}],
        "sinks": {"windows": {"file": {"path": "out.ndjson"}}, "copy": {"file": {"path": "copy.ndjson"}}},
        **more,
    }


def pids(one: Flow) -> list[int]:
    return one.until(lambda seen: [p["pid"] for p in seen["processes"]], "its processes")


def messages(seen: dict[str, Any]) -> int:
    return sum(source["messages"] for source in seen.get("sources", {}).values())


def run_with_interruptions(flow: Any, directory: Path, course: list[tuple[int, str]], count: int, seed: int) -> None:
    """`course`: numbers of processes, and what ends them: a crash of one of them, of all, or SIGTERM."""
    rnd = random.Random(seed)
    wanted = inputs(directory / "flow", "abc", count, seed)
    one: Flow = flow(spec_of("abc", 1))
    share = 3 * count // (len(course) + 1)
    for number, end in course:
        one.change(spec_of("abc", number))
        one.start()
        goal = rnd.randrange(share // 3, share)
        one.until(lambda seen, goal=goal: seen.get("complete") or messages(seen) > goal, "progress")
        match end:
            case "one" if number > 1:
                os.kill(rnd.choice(pids(one)), signal.SIGKILL)
                assert one.process is not None
                assert one.process.wait(PATIENCE) == 1, one.log()
                assert one.report().reason == "ProcessGone"
            case "stop":
                assert one.stop() == 0
            case _:
                one.kill()
    one.start()
    one.complete()
    assert one.stop() == 0, one.log()
    for name in ("out.ndjson", "copy.ndjson"):
        assert found(one.lines(name)) == wanted
    assert one.lines("state/dead.ndjson") == []


def test_windows_are_exact_whatever_ends_the_processes_and_however_many_there_are(flow, tmp_path):
    run_with_interruptions(flow, tmp_path, [(2, "one"), (1, "all"), (3, "stop"), (2, "all")], 8000, seed=3)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [21, 22, 23])
def test_windows_are_exact_through_many_interruptions(flow, tmp_path, seed):
    rnd = random.Random(seed)
    course = [(rnd.randrange(1, 5), rnd.choice(["one", "all", "stop"])) for _ in range(15)]
    run_with_interruptions(flow, tmp_path, course, 40_000, seed)


def test_a_process_that_is_frozen_is_noticed_and_nothing_is_lost(flow, tmp_path):
    wanted = inputs(tmp_path / "flow", "ab", 9000, 5)
    one: Flow = flow(spec_of("ab", 2)).start()
    one.until(lambda seen: messages(seen) > 3000, "progress")
    frozen = pids(one)[1]
    os.kill(frozen, signal.SIGSTOP)
    assert one.process is not None
    assert one.process.wait(PATIENCE) == 1, "the group gave up"
    assert one.report().reason == "GroupStalled"
    assert "process 1 is stopped" in one.report().message
    assert not Path(f"/proc/{frozen}").exists()
    one.start()
    one.complete()
    assert found(one.lines("out.ndjson")) == wanted


@pytest.mark.slow
def test_a_connection_that_is_cut_is_noticed_and_nothing_is_lost(flow, tmp_path):
    for program in ("unshare", "nsenter", "ip"):
        need(program)
    if os.getuid() != 0:
        pytest.skip("a network namespace needs root")
    wanted = inputs(tmp_path / "flow", "ab", 9000, 6)
    one: Flow = flow(spec_of("ab", 2))
    one.start("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
    one.until(lambda seen: messages(seen) > 3000, "progress")
    assert one.process is not None
    cut = ["nsenter", "--target", str(one.process.pid), "--net", "ip", "link", "set", "lo", "down"]
    subprocess.run(cut, check=True)
    assert one.process.wait(PATIENCE) == 1, "the group gave up"
    assert "a connection between them is cut" in one.report().message
    one.start()
    one.complete()
    assert found(one.lines("out.ndjson")) == wanted


class SlowReader:
    """A TCP server that reads when it is told to. A sender that gave up waiting may send a block once more."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.go = threading.Event()
        self.rows: dict[tuple[int, str], int] = {}
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self._read, args=(client,), daemon=True).start()

    def _read(self, client: socket.socket) -> None:
        self.go.wait()
        with client, client.makefile("rb") as stream:
            for line in stream:
                if line.endswith(b"\n"):
                    row = json.loads(line)
                    self.rows[(row["i"], row["window_start"])] = row["n"]

    def close(self) -> None:
        self.go.set()
        self.server.close()


@pytest.fixture
def slow_reader() -> Iterator[SlowReader]:
    reader = SlowReader()
    yield reader
    reader.close()


def resident(pid: int) -> int:
    """Bytes of memory that a process has of its own or shares."""
    text = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("VmRSS"))


def test_a_sink_that_does_not_read_holds_the_sources_of_all_processes_back(flow, slow_reader):
    count = 60_000
    source = {
        "generator": {"fields": {"i": "n", "pad": f"'{'x' * 600}'"}, "count": count},
        "schema": {"i": "int", "pad": "str"},
    }
    window = {"tumbling": "100ms", "key": "i", "emit": {"n": "count()", "pad": "first(pad)"}}
    one: Flow = flow(
        {
            "processes": 2,
            "sources": {"a": source, "b": source},
            "steps": [{"window": window}],
            "sink": {"tcp": {"host": "127.0.0.1", "port": slow_reader.port}},
        }
    ).start()
    before = [-1, -1, -1]

    def held(seen: dict[str, Any]) -> bool:
        before.append(messages(seen))
        return before[-1] > 0 and len(set(before[-30:])) == 1 and len(before) > 30

    one.until(held, "the sources wait")
    assert before[-1] < 2 * count
    assert max(map(resident, pids(one))) < 300e6
    slow_reader.go.set()
    one.complete()
    until(lambda: sum(slow_reader.rows.values()) == 2 * count, "every message in a result")
    assert {i for i, _ in slow_reader.rows} == set(range(count))


def test_a_live_change_reaches_every_process_and_what_they_tell_is_added_up(flow):
    def source(name: str) -> dict[str, Any]:
        return {
            "generator": {"fields": {"i": "n", "of": f"'{name}'"}, "rate": 2000},
            "schema": {"i": "int", "of": "str"},
        }

    one: Flow = flow(
        {
            "processes": 2,
            "sources": {name: source(name) for name in "ab"},
            "steps": [{"set": {"side": "'old'"}}, {"set": {"ratio": "10 / (i - 500)"}}],
            "sink": {"file": {"path": "out.ndjson"}},
        }
    ).start()
    one.until(lambda seen: seen["dead"] == 2 and min(s["messages"] for s in seen["sources"].values()) > 1000, "both")
    before = pids(one)
    live = {"steps": [{"set": {"side": "'new'"}}], "sources": {}, "sinks": {}}
    answer = one.ask(do="patch", live=live)
    assert answer.get("ok"), answer
    assert one.observed()["live"] == answer["live"]
    wrong = one.ask(do="patch", live={**live, "steps": [{"filter": "nope > 1"}]})
    assert "unknown field 'nope'" in wrong["error"]
    assert pids(one) == before
    tapped = one.ask(do="tap", count=50, seconds=30)
    assert {row["of"] for row in tapped["rows"]} == {"a", "b"}
    assert one.ask(do="dead", count=5)["reasons"] == {"division-by-zero": 2}
    assert one.ask(do="replay") == {"ok": True, "replayed": 2, "left": 0}
    assert one.ask(do="dead", count=5)["reasons"] == {}
    assert one.stop() == 0
    rows = one.lines("out.ndjson")
    for name in "ab":
        mine = [row for row in rows if row["of"] == name]
        assert sorted(row["i"] for row in mine) == list(range(len(mine))), "none lost, none twice"
        assert {row["side"] for row in mine} == {"old", "new"}


FLOW = """
    version: 1
    flows:
      rooms:
        processes: 2
        sources:
          a: {generator: {fields: {k: "f'k{n % 7}'", ts: n}, rate: 1000}, schema: {k: str, ts: time_ms}}
          b: {generator: {fields: {k: "f'k{n % 7}'", ts: n}, rate: 1000}, schema: {k: str, ts: time_ms}}
        steps:
          - window: {tumbling: 1s, key: k, time: ts, emit: {n: count()}}
        sink: {file: {path: out.ndjson}}
"""


def test_the_daemon_keeps_a_flow_of_several_processes(host):
    need_bytewax()

    def rows() -> list[dict[str, Any]]:
        path = host.directory / "out.ndjson"
        # The last line may be half written.
        return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []

    def processes() -> list[dict[str, Any]]:
        return host.resource("Flow/rooms")["observed"].get("processes", [])

    def more() -> None:
        last = max((row["window_start"] for row in rows()), default=0)
        host.until(lambda: max((row["window_start"] for row in rows()), default=0) > last + 1000, "more windows")

    host.write(FLOW)
    host.up()
    host.converged(1)
    host.until(lambda: host.resource("Flow/rooms")["ready"] and len(processes()) == 2, "two processes")
    more()
    first = host.pids()["Flow/rooms/runner"]

    # One of them dies: the group starts anew, as one.
    os.kill(processes()[1]["pid"], signal.SIGKILL)
    host.until(lambda: host.pids().get("Flow/rooms/runner", 0) not in (0, first), "a new group")
    more()

    # Another number is a restart.
    host.edit("processes: 2", "processes: 3")
    host.until(lambda: len(processes()) == 3, "three processes")
    more()
    found = Counter((row["k"], row["window_start"]) for row in rows())
    assert set(found.values()) == {1}
    assert {row["n"] for row in rows() if row["window_start"] < 1000} <= {284, 286, 288}
