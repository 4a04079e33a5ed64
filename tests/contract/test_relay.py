"""The relay, held to what it promises: nothing is changed, nobody waits for anybody, time never goes back."""

from __future__ import annotations

import io
import itertools
import os
import signal
import subprocess
from collections.abc import Iterator

import av
import pytest

from streamsd.drivers.ffmpeg.media import Latency
from streamsd.programs.relay import nut
from streamsd.programs.relay.nut import StreamClass, StreamHeader
from tests.contract.media_room import PATIENCE, Room, encoder_command, ffmpeg, media_room, until

VIDEO = StreamHeader(StreamClass.VIDEO, b"H264", 1, 90_000, width=320, height=240)


@pytest.fixture
def room() -> Iterator[Room]:
    with media_room() as made:
        yield made


def nut_of(*options: str) -> bytes:
    """A second of video with B-frames, as ffmpeg's muxer writes it."""
    source = (*("-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25"), "-t", "1")
    return subprocess.run(
        [str(ffmpeg()), "-v", "error", "-nostdin", *source, *options, "-f", "nut", "-"],
        capture_output=True,
        check=True,
    ).stdout


def packets(data: bytes) -> list[tuple[bytes, int | None, bool]]:
    """Payload, dts and key flag of each packet, as an independent reader finds them."""
    with av.open(io.BytesIO(data), format="nut") as container:
        return [(bytes(p), p.dts, p.is_keyframe) for p in container.demux() if p.size]


@pytest.mark.parametrize(
    "muxer", [("-syncpoints", "none", "-f_strict", "experimental"), ("-syncpoints", "default")], ids=["pipe", "sync"]
)
def test_every_frame_leaves_as_it_came(room: Room, muxer: tuple[str, ...]) -> None:
    sent = nut_of("-c:v", "libx264", "-preset", "medium", "-g", "10", *muxer)
    reader = room.read()
    room.send(sent).close()
    expected = packets(sent)
    until(lambda: len(reader.frames) == len(expected), "all frames came through")
    got = packets(bytes(reader.data))
    assert [(data, key) for data, _, key in got] == [(data, key) for data, _, key in expected]
    times = [dts for _, dts, _ in got if dts is not None]
    assert all(before < after for before, after in itertools.pairwise(times))
    with av.open(io.BytesIO(bytes(reader.data)), format="nut") as container:
        assert sum(1 for _ in container.decode(video=0)) == len(expected)


def test_a_joiner_starts_at_once_with_the_last_keyframe(room: Room) -> None:
    parts = [nut.frame(0, number * 3000, number % 50 == 0, bytes([number]) * 100) for number in range(120)]
    sock = room.send(nut.preamble([VIDEO]) + b"".join(parts))
    early = room.read()
    until(lambda: len(early.frames) >= 20, "the joiner got the running group of pictures")
    until(lambda: room.observed("out_time_s") == pytest.approx(119 / 30, abs=0.01), "the relay has them all")
    late = room.read()
    until(lambda: len(late.frames) == 20, "the joiner got the running group of pictures")
    assert late.frames[0].key
    assert [f.payload[0] for f in late.frames] == list(range(100, 120))
    sock.close()


def test_a_stalled_reader_costs_nobody_else_anything(room: Room) -> None:
    stalled = subprocess.Popen(
        [str(ffmpeg()), "-v", "error", "-nostdin", "-f", "nut", "-i", "unix:out.sock", "-f", "null", "-"],
        cwd=room.directory,
    )
    room.processes.append(stalled)
    sock = room.send(nut.preamble([VIDEO]) + nut.frame(0, 0, True, b"first"))
    until(lambda: room.observed("clients") == 1, "the reader is there")
    os.kill(stalled.pid, signal.SIGSTOP)
    good = room.read()
    until(lambda: len(good.frames) == 1, "the other reader is there")
    count = 300  # of 256 KB: more than a queue holds
    for number in range(1, count + 1):
        sock.sendall(nut.frame(0, number * 3000, number % 10 == 0, number.to_bytes(4) * (1 << 16)))
        until(lambda number=number: len(good.frames) >= number - 60, "the good reader keeps up")
    until(lambda: len(good.frames) == count + 1, "the good reader has all of them")
    assert [f.payload[:4] for f in good.frames[1:]] == [n.to_bytes(4) for n in range(1, count + 1)]
    until(lambda: bool(room.observed("dropped_for_clients")), "what the stalled one lost is counted")
    os.kill(stalled.pid, signal.SIGKILL)
    until(lambda: room.observed("clients") == 1, "the stalled one is let go")
    sock.close()


def test_a_killed_encoder_is_spliced(room: Room) -> None:
    first = room.encode()
    reader = room.read()
    until(lambda: len(reader.times(0)) >= 20 and len(reader.times(1)) >= 20, "both streams flow")
    first.kill()
    first.wait()
    before = len(reader.times(0)), len(reader.times(1))
    room.encode(bitrate="100k")
    until(
        lambda: len(reader.times(0)) > before[0] + 20 and len(reader.times(1)) > before[1] + 20,
        "both streams flow again, on the same connection",
    )
    assert not reader.ended
    for stream in (0, 1):
        times = reader.times(stream)
        assert all(earlier < later for earlier, later in itertools.pairwise(times))
    jumps = [
        later
        for earlier, later in itertools.pairwise(f for f in reader.frames if f.stream == 0)
        if later.pts - earlier.pts > 90_000 // 15 * 1.5
    ]
    assert all(frame.key for frame in jumps), "after a gap comes a keyframe"
    until(lambda: room.observed("encoders_seen") == 2, "both encoders are counted")
    with av.open(io.BytesIO(bytes(reader.data)), format="nut") as container:
        assert sum(1 for _ in container.decode(video=0)) >= before[0] + 20


def test_sound_and_picture_begin_together(room: Room) -> None:
    room.encode()
    reader = room.read()
    until(lambda: len(reader.times(0)) >= 15 and len(reader.times(1)) >= 15, "both streams flow")
    assert [h.kind for h in reader.nut.streams] == [StreamClass.VIDEO, StreamClass.AUDIO]
    # AAC begins with 1024 samples of priming before the first picture.
    assert abs(reader.times(0)[0] - reader.times(1)[0]) < 0.1


def test_another_size_or_sound_ends_readers_so_that_they_come_back_for_it(room: Room) -> None:
    small = room.encode(size="160x120", sound=True)
    reader = room.read()
    until(lambda: len(reader.frames) >= 10, "frames flow")
    small.kill()
    small.wait()
    large = room.encode(size="320x240", sound=True)
    until(lambda: reader.ended, "the reader's connection ended")
    reader = room.read()
    until(lambda: len(reader.frames) >= 10, "frames flow")
    assert (reader.nut.streams[0].width, reader.nut.streams[0].height) == (320, 240)
    large.kill()
    large.wait()
    room.encode(size="320x240", sound=False)
    until(lambda: reader.ended, "the reader's connection ended")
    reader = room.read()
    until(lambda: len(reader.frames) >= 10, "frames flow")
    assert len(reader.nut.streams) == 1


def test_a_newer_encoder_takes_over(room: Room) -> None:
    old = room.encode()
    reader = room.read()
    until(lambda: len(reader.frames) >= 10, "frames flow")
    room.encode()
    until(lambda: room.observed("encoders_seen") == 2, "the new one took over")
    assert old.wait(PATIENCE) != 0, "the old one is cut off"
    assert not reader.ended


def test_progress_is_kept_as_its_newest_block(room: Room) -> None:
    room.encode()
    progress = room.directory / "progress"
    until(lambda: progress.exists() and progress.read_text().count("frame=") == 1, "a block is there")
    first = progress.read_text()
    until(lambda: progress.read_text() != first, "a newer block replaced it")
    assert progress.read_text().splitlines()[-1] == "progress=continue"
    until(lambda: room.observed("speed") is not None, "the report has its figures")


def test_what_is_not_nut_is_turned_away(room: Room) -> None:
    with room.send(b"GET / HTTP/1.1\r\n\r\n") as sock:
        assert sock.recv(1) == b""
    room.encode(sound=False)
    reader = room.read()
    until(lambda: len(reader.frames) >= 5, "frames flow")


def test_it_says_whether_frames_advance(room: Room) -> None:
    report = room.report()
    assert report is not None
    assert (report.ready, report.reason) == (False, "NoEncoder")
    encoder = room.encode(sound=False)
    until(lambda: (r := room.report()) is not None and r.ready, "ready")
    os.kill(encoder.pid, signal.SIGSTOP)
    until(lambda: (r := room.report()) is not None and r.reason == "Stalled", "a stalled encoder is seen")
    os.kill(encoder.pid, signal.SIGCONT)
    until(lambda: (r := room.report()) is not None and r.ready, "ready again")


def test_it_ends_when_asked_and_readers_get_what_was_sent(room: Room) -> None:
    sent = nut_of("-c:v", "libx264", "-g", "10")
    reader = room.read()
    sock = room.send(sent)
    until(lambda: len(reader.frames) == 25, "all frames came through")
    room.relay.terminate()
    assert room.relay.wait(PATIENCE) == 0
    until(lambda: reader.ended, "the reader got the end")
    assert not (room.directory / "out.sock").exists()
    sock.close()


def test_b_frames_and_look_ahead_go_through(room: Room) -> None:
    room.start(encoder_command(latency=Latency.QUALITY, gop=1))
    reader = room.read()
    until(lambda: len(reader.times(0)) >= 45, "frames flow")
    reader.leave()
    with av.open(io.BytesIO(bytes(reader.data)), format="nut") as container:
        shown = [frame.pts for frame in container.decode(video=0)]
    assert len(shown) >= 30
    assert shown == sorted(shown)
