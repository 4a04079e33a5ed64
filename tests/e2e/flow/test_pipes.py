"""`flow run` at the ends of pipes: readers that go, never read, or are not there, full disks, Ctrl-C at any time."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.flow.processes import until

PROFILE = """\
version: 1
flows:
  numbers: {source: {generator: {fields: {i: n}, rate: 20000}}, schema: {i: int}, sink: {stdout: {}}}
"""


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    path = tmp_path / "p.yaml"
    path.write_text(PROFILE)
    return path


def started(*arguments: object, stdout: Any, **more: Any) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "streamsd.cli.start", *map(str, arguments)]
    environment = {**os.environ, "RUST_BACKTRACE": "1"}
    return subprocess.Popen(argv, stdout=stdout, stderr=subprocess.PIPE, env=environment, **more)


def events(err: bytes) -> list[str]:
    """Each line is one."""
    return [json.loads(line)["event"] for line in err.decode().splitlines()]


def test_a_reader_that_goes_ends_the_flow_in_a_line(profile: Path) -> None:
    one = started("flow", "run", profile, stdout=subprocess.PIPE)
    assert one.stdout is not None
    assert json.loads(one.stdout.readline()) == {"i": 0}
    one.stdout.close()
    _, err = one.communicate(timeout=60)
    assert (one.returncode, events(err)) == (1, ["flow-started", "flow-failed"]), err.decode()


def test_a_flow_that_nobody_reads_can_be_stopped(profile: Path) -> None:
    read, write = os.pipe()
    try:
        one = started("flow", "run", profile, stdout=write)
        assert one.stderr is not None
        assert b"flow-started" in one.stderr.readline()
        until(lambda: not select.select([], [write], [], 0)[1], "a full pipe")
        one.send_signal(signal.SIGINT)
        _, err = one.communicate(timeout=60)
        assert (one.returncode, events(err)) == (1, ["flow-cut-short"]), err.decode()
    finally:
        os.close(read)
        os.close(write)


def test_a_full_disk_behind_the_standard_output_is_told_and_waited_for(profile: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        one = started("flow", "run", profile, stdout=full)
    assert one.stderr is not None
    assert b"flow-started" in one.stderr.readline()
    told = json.loads(one.stderr.readline())
    assert (told["event"], told["reason"]) == ("flow-degraded", "SinkUnreachable")
    assert told["message"] == "out: standard output: No space left on device"
    one.send_signal(signal.SIGTERM)
    _, err = one.communicate(timeout=60)
    assert (one.returncode, events(err)) == (1, ["flow-cut-short"]), err.decode()


@pytest.mark.parametrize("command", [("explain",), ("test",), ("run",)])
def test_a_standard_output_that_is_closed_is_an_error_in_a_line(profile: Path, command: tuple[str]) -> None:
    """And no file that the command opens is taken for it."""
    one = started("flow", *command, profile, stdout=None, preexec_fn=lambda: os.close(1))
    _, err = one.communicate(timeout=60)
    assert one.returncode == 1
    assert b"Bad file descriptor" in err.splitlines()[-1]
    assert b"Traceback" not in err
    assert b"Exception" not in err


@pytest.mark.parametrize("module", ["streamsd.cli.start", "streamsd.programs.flow"])
def test_ctrl_c_while_it_begins_says_nothing(profile: Path, module: str, tmp_path: Path) -> None:
    """Ctrl-C as soon as the first of what it needs is imported."""
    given = tempfile.mkdtemp(dir=tmp_path)
    argv = ["flow", "run", str(profile)] if module == "streamsd.cli.start" else ["--forget", given]
    one = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", module, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert one.stderr is not None
    first = b"click" if module == "streamsd.cli.start" else b"pydantic"
    seen: list[bytes] = []
    end = time.monotonic() + 60
    while not seen or not re.search(first, seen[-1]):
        assert time.monotonic() < end
        seen.append(one.stderr.readline())
    one.send_signal(signal.SIGINT)
    _, err = one.communicate(timeout=60)
    assert one.returncode in (130, -signal.SIGINT)
    assert b"Traceback" not in err
    if module != "streamsd.cli.start":
        assert not Path(given).exists(), "what may hold secrets is not left behind"
