"""The real ffmpeg takes what is rendered for it, and what leaves is what was asked for."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from streamsd.core.units import Bitrate, Resolution
from streamsd.drivers.ffmpeg import render
from streamsd.drivers.ffmpeg.capabilities import encoder_works, version
from streamsd.drivers.ffmpeg.media import Latency, ScreenSource, VideoEncoding
from streamsd.drivers.x11.numbers import server_of
from tests.contract.media_room import PORTS, Reader, Room, encoder_command, ffmpeg, media_room, until
from tests.programs_needed import need

RED, GREEN, BLUE = (200, 40, 40), (40, 180, 60), (50, 60, 220)


@pytest.fixture
def room() -> Iterator[Room]:
    with media_room() as made:
        yield made


def test_its_version_and_encoders_are_probed() -> None:
    assert version(ffmpeg())[0].isdigit()
    assert encoder_works(ffmpeg(), "libx264")
    assert not encoder_works(ffmpeg(), "no_such_encoder")
    assert not encoder_works(Path("/nonexistent/ffmpeg"), "libx264")
    assert version(Path("/nonexistent/ffmpeg")) == ""


def open_nut(reader: Reader) -> av.container.InputContainer:
    return av.open(io.BytesIO(bytes(reader.data)), format="nut")


@pytest.mark.parametrize("latency", list(Latency))
def test_each_latency_leaves_with_keyframes_as_asked_and_says_its_colours(room: Room, latency: Latency) -> None:
    room.start(encoder_command(latency=latency, fps=15, gop=1, sound=False))
    reader = room.read()
    until(lambda: sum(frame.key for frame in list(reader.frames)) >= 3, "three groups of pictures")
    keys = [n for n, frame in enumerate(reader.frames) if frame.key]
    assert {b - a for a, b in zip(keys, keys[1:], strict=False)} == {15}
    with open_nut(reader) as container:
        stream = container.streams.video[0]
        next(container.decode(stream))
        context = stream.codec_context
        assert (context.width, context.height, context.pix_fmt) == (160, 120, "yuv420p")
        # ITU-T H.273: 1 is BT.709; range 1 is limited.
        assert (context.color_primaries, context.color_trc, context.colorspace, context.color_range) == (1, 1, 1, 1)
        # The preset of these tests has none of its own, which is all that QUALITY takes.
        assert bool(context.has_b_frames) == (latency is Latency.NORMAL)


def test_hls_is_packaged_and_goes_on_after_a_restart(room: Room) -> None:
    room.encode(size="320x240", fps=15)
    web = room.directory / "50%"
    web.mkdir()
    playlist = web / "index.m3u8"
    argv = render.hls(ffmpeg(), "unix:out.sock", playlist, segment_seconds=1, window_seconds=20)

    def segments() -> list[str]:
        text = playlist.read_text() if playlist.exists() else ""
        return [line for line in text.splitlines() if line and not line.startswith("#")]

    first = room.start(argv)
    until(lambda: len(segments()) >= 2, "two segments")
    first.send_signal(2)
    first.wait()
    had = segments()
    assert "#EXT-X-ENDLIST" not in playlist.read_text(), "viewers would stop asking"
    room.start(argv)
    until(lambda: len(segments()) >= len(had) + 3, "it goes on")
    assert segments()[: len(had)] == had
    assert len(set(segments())) == len(segments())
    assert "#EXT-X-DISCONTINUITY" in playlist.read_text()
    with av.open(str(playlist)) as container:
        video = container.streams.video[0]
        assert (video.width, video.height) == (320, 240)
        assert len(container.streams.audio) == 1
        pictures = [frame for _, frame in zip(range(45), container.decode(video), strict=False)]
        assert float(video.average_rate or 0) == pytest.approx(15, rel=0.1)
    assert len(pictures) == 45


class Screen:
    """An X server with a plain background, drawn on through python-xlib."""

    def __init__(self, size: str) -> None:
        program = need("Xvfb")
        number = next(n for _ in range(1000) if server_of(n := random.randrange(20_000, 50_000)) is None)
        self.name = f":{number}"
        self.process = subprocess.Popen(
            [program, self.name, "-screen", "0", f"{size}x24", "-nolisten", "tcp", "-noreset"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.display = self._connect()
        self.root = self.display.screen().root

    def _connect(self):  # type: ignore[no-untyped-def]  # python-xlib has no types
        from Xlib import display, error

        found = []

        def connect() -> bool:
            assert self.process.poll() is None, "Xvfb ended"
            try:
                found.append(display.Display(self.name))
            except (error.DisplayError, OSError):
                return False
            return True

        until(connect, "Xvfb answers")
        return found[0]

    def paint(self, colour: tuple[int, int, int]) -> None:
        self.root.change_attributes(background_pixel=_pixel(colour))
        self.root.clear_area(0, 0, 0, 0)
        self.display.sync()

    def window(self, title: str, colour: tuple[int, int, int], x: int, y: int, width: int, height: int):  # type: ignore[no-untyped-def]
        made = self.root.create_window(x, y, width, height, 0, 24, background_pixel=_pixel(colour))
        made.set_wm_name(title)
        made.set_wm_class("thing", "Thing")
        made.map()
        self.display.sync()
        return made

    def close(self) -> None:
        self.display.close()
        self.process.kill()
        self.process.wait()


def _pixel(colour: tuple[int, int, int]) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]


@pytest.fixture
def screen() -> Iterator[Screen]:
    made = Screen("321x241")
    try:
        yield made
    finally:
        made.close()


def grab(screen: Screen, **changes: object) -> tuple[str, ...]:
    source = ScreenSource(screen.name, 0, 0, Resolution(321, 241), 10, False)
    source = ScreenSource(**{**{f: getattr(source, f) for f in source.__slots__}, **changes})  # type: ignore[arg-type]
    encoding = VideoEncoding(Bitrate(1_000_000), "ultrafast", "high", Latency.LOW, 1, 10, None)
    return render.encoder(ffmpeg(), source, encoding, None, PORTS)


def colour(reader: Reader, x: int, y: int) -> tuple[tuple[int, int], tuple[int, ...]]:
    """Size of the newest picture, and its pixel there as a BT.709 player shows it."""
    until(lambda: len(reader.frames) >= 5, "frames flow")
    with open_nut(reader) as container:
        frame = list(container.decode(video=0))[-1]
    plane = frame.reformat(format="rgb24", src_colorspace="ITU709", dst_colorspace="ITU709").planes[0]
    at = y * plane.line_size + 3 * x
    return (frame.width, frame.height), tuple(bytes(plane)[at : at + 3])


@pytest.mark.parametrize("painted", [RED, GREEN, BLUE])
def test_a_screen_keeps_its_colours_and_is_cut_to_an_even_size(
    room: Room, screen: Screen, painted: tuple[int, int, int]
) -> None:
    screen.paint(painted)
    room.start(grab(screen))
    size, seen = colour(room.read(), 100, 100)
    assert size == (320, 240)
    assert seen == pytest.approx(painted, abs=6)


def test_a_region_is_the_part_that_was_asked_for(room: Room, screen: Screen) -> None:
    screen.paint(RED)
    screen.window("a", BLUE, 40, 30, 100, 80)
    room.start(grab(screen, x=40, y=30, resolution=Resolution(100, 80)))
    size, seen = colour(room.read(), 1, 1)
    assert size == (100, 80)
    assert seen == pytest.approx(BLUE, abs=6)


def test_a_window_is_waited_for_and_captured_by_the_same_process(room: Room, screen: Screen) -> None:
    screen.paint(RED)
    launcher = [
        *(sys.executable, "-m", "streamsd.programs.x11window", "--display", screen.name),
        *("--title", "THE window", "--class", "thing", "--report", "window.json", "--"),
    ]
    process = room.start([*launcher, *grab(screen, window="{window}")])
    report = room.directory / "window.json"
    until(lambda: report.exists() or process.poll() is not None, "it waits")
    assert process.poll() is None, room.log()
    screen.window("another one", GREEN, 200, 100, 50, 50)
    screen.window("This is the window", BLUE, 10, 10, 120, 90)
    size, seen = colour(room.read(), 60, 45)
    assert size == (120, 90)
    assert seen == pytest.approx(BLUE, abs=6)
    assert not report.exists()
    assert os.readlink(f"/proc/{process.pid}/exe") == str(ffmpeg().resolve())
