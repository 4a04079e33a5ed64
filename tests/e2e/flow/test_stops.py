"""SIGTERM ends a flow whatever it is doing, with nothing lost, and not by being killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamsd.programs.flow.life import GRACE
from tests.e2e.flow.processes import PATIENCE, Flow, free_port, until
from tests.programs_needed import need, need_module

FAST = {"epoch": "100ms"}


def source(**more: Any) -> dict[str, Any]:
    return {
        "generator": {"fields": {"i": "n", "k": "n % 5000"}, "rate": 10_000, **more},
        "schema": {"i": "int", "k": "int"},
    }


def both(**more: Any) -> dict[str, Any]:
    """A source in each of two processes, and a file."""
    return {
        "processes": 2,
        "sources": {"a": source(), "b": source()},
        "sink": {"file": {"path": "out.ndjson"}},
        "recovery": FAST,
        **more,
    }


def well(one: Flow) -> None:
    assert one.stop() == 0, one.log()
    assert "flow-killed" not in one.log(), one.log()


def test_two_processes_end_together_each_time(flow) -> None:
    window = {"window": {"tumbling": "1h", "key": "k", "emit": {"n": "count()"}}}
    one: Flow = flow(both(steps=[window]))
    for epochs in range(1, 11):
        one.start()
        one.until(lambda seen, epochs=epochs: seen["epochs"] > epochs % 4, "epochs")
        well(one)


def test_two_processes_whose_sources_end_just_then_end_too(flow) -> None:
    one: Flow = flow(both())
    for count in range(1500, 12_000, 1500):
        one.change(both(sources={"a": source(count=count), "b": source(count=2 * count)}))
        one.start()
        one.until(lambda seen: seen["complete"] or seen["sources"]["b"]["messages"] > 2000, "the end comes near")
        well(one)
    one.start().complete()
    well(one)
    rows = [row["i"] for row in one.lines("out.ndjson")]
    assert sorted(rows) == sorted([*range(count), *range(2 * count)])


@pytest.mark.parametrize("processes", [1, 2])
def test_many_signals_at_once_are_one(flow, processes: int) -> None:
    one: Flow = flow(both(processes=processes))
    for _ in range(4):
        one.start().ready()
        assert one.process is not None
        for _ in range(40):
            one.process.send_signal(signal.SIGTERM)
        well(one)


def test_a_step_that_never_returns_does_not_keep_a_flow_from_ending(flow) -> None:
    one: Flow = flow(
        both(processes=1, steps=[{"custom": {"file": "mine.py", "function": "hangs"}}], sink={"discard": {}})
    )
    (one.directory / "mine.py").write_text(
        "import pathlib, time\n"
        "def hangs(rows):\n"
        "    pathlib.Path(__file__).with_name('inside').touch()\n"
        "    time.sleep(1000)\n"
        "    return rows\n"
    )
    one.start()
    until((one.directory / "inside").exists, "it hangs")
    assert one.stop() == 0
    assert "flow-killed" in one.log()
    assert "StepStalled" in one.log()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_sink_that_was_away_for_long_has_had_its_time_to_answer(flow, processes: int) -> None:
    sink = {"tcp": {"host": "127.0.0.1", "port": free_port()}}
    one: Flow = flow(both(sink=sink) if processes == 2 else {**both(sink=sink), "processes": 1}).start()
    one.until(lambda seen: seen["epoch_age"] > GRACE + 2, "it tries for longer than it would be waited for")
    assert one.report().reason == "SinkUnreachable"
    began = time.monotonic()
    assert one.stop() == 0
    assert time.monotonic() - began < GRACE - 1


def test_a_broker_that_is_away_holds_nobody_else_up(flow) -> None:
    need_module("confluent_kafka")
    kafka = {"kafka": {"brokers": [f"127.0.0.1:{free_port()}"], "topics": ["nothing"]}, "schema": source()["schema"]}
    one: Flow = flow(both(processes=1, sources={"a": source(), "b": kafka})).start()
    until(lambda: (told := one.report()) and told.reason == "SourceUnreachable", "what is wrong")
    epochs, messages = one.observed()["epochs"], one.observed()["sources"]["a"]["messages"]
    # Each look for the broker takes five seconds.
    one.until(lambda seen: seen["epochs"] > epochs + 40, "epochs")
    assert one.observed()["sources"]["a"]["messages"] > messages + 10_000
    well(one)


def test_a_run_that_waits_for_the_state_of_another_ends(flow) -> None:
    one: Flow = flow(both()).start().ready()
    other = flow(both(), "other")
    (other.directory / "state").symlink_to(one.directory / "state")
    other.start()
    assert other.process is not None
    until(lambda: holds(other, "lock"), "it waits for the lock")
    other.process.send_signal(signal.SIGTERM)
    assert other.process.wait(PATIENCE) == 0
    assert "InUse" not in other.log()
    well(one)


def holds(one: Flow, name: str) -> bool:
    """Whether it has a file by that name open."""
    assert one.process is not None
    links = Path(f"/proc/{one.process.pid}/fd").iterdir()
    return any(os.path.basename(os.path.realpath(link)) == name for link in links)


@pytest.fixture
def frozen_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that can be made to stand still, with fsfreeze."""
    if os.geteuid() != 0:
        pytest.skip("mounts a disk: needs root")
    image, place = tmp_path / "image", tmp_path / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(128 << 20)
    subprocess.run([need("mkfs.ext4"), "-q", str(image)], check=True)
    need("fsfreeze")
    if subprocess.run(["mount", "-o", "loop", str(image), str(place)], capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody mount")
    yield place
    subprocess.run(["fsfreeze", "-u", str(place)], capture_output=True)
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_disk_that_stands_still_for_a_while_is_waited_for(flow, frozen_disk: Path) -> None:
    one: Flow = flow(both())
    (one.directory / "state").symlink_to(frozen_disk)
    one.start().ready()
    members = [p["pid"] for p in one.observed()["processes"]]
    subprocess.run(["fsfreeze", "-f", str(frozen_disk)], check=True)
    try:
        # Longer than processes may wait for each other.
        time.sleep(8)
        assert one.alive(), one.log()
    finally:
        subprocess.run(["fsfreeze", "-u", str(frozen_disk)], check=True)
    epochs = one.observed()["epochs"]
    one.until(lambda seen: seen["epochs"] > epochs + 5, "epochs")
    assert [p["pid"] for p in one.observed()["processes"]] == members
    well(one)
