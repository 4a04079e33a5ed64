"""A live change of a flow of several processes: all of them take it, or none does, whatever happens to one of them."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

from streamsd.flow.split import joined
from tests.e2e.flow.processes import PATIENCE, Flow, until
from tests.e2e.flow.test_processes import pids

STEP = """
import os, pathlib, time
here = pathlib.Path(__file__).parent
with (here / "compiled").open("a") as told:
    told.write(f"{os.getpid()}\\n")


def waits(rows):
    while (here / "held").exists() and rows[0]["of"] == "b":
        (here / "inside").touch()
        time.sleep(0.005)
    return rows
"""
CUSTOM = {"custom": {"file": "mine.py", "function": "waits"}}


def started(flow: Any) -> Flow:
    """A source in each process, and a step that can be made to wait in the second one, of the source `b`."""

    def source(name: str) -> dict[str, Any]:
        return {"generator": {"fields": {"i": "n", "of": f"'{name}'"}, "rate": 2000}}

    one: Flow = flow(
        {
            "processes": 2,
            "sources": {name: source(name) for name in "ab"},
            "steps": [CUSTOM, {"set": {"side": "'0'"}}],
            "sink": {"file": {"path": "out.ndjson"}, "delivery": "exactly_once"},
            "recovery": {"epoch": "100ms"},
        }
    )
    (one.directory / "mine.py").write_text(STEP)
    return running(one.start())


def running(one: Flow) -> Flow:
    one.until(lambda seen: min(s["messages"] for s in seen["sources"].values()) > 200, "messages of both")
    return one


def live(side: int) -> dict[str, Any]:
    return {"steps": [CUSTOM, {"set": {"side": f"'{side}'"}}], "sources": {}, "sinks": {}}


class Asked(threading.Thread):
    """A change, asked for as the daemon does: what the next start runs is written first."""

    def __init__(self, one: Flow, side: int) -> None:
        super().__init__()
        self.one, self.side = one, side
        self.answer: dict[str, Any] = {}
        before = json.loads((one.directory / "spec.json").read_text())
        one.change(joined(before, live(side)).model_dump(exclude_unset=True, by_alias=True, mode="json"))
        self.start()

    def run(self) -> None:
        self.answer = self.one.ask(do="patch", live=live(self.side))

    def answered(self) -> dict[str, Any]:
        self.join(PATIENCE)
        assert self.answer
        return self.answer


def sides(one: Flow, source: str) -> list[int]:
    """What the steps were for each row of a source that was written until now; the last line may be half written."""
    lines = (one.directory / "out.ndjson").read_text().split("\n")[:-1]
    return [int(row["side"]) for row in map(json.loads, lines) if row["of"] == source]


def each_once(one: Flow) -> None:
    for name in "ab":
        mine = [row for row in one.lines("out.ndjson") if row["of"] == name]
        assert sorted(row["i"] for row in mine) == list(range(len(mine))), "none lost, none twice"


def both_ready(one: Flow, members: list[int], before: int) -> None:
    """Both have compiled the flow with the change: to see what is wrong with it, and to take it, each in two steps."""

    def ready() -> bool:
        told = (one.directory / "compiled").read_text().splitlines()[before:]
        return all(told.count(str(pid)) == 4 for pid in members)

    until(ready, "both get ready")


def compiled(one: Flow) -> int:
    return len((one.directory / "compiled").read_text().splitlines())


def test_a_change_that_one_process_does_not_take_in_time_is_taken_by_none(flow) -> None:
    one = started(flow)
    before = one.observed()["live"]
    (one.directory / "held").touch()
    until((one.directory / "inside").exists, "the second process is in a step that does not return")
    assert "did not take the change in time" in one.ask(do="patch", live=live(1))["error"]
    assert one.observed()["live"] == before
    (one.directory / "held").unlink()
    seen = len(sides(one, "a")), len(sides(one, "b"))
    until(lambda: len(sides(one, "a")) > seen[0] + 500 and len(sides(one, "b")) > seen[1] + 500, "more of both")
    assert {*sides(one, "a"), *sides(one, "b")} == {0}, "nobody changed, then or later"
    answer = one.ask(do="patch", live=live(2))
    assert answer.get("ok"), answer
    until(lambda: sides(one, "a")[-1] == sides(one, "b")[-1] == 2, "both have changed")
    assert one.stop() == 0
    for name in "ab":
        assert list(dict.fromkeys(sides(one, name))) == [0, 2], "each at one place"
    each_once(one)


def gone(pid: int) -> bool:
    """Whether it has ended, with all its threads: before that its parent does not hear of it."""
    here = Path(f"/proc/{pid}")
    ended = (here / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return ended and len(list((here / "task").iterdir())) == 1


def test_a_process_that_is_killed_when_all_are_ready_leaves_the_flow_as_it_was(flow) -> None:
    one = started(flow)
    assert one.process is not None
    members = pids(one)
    (one.directory / "held").touch()
    until((one.directory / "inside").exists, "the second process is in a step that does not return")
    before = compiled(one)
    asked = Asked(one, 1)
    both_ready(one, members, before)
    # Nobody decides while the second one becomes ready.
    os.kill(one.process.pid, signal.SIGSTOP)
    (one.directory / "held").unlink()
    seen = len(sides(one, "b"))
    until(lambda: len(sides(one, "b")) > seen + 200, "it goes on, and is ready")
    os.kill(members[1], signal.SIGKILL)
    until(lambda: gone(members[1]), "it is gone")
    os.kill(one.process.pid, signal.SIGCONT)
    # Without the second process the first one ends too: it may be the one of which it is heard first.
    assert "process" in asked.answered()["error"]
    assert one.process.wait(PATIENCE) == 1
    assert {*sides(one, "a"), *sides(one, "b")} == {0}, "nobody changed"
    # All come back with the one file that there is.
    running(one.start())
    until(lambda: sides(one, "a")[-1] == sides(one, "b")[-1] == 1, "both have changed")
    assert one.stop() == 0
    for name in "ab":
        assert list(dict.fromkeys(sides(one, name))) == [0, 1]
    each_once(one)


def test_a_process_that_is_killed_at_any_moment_of_a_change_leaves_it_whole(flow) -> None:
    rnd = random.Random(7)
    one = started(flow)
    for side in range(1, 9):
        assert one.process is not None
        members = pids(one)
        asked = Asked(one, side)
        time.sleep(rnd.uniform(0, 0.04))
        os.kill(members[rnd.randrange(2)], signal.SIGKILL)
        answer = asked.answered()
        assert one.process.wait(PATIENCE) == 1, one.log()
        if "error" in answer:
            assert side not in {*sides(one, "a"), *sides(one, "b")}, answer
        running(one.start())
        until(lambda side=side: sides(one, "a")[-1] == sides(one, "b")[-1] == side, "all come back changed")
    assert one.stop() == 0
    for name in "ab":
        assert sides(one, name) == sorted(sides(one, name)), "nobody went back"
    each_once(one)


def test_a_process_that_was_just_started_is_asked_once_it_can_answer(flow) -> None:
    one = started(flow)
    assert one.stop() == 0
    one.start()
    until(one.control.exists, "it answers")
    words = one.ask(do="patch", live=live(1)).get("error", "")
    assert words in ("", "the flow does not run"), "never that a process is not there"
    running(one)
    assert one.ask(do="patch", live=live(2)).get("ok")
    assert one.stop() == 0
    each_once(one)
