"""Streams with the real ffmpeg: what an edit touches, what a fault leaves alone, what can be watched."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.host import Host
from tests.programs_needed import need, need_module

STREAM = """
    version: 1
    servers:
      web: {listen: "127.0.0.1:PORT"}
    streams:
      bars:
        description: for tests
        video: {source: {test: {pattern: testsrc2, resolution: 320x240}}, fps: 15, bitrate: 300k, preset: ultrafast}
        destinations:
          web: {hls: {server: web, latency: low}}
          archive: {record: {path: "recordings/%H%M%S.mkv", segment: 3s}}
"""


@pytest.fixture(autouse=True)
def _modules() -> None:
    need_module("av")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write(host: Host) -> int:
    port = free_port()
    host.write(STREAM.replace("PORT", str(port)))
    return port


def record_size(path: Path) -> tuple[int, int]:
    import av

    with av.open(str(path)) as container:
        return container.streams.video[0].width, container.streams.video[0].height


def changed(before: dict[str, int], after: dict[str, int]) -> set[str]:
    return {
        unit.removeprefix("Stream/bars/")
        for unit in before.keys() | after.keys()
        if before.get(unit) != after.get(unit)
    }


def test_a_stream_is_ready_when_frames_advance_and_can_be_watched(host: Host) -> None:
    import av

    port = write(host)
    host.up()
    host.converged(1)
    seen = host.until(lambda: host.resource("Stream/bars")["observed"].get("fps"), "frames are counted")
    assert seen > 5
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/bars/web/index.m3u8", timeout=20) as answer:
        assert answer.read().startswith(b"#EXTM3U")
    with av.open(f"http://127.0.0.1:{port}/bars/web/index.m3u8") as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (320, 240)
        times = [
            float(frame.pts * stream.time_base) for _, frame in zip(range(20), container.decode(stream), strict=False)
        ]
    steps = [b - a for a, b in zip(times, times[1:], strict=False)]
    assert sum(steps) / len(steps) == pytest.approx(1 / 15, abs=0.005)
    files = host.until(lambda: sorted((host.directory / "recordings").glob("*.mkv")), "a segment is whole")
    with av.open(str(files[0])) as container:
        frames = [f for packet in container.demux(container.streams.video[0]) for f in packet.decode()]
        assert len(frames) == pytest.approx(45, abs=16)
        assert container.streams.video[0].width == 320


def test_an_edit_restarts_only_what_it_names(host: Host) -> None:
    write(host)
    host.up()
    host.converged(1)
    first = host.pids()
    host.edit("bitrate: 300k", "bitrate: 250k")
    host.converged(2)
    second = host.pids()
    assert changed(first, second) == {"encoder"}
    host.edit("recordings/%H%M%S.mkv", "elsewhere/%H%M%S.mkv")
    host.converged(3)
    third = host.pids()
    assert changed(second, third) == {"destination.archive"}
    host.edit("description: for tests", "description: for people")
    host.converged(4)
    assert changed(third, host.pids()) == set()
    host.edit("preset: ultrafast}", "preset: ultrafast}\n        # a comment")
    host.until(lambda: not host.status()["problems"], "the comment is read")
    assert host.cli("plan").returncode == 0
    assert changed(third, host.pids()) == set()


def test_a_destination_comes_and_goes_without_the_others(host: Host) -> None:
    write(host)
    host.up()
    host.converged(1)
    first = host.pids()
    host.edit("archive: {record", 'second: {record: {path: "second/%H%M%S.mkv", segment: 2s}}\n      archive: {record')
    host.converged(2)
    second = host.pids()
    assert changed(first, second) == {"destination.second"}
    host.until(lambda: list((host.directory / "second").glob("*.mkv")), "it records")
    host.edit('second: {record: {path: "second/%H%M%S.mkv", segment: 2s}}\n', "\n")
    host.converged(3)
    assert changed(first, host.pids()) == set()


def test_a_killed_encoder_comes_back_and_its_destinations_go_on(host: Host) -> None:
    import av

    write(host)
    host.up()
    host.converged(1)
    before = host.pids()
    host.until(lambda: host.resource("Stream/bars")["observed"].get("fps"), "frames flow")
    os.kill(before["Stream/bars/encoder"], signal.SIGKILL)
    host.until(
        lambda: host.pids().get("Stream/bars/encoder", 0) not in (0, before["Stream/bars/encoder"]), "it is back"
    )
    host.converged(1)
    assert changed(before, host.pids()) == {"encoder"}
    whole = host.until(
        lambda: sorted((host.directory / "recordings").glob("*.mkv"))[2:], "segments go on after the splice", within=90
    )
    for path in sorted(whole[0].parent.glob("*.mkv")):
        with av.open(str(path)) as container:
            stamps = [p.dts for p in container.demux(container.streams.video[0]) if p.dts is not None]
        assert stamps == sorted(set(stamps)), path


def test_a_frozen_encoder_is_replaced(host: Host) -> None:
    write(host)
    host.up()
    host.converged(1)
    before = host.pids()
    os.kill(before["Stream/bars/encoder"], signal.SIGSTOP)
    host.until(
        lambda: host.pids().get("Stream/bars/encoder", 0) not in (0, before["Stream/bars/encoder"]),
        "it is replaced",
        90,
    )
    host.converged(1)
    assert changed(before, host.pids()) == {"encoder"}
    assert any("live" in e["why"] for e in host.events("process-replaced", "Stream/bars"))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_full_disk_degrades_its_destination_alone(host: Host) -> None:
    small = host.directory / "small"
    small.mkdir()
    mount = shutil.which("mount")
    done = subprocess.run([str(mount), "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(small)], capture_output=True)
    if done.returncode:
        pytest.skip("no tmpfs may be mounted here")
    try:
        write(host)
        host.edit("recordings/%H%M%S.mkv", "small/%H%M%S.mkv")
        host.up()
        found = host.until(
            lambda: (
                (c := host.condition("Stream/bars", "Degraded"))["status"] == "True" and "DiskFull" in c["reason"] and c
            ),
            "the full disk is told",
            within=90,
        )
        assert "archive" in found["message"]
        assert host.resource("Stream/bars")["ready"]
        with urllib.request.urlopen(_playlist(host), timeout=20) as answer:
            assert b".m4s" in answer.read()
    finally:
        host.cli("down")
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_a_vanished_directory_degrades_its_destination_alone(host: Host) -> None:
    write(host)
    host.up()
    host.converged(1)
    before = host.pids()
    recordings = host.directory / "recordings"
    host.until(lambda: list(recordings.glob("*.mkv")), "it records")
    shutil.rmtree(recordings)
    recordings.write_text("in the way")
    host.until(lambda: host.condition("Stream/bars", "Degraded")["status"] == "True", "it is told", within=90)
    assert host.resource("Stream/bars")["ready"]
    recordings.unlink()
    recordings.mkdir()  # the recorder does not: what vanished may have been the mount of a disk
    host.until(lambda: host.condition("Stream/bars", "Degraded")["status"] == "False", "it is whole again", within=90)
    host.until(lambda: list(recordings.glob("*.mkv")), "it records again", within=90)
    after = host.pids()
    assert {"encoder", "relay", "destination.web"}.isdisjoint(changed(before, after))


def _playlist(host: Host) -> str:
    url = host.resource("Server/web")["observed"]["url"]
    return f"{url}/bars/web/index.m3u8"


def test_a_display_that_is_resized_while_it_is_recorded(host: Host) -> None:
    need("Xvfb")
    host.write("""
        version: 1
        displays:
          desk: {resolution: 640x480, max_resolution: 1280x720}
        streams:
          desk:
            video: {source: {display: desk, fps: 10}, bitrate: 300k, preset: ultrafast}
            destinations:
              archive: {record: {path: "recordings/%H%M%S.mkv", segment: 2s}}
    """)
    host.up()
    host.converged(1)
    recordings: Path = host.directory / "recordings"

    def sizes() -> set[tuple[int, int]]:
        return {record_size(path) for path in recordings.glob("*.mkv")}

    host.until(lambda: (640, 480) in sizes(), "it records")
    before = host.pids()
    host.edit("resolution: 640x480", "resolution: 480x320")
    host.converged(2)
    after = host.pids()
    assert before["Display/desk/server"] == after["Display/desk/server"]
    assert before["Stream/desk/encoder"] != after["Stream/desk/encoder"]
    host.until(lambda: (480, 320) in sizes(), "the new size is recorded", within=90)
