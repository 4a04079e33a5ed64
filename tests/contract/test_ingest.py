"""The ingest before a real relay, with ffmpeg as the publisher: it stays while publishers come and go."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from streamsd.core.report import read_report
from streamsd.drivers.ffmpeg.render import handover
from tests.contract.media_room import PORTS, Room, ffmpeg, media_room, until
from tests.contract.obs_rig import free_port

KEY = "key-4711-geheim"


class Server:
    """An ingest in a room."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.port = free_port()
        (room.directory / "key").write_text(KEY)
        commands = [list(handover(ffmpeg(), PORTS, sound=sound)) for sound in (False, True)]
        argv = [sys.executable, "-m", "streamsd.programs.ingest", "--listen", f"127.0.0.1:{self.port}"]
        argv += ["--app", "live", "--key-file", "key", "--commands", json.dumps(commands), "--report", "ingest.json"]
        self.process = room.start(argv)
        until(lambda: self.reason() == "WaitingForPublisher", "it waits for a publisher")

    def reason(self) -> str:
        report = read_report(self.room.directory / "ingest.json")
        return report.reason if report else "none"

    def observed(self, key: str) -> object:
        report = read_report(self.room.directory / "ingest.json")
        return report.observed.get(key) if report else None

    def publish(self, *, key: str = KEY, app: str = "live", sound: bool = True) -> subprocess.Popen[bytes]:
        argv = [str(ffmpeg()), "-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=15"]
        if sound:
            argv += ["-re", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-c:a", "aac"]
        argv += ["-c:v", "libx264", "-preset", "medium", "-g", "15", "-pix_fmt", "yuv420p", "-f", "flv"]
        return self.room.start([*argv, f"rtmp://127.0.0.1:{self.port}/{app}/{key}"], log="publisher")


@pytest.fixture
def room() -> Iterator[Room]:
    with media_room() as made:
        yield made


@pytest.fixture
def server(room: Room) -> Server:
    return Server(room)


def test_publishers_come_and_go_and_time_goes_on(room: Room, server: Server) -> None:
    reader = room.read()
    first = server.publish()
    until(lambda: len(reader.times()) > 30, "frames come through")
    picture, sound = reader.nut.streams
    assert (picture.fourcc, picture.width, picture.height, sound.rate) == (b"H264", 160, 120, 48000)
    until(lambda: server.reason() == "", "nothing is wrong")
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: server.reason() == "WaitingForPublisher", "it waits again")
    seen = len(reader.times())
    server.publish()
    until(lambda: len(reader.times()) > seen + 30, "the second one's frames go on for the same reader")
    assert server.process.poll() is None
    assert server.observed("publishers_seen") == 2
    with av.open(io.BytesIO(bytes(reader.data)), format="nut") as container:
        found = [p.dts for p in container.demux(container.streams.video[0]) if p.dts is not None]
    assert all(before < after for before, after in itertools.pairwise(found))
    assert KEY not in room.log() + (room.directory / "ingest.json").read_text()
    assert not any(KEY in Path(f"/proc/{pid}/cmdline").read_text() for pid in _tree(server.process.pid))


def _tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(n for child in children for n in _tree(int(child)))]


def test_a_picture_without_sound_is_enough(room: Room, server: Server) -> None:
    reader = room.read()
    server.publish(sound=False)
    until(lambda: len(reader.times()) > 15, "frames come through")
    assert len(reader.nut.streams) == 1


def test_only_who_knows_the_key_may_publish_and_only_one(room: Room, server: Server) -> None:
    assert server.publish(key="guessed").wait(60) != 0
    assert server.publish(app="other").wait(60) != 0
    until(lambda: server.observed("refused") == 2, "both are counted")
    first = server.publish()
    until(lambda: server.reason() == "", "it publishes")
    until(lambda: bool(server.observed("published_frames")), "frames come")
    assert server.publish().wait(60) != 0
    assert first.poll() is None
    assert "publishes already" in room.log()


def test_many_who_say_nothing_keep_nobody_out(room: Room, server: Server) -> None:
    first = server.publish()
    until(lambda: bool(server.observed("published_frames")), "it publishes")
    with contextlib.ExitStack() as strangers:

        def crowd() -> list[socket.socket]:
            """From two addresses, more than all that are let in at once."""
            made = [
                socket.create_connection(("127.0.0.1", server.port), 30, (address, 0))
                for address in ("127.0.0.1", "127.0.0.2")
                for _ in range(12)
            ]
            return [strangers.enter_context(peer) for peer in made]

        old = crowd()[0]
        assert old.recv(1) == b"", "the oldest has made room"
        before = server.observed("published_frames")
        until(lambda: server.observed("published_frames") != before, "who publishes is not disturbed")
        crowd()
        assert server.publish().wait(60) != 0
        assert "publishes already" in room.log(), "a newcomer is listened to"
        first.terminate()
        until(lambda: server.reason() == "WaitingForPublisher", "it is gone")
        crowd()
        server.publish()
        until(lambda: server.observed("publishers_seen") == 2, "another one publishes at once")


def test_a_publisher_that_stands_still_gives_way(room: Room, server: Server) -> None:
    first = server.publish()
    reader = room.read()
    until(lambda: len(reader.times()) > 15, "frames come through")
    os.kill(first.pid, signal.SIGSTOP)
    until(lambda: server.reason() == "PublisherStalled", "it is told")
    seen = len(reader.times())
    server.publish()
    until(lambda: len(reader.times()) > seen + 15, "another one takes over")
    assert server.observed("publishers_seen") == 2


def test_nonsense_and_silence_harm_nobody(room: Room, server: Server) -> None:
    silent = socket.create_connection(("127.0.0.1", server.port))
    for data in (b"GET / HTTP/1.1\r\n\r\n" + b"x" * 2000, b"\x03" + os.urandom(3072) + os.urandom(4096)):
        with socket.create_connection(("127.0.0.1", server.port)) as rude:
            rude.settimeout(60)
            rude.sendall(data)
            while rude.recv(4096):
                pass
    server.publish()
    reader = room.read()
    until(lambda: len(reader.times()) > 15, "a publisher comes through all the same")
    silent.close()


def test_a_relay_that_starts_anew_is_found_again(room: Room, server: Server) -> None:
    publisher = server.publish()
    reader = room.read()
    until(lambda: len(reader.times()) > 15, "frames come through")
    room.relay.kill()
    room.relay.wait()
    room.start_relay()
    again = room.read()
    until(lambda: len(again.times()) > 15, "frames come through the new one")
    assert publisher.poll() is None
