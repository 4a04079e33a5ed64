"""The log of a unit: what is kept, what is dropped, and that dropping is said."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from streamsd.runtime.supervisord.logs import LogFile, LogPipe, Watch
from streamsd.runtime.supervisord.timers import Timers


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Rig:
    """A pipe whose other end we hold, and a clock that we turn."""

    clock: Clock
    timers: Timers
    watch: Watch
    pipe: LogPipe
    end: int
    path: Path

    def round(self, seconds: float = 0.0) -> None:
        """Once through the loop, `seconds` later."""
        self.clock.now += seconds
        self.watch.run_ready()
        self.timers.run_due()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    clock, watch = Clock(), Watch()
    timers = Timers(failed=lambda: pytest.fail("a timer failed"), clock=clock)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    sink = os.open("/dev/null", os.O_WRONLY)
    file = LogFile(tmp_path / "x.log", {"max_bytes": 100_000, "keep": 1, "rate": 2000})
    pipe = LogPipe(reading, file, 2000, watch, timers, sink, clock)
    yield Rig(clock, timers, watch, pipe, writing, tmp_path / "x.log")
    pipe.close()
    os.close(writing)
    os.close(sink)


def test_output_is_logged_as_it_comes(rig: Rig) -> None:
    os.write(rig.end, b"one\n")
    rig.round()
    os.write(rig.end, b"two\n")
    rig.round()
    assert rig.path.read_bytes() == b"one\ntwo\n"


def test_a_flood_is_cut_at_the_rate_and_counted(rig: Rig) -> None:
    written = 0
    for _ in range(40):  # four seconds of it
        written += os.write(rig.end, b"x" * 999 + b"\n")
        written += os.write(rig.end, b"x" * 999 + b"\n")
        rig.round()
        rig.round(0.1)
    rig.round(10)
    rig.round()
    os.write(rig.end, b"calm\n")
    rig.round()
    text = rig.path.read_bytes()
    dropped = sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(b"streamsd: "))
    kept = text.count(b"x") + text.count(b"x\n")
    assert text.endswith(b"bytes dropped\ncalm\n")
    assert dropped > 0
    assert kept <= 2000 * 6
    assert abs(written - dropped - kept) <= 4  # the line ends of cut lines


def test_what_cannot_be_written_is_counted_and_said_later(rig: Rig) -> None:
    directory = rig.path.parent
    directory.rename(directory.with_name("gone"))
    os.write(rig.end, b"lost\n")
    rig.round()
    directory.mkdir()
    os.write(rig.end, b"found\n")
    rig.round()
    assert rig.path.read_bytes() == b"streamsd: 5 bytes dropped\nfound\n"


def test_closing_keeps_the_last_words(rig: Rig) -> None:
    os.write(rig.end, b"last words")
    rig.pipe.close()
    assert rig.path.read_bytes() == b"last words"


def test_a_file_is_turned_over_between_lines(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "y.log", {"max_bytes": 10, "keep": 2, "rate": 1})
    assert file.append(b"aaa\nbbb\nccc\nddd\n") == 16
    assert (tmp_path / "y.log.1").read_bytes() == b"aaa\nbbb\n"
    assert (tmp_path / "y.log").read_bytes() == b"ccc\nddd\n"
    assert file.append(b"z" * 25) == 25
    assert [p.read_bytes() for p in sorted(tmp_path.glob("y.log*"))] == [b"z" * 5, b"z" * 10, b"z" * 10]


def test_a_log_without_old_ones_begins_anew(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "y.log", {"max_bytes": 10, "keep": 0, "rate": 1})
    file.append(b"aaaaaaa\n")
    file.append(b"bbbbbbb\n")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("y.log", b"bbbbbbb\n")]
