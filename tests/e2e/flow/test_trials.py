"""`streamsd flow test` and `validate --test` of flows whose own functions do not come back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROFILE = """\
version: 1
flows:
  mine:
    source: {stdin: {}}
    steps:
      - filter: x > 0
      - custom: {file: own/mine.py, function: work}
    sink: {stdout: {}}
    tests:
      - {name: returns, input: [{x: 1}], output: [{x: 1}]}
      - {name: does not, input: [{x: 2}], output: [{x: 2}], timeout: 500ms}
      - {name: returns again, input: [{x: 3}], output: [{x: 3}]}
"""

LOOP = "while True: pass"
IN_C = "import re; re.match(r'(a+)+$', 'a' * 80 + 'b')"
IN_C_ALONE = "import ctypes; ctypes.PyDLL(None).pause()"
IGNORES = "import signal, time; signal.signal(signal.SIGABRT, signal.SIG_IGN); time.sleep(1000)"


def write(directory: Path, work: str, top: str = "") -> Path:
    (directory / "own").mkdir()
    (directory / "own/mine.py").write_text(
        f"{top}\ndef work(rows):\n    if rows[0]['x'] == 2:\n        hang()\n    return rows\n\n"
        f"def hang():\n    {work}\n"
    )
    (directory / "p.yaml").write_text(PROFILE)
    return directory / "p.yaml"


def streamsd(*arguments: str | Path, expect: int) -> tuple[str, str]:
    command = [sys.executable, "-m", "streamsd.cli.main", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout, done.stderr


@pytest.mark.parametrize(
    ("work", "place"),
    [(LOOP, "mine.py:8 in hang"), (IN_C, "mine.py:8 in hang"), (IN_C_ALONE, "mine.py:8 in hang"), (IGNORES, "")],
    ids=["a loop", "in C", "in C with the interpreter's lock", "it ignores signals"],
)
def test_a_function_that_never_returns_fails_its_test_in_time_and_the_others_are_run(
    tmp_path: Path, work: str, place: str
) -> None:
    profile = write(tmp_path, work)
    out, err = streamsd("flow", "test", profile, expect=1)
    assert [line for line in out.splitlines() if line.startswith("mine")] == [
        "mine: returns: passed",
        "mine: does not: failed",
        "mine: returns again: passed",
    ]
    assert out.splitlines()[-1] == "3 tests, 1 failed."
    told = f"{profile}:11:70: error: does not: not done within 500ms: work of own/mine.py has not returned"
    assert told + (f" ({place})" if place else "") in out + err
    out, _ = streamsd("validate", "--test", "--json", profile, expect=1)
    answer = json.loads(out)
    assert [outcome["passed"] for outcome in answer["tests"]] == [True, False, True]
    assert [(d["code"], d["path"]) for d in answer["diagnostics"]] == [
        ("flow-test-failed", "flows.mine.tests[1].timeout")
    ]


def test_nothing_that_such_a_function_started_outlives_its_test(tmp_path: Path) -> None:
    work = "import subprocess, pathlib; p = subprocess.Popen(['sleep', '600'])"
    work += f"; pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(p.pid)); p.wait()"
    streamsd("flow", "test", write(tmp_path, work), expect=1)
    pid = int((tmp_path / "pid").read_text())
    end = time.monotonic() + 10
    while _lives(pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _lives(pid)


def _lives(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("work", "told"),
    [
        ("import os; os._exit(7)", "ended with status 7"),
        ("import os; os.kill(os.getpid(), 9)", "was ended by SIGKILL"),
        ("import ctypes; ctypes.string_at(8)", "was ended by SIGSEGV"),
    ],
)
def test_a_function_that_takes_its_process_with_it_fails_its_test_alone(tmp_path: Path, work: str, told: str) -> None:
    out, err = streamsd("flow", "test", write(tmp_path, work), expect=1)
    assert out.splitlines()[-1] == "3 tests, 1 failed."
    assert f"does not: its process {told} in work of own/mine.py" in out + err


def test_what_stands_at_the_top_of_the_file_is_within_the_limit_too(tmp_path: Path) -> None:
    profile = write(tmp_path, "pass", top="import time; time.sleep(1000)")
    profile.write_text(PROFILE.replace("}]}\n", "}], timeout: 500ms}\n"))
    out, err = streamsd("flow", "test", profile, expect=1)
    assert out.splitlines()[-1] == "3 tests, 3 failed."
    assert "work of own/mine.py has not returned (mine.py:1 in <module>)" in out + err


def test_what_a_function_prints_is_no_part_of_the_answer(tmp_path: Path) -> None:
    profile = write(tmp_path, "print('hello')")
    out, err = streamsd("flow", "test", "--json", profile, expect=0)
    assert json.loads(out)["failed"] == 0
    assert "hello" in err


def test_a_validation_without_tests_runs_nothing_of_the_file(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    profile = write(tmp_path, "pass", top=f"open({str(mark)!r}, 'w')")
    for command in (["validate"], ["validate", "--schema-only"], ["flow", "explain"]):
        streamsd(*command, profile, expect=0)
        assert not mark.exists(), command
    streamsd("validate", "--test", profile, expect=0)
    assert mark.exists()


def test_a_command_that_is_stopped_for_a_while_takes_what_was_said_in_time(tmp_path: Path) -> None:
    """As Ctrl-Z and `fg` do."""
    profile = write(tmp_path, "import os, signal; os.kill(os.getppid(), signal.SIGSTOP)")
    profile.write_text(PROFILE.replace("      - {name: returns again, input: [{x: 3}], output: [{x: 3}]}\n", ""))
    command = [sys.executable, "-m", "streamsd.cli.main", "flow", "test", str(profile)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as asked:
        try:
            _, status = os.waitpid(asked.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status)
            time.sleep(1)  # longer than the test may take
        finally:
            asked.send_signal(signal.SIGCONT)
        out, _ = asked.communicate(timeout=60)
    assert asked.returncode == 0, out
    assert out.splitlines()[-1] == "2 tests, 0 failed."
