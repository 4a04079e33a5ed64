"""`streamsd flow run`, `test` and `explain`: without a daemon."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streamsd.cli.main import run

PROFILE = """\
version: 1
flows:
  numbers:
    source: {stdin: {}}
    schema: {x: int, ts: time_ms}
    steps:
      - filter: x > 0
      - window: {tumbling: 1s, time: ts, emit: {total: sum(x)}}
    sink: {stdout: {}}
    tests:
      - {name: adds up, input: [{x: 1, ts: 0}, {x: 2, ts: 1}], output: [{window_start: 0, window_end: 1000, total: 3}]}
  other: {source: {file: {path: in}}, sink: {file: {path: out}}}
"""


def streamsd(*arguments: str, given: str = "", expect: int = 0) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "streamsd.cli.main", "flow", *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout, done.stderr


def test_a_flow_is_a_filter_of_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(PROFILE)
    lines = "".join(json.dumps({"x": x, "ts": x * 100}) + "\n" for x in range(-5, 25)) + "nonsense\n"
    out, err = streamsd("run", str(tmp_path / "p.yaml"), "numbers", given=lines)
    found = [json.loads(line) for line in out.splitlines()]
    assert [row["total"] for row in found] == [sum(range(1, 10)), sum(range(10, 20)), sum(range(20, 25))]
    events = [json.loads(line) for line in err.splitlines()]
    by_name = {event["event"]: event for event in events}
    assert by_name["flow-complete"]["dead_reasons"] == {"malformed": 1}
    assert list(tmp_path.iterdir()) == [tmp_path / "p.yaml"], "nothing is left behind"
    kept = by_name["dead-letters"]
    assert (kept["count"], kept["reasons"]) == (1, {"malformed": 1})
    letters = Path(kept["file"])
    try:
        assert json.loads(letters.read_text())["raw"] == "nonsense"
        assert letters.stat().st_mode & 0o777 == 0o600
        assert letters.parent.stat().st_mode & 0o777 == 0o700
        assert list(letters.parent.iterdir()) == [letters], "the rest of the state is gone"
    finally:
        shutil.rmtree(letters.parent)


def test_a_flow_that_keeps_its_state_goes_on_where_it_was(tmp_path: Path) -> None:
    profile: dict[str, Any] = {
        "version": 1,
        "flows": {"f": {"source": {"file": {"path": "in"}}, "sink": {"stdout": {}}, "schema": {"i": "int"}}},
    }
    (tmp_path / "p.yaml").write_text(json.dumps(profile))
    (tmp_path / "in").write_text('{"i": 1}\n{"i": 2}\n')
    arguments = ("run", str(tmp_path / "p.yaml"), "--keep-state", str(tmp_path / "state"))
    assert streamsd(*arguments)[0] == '{"i":1}\n{"i":2}\n'
    with (tmp_path / "in").open("a") as more:
        more.write('{"i": 3}\n')
    assert streamsd(*arguments)[0] == '{"i":3}\n'
    assert streamsd(*arguments, "--reset-state")[0] == '{"i":1}\n{"i":2}\n{"i":3}\n'


class Here:
    """The commands in this process: what they read and print is the same, and they start no other."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str, expect: int = 0) -> tuple[str, str]:
        code = run(["flow", *arguments])
        out, err = self.printed()
        assert code == expect, out + err
        return out, err

    def printed(self) -> tuple[str, str]:
        out, err = self._capsys.readouterr()
        return out, err


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Here:
    return Here(capsys)


def test_a_wrong_flow_is_told_with_its_place_and_does_not_run(tmp_path: Path, here: Here) -> None:
    (tmp_path / "p.yaml").write_text(PROFILE.replace("filter: x > 0", "filter: y > 0"))
    out, err = here("run", str(tmp_path / "p.yaml"), "numbers", expect=1)
    assert out == ""
    assert "p.yaml:7:17: error: unknown field 'y'" in err
    assert "fields: ts, x" in err
    out, _ = here("explain", str(tmp_path / "p.yaml"), "numbers", "--json", expect=1)
    assert json.loads(out)["diagnostics"][0]["path"] == "flows.numbers.steps[0].filter"
    (tmp_path / "p.yaml").write_text(PROFILE)
    _, err = here("run", str(tmp_path / "p.yaml"), expect=1)
    assert "name one: numbers, other" in err
    _, err = here("run", str(tmp_path / "p.yaml"), "number", expect=1)
    assert "did you mean 'numbers'?" in err


def test_what_a_flow_comes_to_and_whether_its_tests_hold(tmp_path: Path, here: Here) -> None:
    (tmp_path / "p.yaml").write_text(PROFILE)
    out, _ = here("explain", str(tmp_path / "p.yaml"), "numbers", "--code")
    assert "window_start: time_ms, window_end: time_ms, total: int" in out
    assert "out: at most once (stdin cannot give a message again)" in out
    assert "def loop(msgs, metas, now, partition):" in out
    assert "live       steps[0].filter" in out
    assert "reset      steps[1].window.tumbling, steps[1].window.time, steps[1].window.emit.total" in out
    out, _ = here("explain", str(tmp_path / "p.yaml"), "other", "--json")
    assert json.loads(out)["delivery"] == {"out": "exactly once"}
    out, _ = here("test", str(tmp_path / "p.yaml"))
    assert out.splitlines() == ["numbers: adds up: passed", "1 test, 0 failed."]
    (tmp_path / "p.yaml").write_text(PROFILE.replace("total: 3", "total: 4"))
    out, _ = here("test", str(tmp_path / "p.yaml"), "--json", expect=1)
    assert json.loads(out)["failed"] == 1
    assert run(["validate", "--test", str(tmp_path / "p.yaml")]) == 1
    err = here.printed()[1]
    assert "p.yaml:11:116: error: adds up: total is 3, not 4 [flow-test-failed]" in err
    assert "hint: the result is {" in err
    assert run(["validate", str(tmp_path / "p.yaml")]) == 0
    (tmp_path / "p.yaml").write_text(PROFILE)
    here.printed()
    assert run(["validate", "--test", "--json", str(tmp_path / "p.yaml")]) == 0
    answer = json.loads(here.printed()[0])
    assert [(t["test"], t["passed"]) for t in answer["tests"]] == [("adds up", True)]
