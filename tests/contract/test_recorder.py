"""The recorder, held to what it promises: whole files only, nothing lost to a crash, a sick disk has a name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from streamsd.core.report import Report, read_report
from tests.contract.media_room import PATIENCE, Room, ffmpeg, media_room, until


@pytest.fixture
def room() -> Iterator[Room]:
    with media_room() as made:
        yield made


def record(room: Room, pattern: Path | str, *options: str, name: str = "rec") -> subprocess.Popen[bytes]:
    return room.start(
        [
            *(sys.executable, "-m", "streamsd.programs.recorder", "--ffmpeg", str(ffmpeg())),
            *("--source", "out.sock", "--path", str(pattern), "--segment", "1", "--name", name),
            *("--report", f"{name}.json", *options),
        ],
        log=f"{name}.log",
    )


def report(room: Room, name: str = "rec") -> Report:
    return read_report(room.directory / f"{name}.json") or Report(False, 0)


def recordings(root: Path) -> list[Path]:
    return sorted(p for p in root.rglob("*.mkv") if ".partial" not in p.parts)


def partial(root: Path) -> list[Path]:
    return sorted((root / ".partial").rglob("*.mkv"))


def pictures(path: Path) -> int:
    """How many decode, as an independent reader counts them. Every file begins with a keyframe."""
    with av.open(str(path)) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (160, 120)
        assert len(container.streams.audio) == 1
        return sum(1 for _ in container.decode(video=0))


def test_segments_appear_whole_and_under_their_names(room: Room) -> None:
    room.encode()
    root = room.directory / "rec"
    recorder = record(room, root / "%Y-%m-%d")
    until(lambda: len(recordings(root)) >= 2, "two segments are finished")
    until(lambda: report(room).ready, "it says that it records")
    recorder.terminate()
    assert recorder.wait(PATIENCE) == 0
    files = recordings(root)
    assert len(files) >= 2
    assert partial(root) == [], "the last one was finished too"
    assert files[0].parent.name == time.strftime("%Y-%m-%d", time.localtime(files[0].stat().st_mtime))
    counts = [pictures(path) for path in sorted(files, key=lambda path: path.stat().st_mtime_ns)]
    assert counts[:-1] == [15] * (len(counts) - 1), "each holds a second, from a keyframe to the next"
    with av.open(str(files[0])) as container:
        assert container.duration is not None, "a finished segment knows its length"


def test_what_was_written_is_there_after_a_kill(room: Room) -> None:
    room.encode()
    root = room.directory / "rec"
    recorder = record(room, root / "%H%M%S.mkv", "--segment", "600")
    until(lambda: bool(partial(root)) and partial(root)[0].stat().st_size > 30_000, "something is written")
    written = partial(root)[0]
    os.kill(recorder.pid, signal.SIGKILL)
    recorder.wait()
    until(lambda: not _writers(written), "its ffmpeg ended with it")
    assert pictures(written) > 10
    again = record(room, root / "%H%M%S.mkv", "--segment", "600")
    until(lambda: len(recordings(root)) == 1, "the next start finishes what was left")
    assert pictures(recordings(root)[0]) > 10
    until(lambda: bool(partial(root)), "and records on")
    again.terminate()
    assert again.wait(PATIENCE) == 0


def _writers(path: Path) -> list[str]:
    """Processes that have the file open."""
    found = []
    for fd in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if fd.readlink() == path and fd.parts[2] != str(os.getpid()):
                found.append(fd.parts[2])
        except OSError:
            continue
    return found


def test_it_waits_for_the_stream_and_outlives_the_encoder_and_its_own_ffmpeg(room: Room) -> None:
    root = room.directory / "rec"
    recorder = record(room, root)
    first = room.encode()
    until(lambda: len(recordings(root)) >= 1, "a segment is finished")
    first.kill()
    first.wait()
    room.encode(size="160x120", sound=True)
    have = len(recordings(root))
    until(lambda: len(recordings(root)) >= have + 2, "it records the new encoder")
    (child,) = _children(recorder.pid)
    os.kill(child, signal.SIGKILL)
    have = len(recordings(root))
    until(lambda: len(recordings(root)) >= have + 2, "it records on with another ffmpeg")
    assert recorder.poll() is None
    assert all(pictures(path) > 0 for path in recordings(root))


def _children(pid: int) -> list[int]:
    return [int(c) for t in Path(f"/proc/{pid}/task").iterdir() for c in (t / "children").read_text().split()]


def test_a_directory_that_vanishes_degrades_it_until_it_is_back(room: Room) -> None:
    room.encode()
    root = room.directory / "rec"
    recorder = record(room, root / "%Y-%m-%d")
    until(lambda: report(room).ready, "it records")
    root.rename(room.directory / "elsewhere")
    until(lambda: report(room).degraded and report(room).reason == "DirectoryMissing", "the fault has its name")
    assert not root.exists(), "it was not made anew: it may be a disk that was unmounted"
    root.mkdir()
    until(lambda: len(recordings(root)) >= 1 and report(room).ready, "it records again")
    assert recorder.poll() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk: needs root")
def test_a_full_disk_degrades_it_until_there_is_room(room: Room) -> None:
    disk = room.directory / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=800k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount")
    try:
        room.encode()
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(700_000))
        recorder = record(room, disk / "rec" / "%s.mkv")
        until(lambda: report(room).degraded and report(room).reason == "DiskFull", "the fault has its name")
        assert recorder.poll() is None
        ballast.unlink()
        until(lambda: report(room).reason != "DiskFull" and len(recordings(disk)) >= 1, "it records again")
        recorder.terminate()
        assert recorder.wait(PATIENCE) == 0
    finally:
        room.close()
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_is_not_writable_has_its_name(room: Room) -> None:
    root = room.directory / "rec"
    root.mkdir(mode=0o500)
    record(room, root / "%s.mkv")
    until(lambda: report(room).reason == "NotWritable", "the fault has its name")


def test_the_last_segment_is_finished_though_no_frame_comes_any_more(room: Room) -> None:
    encoder = room.encode()
    root = room.directory / "rec"
    recorder = record(room, root / "%s.mkv", "--segment", "600")
    until(lambda: bool(partial(root)) and partial(root)[0].stat().st_size > 30_000, "something is written")
    encoder.kill()
    encoder.wait()
    recorder.terminate()
    assert recorder.wait(PATIENCE) == 0
    (whole,) = recordings(root)
    with av.open(str(whole)) as container:
        assert container.duration, "it knows its length"


def test_a_relay_that_is_away_is_no_fault_of_the_disk(room: Room) -> None:
    room.relay.kill()
    room.relay.wait()
    recorder = record(room, room.directory / "rec")
    until(lambda: report(room).reason == "NoStream", "the fault has its name")
    room.relay = room.start_relay()
    room.encode()
    until(lambda: report(room).ready, "it records")
    recorder.terminate()
    assert recorder.wait(PATIENCE) == 0


def test_old_files_go_and_other_peoples_stay(room: Room) -> None:
    room.encode()
    root = room.directory / "rec"
    (root / "2001-01-01").mkdir(parents=True)
    old = root / "2001-01-01" / "10-00-00.mkv"
    other = root / "2001-01-01" / "holiday.mkv"
    elsewhere = root / "notes" / "10-00-00.mkv"
    elsewhere.parent.mkdir()
    for path in (old, other, elsewhere):
        path.write_bytes(b"x")
        os.utime(path, (1, 1))
    record(room, root / "%Y-%m-%d", "--keep", "3600")
    until(lambda: len(recordings(root)) >= 1 and not old.exists(), "the old one is gone")
    assert other.exists()
    assert elsewhere.exists()
