"""ffmpeg's command lines, word for word: one file a case. STREAMSD_UPDATE_GOLDEN=1 writes them anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamsd.core.units import Bitrate, Resolution
from streamsd.drivers.ffmpeg import render
from streamsd.drivers.ffmpeg.media import (
    AudioEncoding,
    FileSource,
    Latency,
    PulseSource,
    ScreenSource,
    TestPattern,
    ToneSource,
    VideoEncoding,
)

FFMPEG = Path("/opt/ffmpeg")
PORTS = render.RelayPorts("video.in", "audio.in", "progress.sock")
SOUND = AudioEncoding(Bitrate(128_000), 48_000, 2)


def picture(
    latency: Latency = Latency.LOW, fps: float | None = 30, size: Resolution | None = None, gop: float = 1
) -> VideoEncoding:
    return VideoEncoding(Bitrate(4_500_000), "superfast", "high", latency, gop, fps, size)


CASES = {
    "pattern-tone": render.encoder(
        FFMPEG, TestPattern("testsrc2", Resolution(1280, 720), 30), picture(), (ToneSource(440), SOUND), PORTS
    ),
    "pattern-silent-quality": render.encoder(
        FFMPEG,
        TestPattern("smptebars", Resolution(640, 360), 29.97),
        picture(Latency.QUALITY, 29.97, gop=4),
        None,
        PORTS,
    ),
    "screen-device": render.encoder(
        FFMPEG,
        ScreenSource(":107", 0, 0, Resolution(1921, 1081), 30, True),
        picture(),
        (PulseSource("unix:/run/native", "music.monitor"), SOUND),
        PORTS,
    ),
    "region-scaled": render.encoder(
        FFMPEG,
        ScreenSource(":107", 100, 50, Resolution(800, 600), 15, False),
        picture(fps=15, size=Resolution(400, 300)),
        None,
        PORTS,
    ),
    "window-normal": render.encoder(
        FFMPEG,
        ScreenSource(":107", 0, 0, Resolution(1280, 720), 30, True, "{window}"),
        picture(Latency.NORMAL, gop=2),
        None,
        PORTS,
    ),
    "file-looped-own-rate": render.encoder(
        FFMPEG,
        FileSource(Path("/media/a film.mp4"), True),
        picture(fps=None),
        (FileSource(Path("/media/a film.mp4"), True), SOUND),
        PORTS,
    ),
    "file-once-other-sound": render.encoder(
        FFMPEG,
        FileSource(Path("/media/a.mp4"), False),
        picture(fps=25),
        (FileSource(Path("/media/b.flac"), True), SOUND),
        PORTS,
    ),
    "hls": render.hls(FFMPEG, "unix:out.sock", Path("/srv/50%/index.m3u8"), segment_seconds=1, window_seconds=10),
    "try-encoder": render.try_encoder(FFMPEG, "libx264"),
}


@pytest.mark.parametrize("name", CASES)
def test_command(name: str) -> None:
    """One word a line, an option with its value on one."""
    lines: list[str] = []
    for word in CASES[name]:
        if lines and lines[-1].startswith("-") and " " not in lines[-1] and not word.startswith("-"):
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    text = "\n".join(lines) + "\n"
    golden = Path(__file__).parent / f"{name}.txt"
    if os.environ.get("STREAMSD_UPDATE_GOLDEN") == "1":
        golden.write_text(text)
    assert text == golden.read_text()
