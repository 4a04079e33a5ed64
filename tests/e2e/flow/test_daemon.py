"""A flow under the daemon: started, changed live, restarted, refused, and told about."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

from tests.e2e.host import Host

FLOW = """
    version: 1
    flows:
      rooms:
        source: {generator: {fields: {room: "f'r{n % 3}'", temp: 20 + n % 7, i: n}, rate: 500}}
        schema: {room: str, temp: int, i: int}
        steps:
          - filter: temp > 0
          - set: {mark: "'old'"}
        sink: {file: {path: out.ndjson}}
        recovery: {epoch: 200ms}
      other:
        source: {generator: {fields: {i: n}, rate: 10}}
        sink: {discard: {}}
"""


def rows(host: Host) -> list[dict[str, Any]]:
    path = host.directory / "out.ndjson"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_flow_lives_under_the_daemon(host: Host) -> None:
    host.write(FLOW)
    host.up()
    host.converged(1)
    host.until(lambda: host.resource("Flow/rooms")["ready"], "the flow is ready")
    host.until(lambda: len(rows(host)) > 100, "results")
    observed = lambda: host.resource("Flow/rooms")["observed"]  # noqa: E731
    host.until(lambda: observed().get("sources", {}).get("in", {}).get("messages", 0) > 0, "figures")
    pids = host.pids()
    assert "step-failed" not in host.cli("events").stdout, "a start is no failure"

    # A step changes live: every process stays, and no message is lost.
    assert [a["action"] for a in host.json("plan")["actions"]] == []
    host.edit("'old'", "'new'")
    host.converged(2)
    host.until(lambda: rows(host)[-1]["mark"] == "new", "results of the new step")
    assert host.pids() == pids
    found = rows(host)  # read once: it grows
    assert [row["i"] for row in found] == list(range(len(found)))

    # A wrong one is refused with its place, and the flow goes on.
    host.edit("temp > 0", "tmp > 0")
    problems = host.until(lambda: host.status()["problems"], "a refusal")
    assert (problems[0]["code"], problems[0]["line"]) == ("flow-expression", 8)
    assert "did you mean 'temp'?" in problems[0]["hint"]
    assert host.pids() == pids
    host.edit("tmp > 0", "temp > 1")
    host.until(lambda: not host.status()["problems"], "a profile without problems")
    host.converged(3)

    # A crash: started again by the daemon, and every number is there once.
    os.kill(pids["Flow/rooms/runner"], signal.SIGKILL)
    host.until(lambda: host.pids().get("Flow/rooms/runner", 0) not in (0, pids["Flow/rooms/runner"]), "a new process")
    count = len(rows(host))
    host.until(lambda: len(rows(host)) > count + 100, "results again")

    # The tap and the dead letters, by the commands.
    tapped = host.json("flow", "tap", "rooms", "--count", "2", "--seconds", "30")
    assert [set(row) for row in tapped["rows"]] == [{"room", "temp", "i", "mark"}] * 2
    assert host.json("flow", "dlq", "rooms")["reasons"] == {}

    # A change that needs a restart restarts this flow alone, and goes on where it was.
    host.edit("out.ndjson}}", "out.ndjson, rotate: 1G}}")
    actions = host.until(lambda: host.status()["generation"] == 4, "the new generation")
    assert actions
    host.until(lambda: len(rows(host)) > count + 400, "results after the restart")
    found = rows(host)
    assert [row["i"] for row in found] == list(range(len(found)))
    assert host.pids()["Flow/other/runner"] == pids["Flow/other/runner"]
    assert "'new'" not in host.cli("describe", "Flow/rooms").stderr


def test_dead_letters_are_replayed_after_the_steps_were_repaired(host: Host) -> None:
    host.write(
        """
        version: 1
        flows:
          ratio:
            source: {generator: {fields: {i: n}, rate: 100}}
            schema: {i: int}
            steps: [{set: {r: 10 / (i % 2)}}]
            sink: {file: {path: out.ndjson}}
            recovery: {epoch: 100ms}
        """
    )
    host.up()
    host.converged(1)
    host.until(lambda: host.resource("Flow/ratio")["observed"].get("dead", 0) > 20, "dead letters")
    shown = json.loads(host.cli("flow", "dlq", "ratio", "show", "--count", "1").stdout)
    assert (shown["reason"], json.loads(shown["raw"])["i"] % 2) == ("division-by-zero", 0)
    host.edit("(i % 2)", "(i % 2 + 1)")
    host.converged(2)
    replayed = host.json("flow", "dlq", "ratio", "replay")
    assert replayed["replayed"] > 20
    assert replayed["left"] == 0
    assert host.json("flow", "dlq", "ratio")["reasons"] == {}
    assert host.json("flow", "dlq", "ratio", "replay")["replayed"] == 0
    assert host.cli("down").returncode == 0
    numbers = [row["i"] for row in rows(host)]
    assert sorted(numbers) == list(range(len(numbers))), "each number once, those of the dead letters too"


def test_a_window_is_changed_when_its_state_is_reset_on_purpose(host: Host) -> None:
    host.write(
        """
        version: 1
        flows:
          counts:
            source: {generator: {fields: {i: n}, rate: 100}}
            schema: {i: int}
            steps: [{window: {tumbling: 100ms, time: time(i / 100), emit: {n: count()}}}]
            sink: {file: {path: out.ndjson}}
            recovery: {epoch: 100ms}
        """
    )
    host.up("--no-watch")
    host.converged(1)
    host.until(lambda: len(rows(host)) > 3, "results")
    host.edit("tumbling: 100ms", "tumbling: 200ms")
    refused = host.cli("apply")
    assert refused.returncode == 1
    assert "does not fit" in refused.stderr
    assert "--reset-state counts" in refused.stderr
    # What is refused for another reason has let nothing go.
    assert host.cli("apply", "--reset-state", "counts", "--reset-state", "nobody").returncode == 1
    assert "does not fit" in host.cli("apply").stderr
    host.edit("epoch: 100ms", "epoch: never")
    assert host.cli("apply", "--reset-state", "counts").returncode == 1
    host.edit("epoch: never", "epoch: 100ms")
    assert "does not fit" in host.cli("apply").stderr
    applied = host.cli("apply", "--reset-state", "counts")
    assert applied.returncode == 0, applied.stderr
    assert "begins with an empty state" in applied.stdout
    host.until(lambda: any(row["n"] == 20 for row in rows(host)), "windows of the new size")


def test_the_python_of_a_custom_step_never_runs_in_the_daemon(host: Host) -> None:
    (host.directory / "mine.py").write_text(
        "import os, pathlib\n"
        "with (pathlib.Path(__file__).parent / 'pids').open('a') as pids:\n"
        "    pids.write(f'{os.getpid()}\\n')\n"
        "def same(rows):\n"
        "    return rows\n"
    )
    host.write(FLOW.replace("- set: {mark: \"'old'\"}", "- custom: {file: mine.py, function: same}"))
    host.up()
    host.until(lambda: len(rows(host)) > 10, "results")
    assert host.cli("plan").returncode in (0, 2)
    ran = {int(line) for line in (host.directory / "pids").read_text().split()}
    assert ran == {pid for unit, pid in host.pids().items() if unit.startswith("Flow/rooms")}
