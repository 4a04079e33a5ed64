"""The control plane's promises, on real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from tests.e2e.host import Host, alive

APPS = """
    version: 1
    apps:
      one: {command: [sleep, "1001"]}
      two: {command: [sleep, "1002"]}
      three: {command: [sleep, "1003"]}
"""


def test_an_edit_changes_exactly_what_it_names(host: Host) -> None:
    host.write(APPS)
    host.up()
    host.converged(1)
    before = host.pids()
    host.edit('"1002"', '"2002"')
    host.converged(2)
    after = host.pids()
    assert {unit for unit in before if before[unit] != after[unit]} == {"App/two/main"}
    assert b"2002" in Path(f"/proc/{after['App/two/main']}/cmdline").read_bytes()


def test_a_second_apply_and_a_plan_touch_nothing(host: Host) -> None:
    host.write(APPS)
    host.up("--no-watch")
    host.converged(1)
    before = host.pids()
    assert host.cli("plan").returncode == 0
    assert host.cli("apply", "--wait", "60").returncode == 0
    assert host.pids() == before
    assert host.status()["generation"] == 1
    host.edit('"1002"', '"2002"')
    plan = host.cli("plan", "--json")
    assert plan.returncode == 2
    found = json.loads(plan.stdout)
    assert [(a["action"], a["address"]) for a in found["actions"]] == [("restart", "App/two")]
    assert found["actions"][0]["fields"] == ["command"]
    assert host.pids() == before


BAD = {
    "type": "version: 1\napps: {one: {command: 7}}\n",
    "duplicate": "version: 1\napps:\n  one: {command: [sleep, '1']}\n  one: {command: [sleep, '2']}\n",
    "unknown key": "version: 1\napps: {one: {comand: [sleep, '1']}}\n",
    "reference": "version: 1\napps: {one: {command: [sleep, '1'], display: nowhere}}\n",
    "deep": "version: 1\napps: " + "[" * 5000 + "]" * 5000 + "\n",
    "bomb": "version: 1\nvars:\n  a: &a [x, x, x, x, x, x, x, x, x]\n"
    + "".join(f"  {c}: &{c} [{', '.join([f'*{b}'] * 9)}]\n" for b, c in zip("abcdefgh", "bcdefghi", strict=True)),
    "cycle": "version: 1\nvars: {a: '${var:b}', b: '${var:a}'}\napps: {one: {command: [sleep, '${var:a}']}}\n",
    "not YAML": "version: 1\napps: {one: [}\n",
    "missing program": "version: 1\napps: {one: {command: [no-such-program-at-all]}}\n",
}


def test_a_bad_file_harms_nothing_and_says_where(host: Host) -> None:
    host.write(APPS)
    host.up()
    host.converged(1)
    before = host.pids()
    for name, text in BAD.items():
        host.write(text)
        problems = host.until(lambda: [p for p in host.status()["problems"] if p["severity"] == "error"], name)
        assert problems[0]["line"] is not None, name
        assert problems[0]["file"] == str(host.profile), name
        assert host.pids() == before, name
        host.write(APPS)
        host.until(lambda: not host.status()["problems"], f"good again after {name}")
    assert host.pids() == before
    host.edit('"1001"', '"2001"')
    host.converged(2)
    assert host.pid("App/one/main") != before["App/one/main"]


def test_the_controller_is_expendable(host: Host) -> None:
    host.write(APPS)
    host.up()
    host.converged(1)
    before = host.pids()
    actions = len(host.events("action"))
    host.kill()
    assert all(alive(pid) for pid in before.values())
    host.up()
    host.converged()
    assert host.pids() == before
    assert len(host.events("action")) == actions
    assert host.terminate() == 0
    assert all(alive(pid) for pid in before.values())
    host.up()
    host.converged()
    assert host.pids() == before


def test_what_changed_while_the_controller_was_away_is_done_at_its_start(host: Host) -> None:
    host.write(APPS)
    host.up()
    host.converged(1)
    before = host.pids()
    host.kill()
    os.kill(before["App/one/main"], signal.SIGKILL)
    host.edit('"1002"', '"2002"')
    host.up()
    host.converged(2)
    after = host.pids()
    assert {unit for unit in before if before[unit] != after[unit]} == {"App/one/main", "App/two/main"}


def test_an_invalid_file_at_a_start_leaves_the_last_good_one_in_force(host: Host) -> None:
    host.write(APPS)
    host.up()
    host.converged(1)
    before = host.pids()
    host.kill()
    host.write("version: 1\napps: {one: 7}\n")
    host.up()
    host.converged()
    assert host.pids() == before
    assert host.status()["problems"]
    os.kill(before["App/one/main"], signal.SIGKILL)
    host.until(lambda: host.pids().get("App/one/main", 0) not in (0, before["App/one/main"]), "one restarts")


def test_a_killed_process_comes_back_alone(host: Host) -> None:
    host.write(APPS)
    host.up()
    host.converged(1)
    before = host.pids()
    os.kill(before["App/one/main"], signal.SIGKILL)
    host.until(lambda: host.pids().get("App/one/main", 0) not in (0, before["App/one/main"]), "one restarts")
    host.converged(1)
    after = host.pids()
    assert {unit for unit in before if before[unit] != after[unit]} == {"App/one/main"}
    exited = host.events("process-exited", "App/one")
    assert exited[-1]["code"] == -9
    assert exited[-1]["retry_in"] == 0.0


def test_a_crash_loop_backs_off_and_says_so(host: Host) -> None:
    host.write(APPS.replace('[sleep, "1003"]', '[sh, -c, "exit 3"]'))
    host.up()
    host.until(lambda: host.condition("App/three", "Progressing")["reason"] == "CrashLoop", "a crash loop is told")
    waits = [e["retry_in"] for e in host.events("process-exited", "App/three")]
    assert waits[0] == 0.0
    assert max(waits) > 1.0
    assert not host.resource("App/three")["ready"]
    assert host.resource("App/one")["ready"]
    assert host.cli("apply", "--wait", "30").returncode == 1


def test_two_applies_at_once_one_is_told_who_holds_it(host: Host) -> None:
    host.write(APPS)
    host.up("--no-watch")
    host.converged(1)
    host.write(APPS + "".join(f"      a{n}: {{command: [sleep, '5']}}\n" for n in range(60)))
    for _ in range(20):
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda n: _apply(host, f"caller {n}"), range(6)))
        refused = [body for status, body in answers if status == 409]
        if refused:
            assert refused[0]["error"] == "conflict"
            assert "caller" in refused[0]["message"]
            assert "is applying" in refused[0]["message"]
            assert any(status == 200 for status, _ in answers)
            return
    raise AssertionError("never two at once")


def _apply(host: Host, holder: str) -> tuple[int, dict[str, Any]]:
    connection = HTTPConnection("streamsd")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(host.settings.api_socket))
    body = json.dumps({"holder": holder})
    connection.request("POST", "/v1/apply", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())
    connection.close()
    return found


def test_destroy_holds_and_apply_brings_back(host: Host) -> None:
    host.write(APPS)
    host.up()
    host.converged(1)
    pid = host.pid("App/two/main")
    assert host.cli("destroy", "App/two", "--yes").returncode == 0
    assert not alive(pid)
    assert host.condition("App/two", "Ready")["reason"] == "Held"
    assert host.cli("apply", "--wait", "60").returncode == 0
    assert host.pids()["App/two/main"]


def test_down_stops_everything(host: Host) -> None:
    host.write(APPS)
    host.up()
    host.converged(1)
    before = host.pids()
    assert host.cli("down").returncode == 0
    assert host.daemon is not None
    assert host.daemon.wait(60) == 0
    assert not any(alive(pid) for pid in before.values())
    assert host.processes() == []


def test_a_failed_apply_is_rolled_back(host: Host) -> None:
    host.write(APPS)
    host.up("--no-watch")
    host.converged(1)
    host.edit('[sleep, "1002"]', '[sh, -c, "exit 7"]')
    done = host.cli("apply", "--rollback-on-failure", "--wait", "100")
    assert done.returncode == 1
    host.converged(3)
    assert b"1002" in Path(f"/proc/{host.pid('App/two/main')}/cmdline").read_bytes()
    assert host.events("rolled-back")
