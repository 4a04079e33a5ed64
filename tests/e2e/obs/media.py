"""What is in a file that OBS recorded or a server received; it may still be growing."""

from __future__ import annotations

import array
import math
import subprocess
from dataclasses import dataclass
from pathlib import Path

import av
import imageio_ffmpeg

NOT_YET = (av.error.FFmpegError, IndexError)
"""What a file raises that has just been begun."""


@dataclass(frozen=True)
class Picture:
    """`size` of the picture; `declared_kbps`: the bit rate that the header tells; `times`: seconds of each packet."""

    size: tuple[int, int]
    declared_kbps: float
    times: tuple[float, ...]

    @property
    def longest_gap(self) -> float:
        return max((b - a for a, b in zip(self.times, self.times[1:], strict=False)), default=0.0)


def picture(path: Path) -> Picture:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        times = [float(p.dts * stream.time_base) for p in container.demux(stream) if p.dts is not None]
        return Picture((stream.width, stream.height), (stream.bit_rate or 0) / 1000, tuple(times))


def last_pixel(path: Path, x: int, y: int) -> tuple[int, ...]:
    """Of the last whole picture."""
    last = None
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.video[0]):
            last = frame
    if last is None:
        return (-1, -1, -1)
    plane = last.reformat(format="rgb24").planes[0]
    start = y * plane.line_size + 3 * x
    return tuple(bytes(plane)[start : start + 3])


def loudness(path: Path, hertz: float, seconds: float = 1.0) -> float:
    """How loud one tone is in the last seconds of the sound, in dB below full scale; -120 for silence.

    Goertzel's algorithm over the mono mix: other tones a whole number of periods apart do not count.
    """
    samples = array.array("f")
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        rate = stream.rate
        mono = av.AudioResampler(format="flt", layout="mono", rate=rate)
        for frame in container.decode(stream):
            for part in mono.resample(frame):
                samples.frombytes(bytes(part.planes[0])[: part.samples * 4])
    wanted = round(seconds * rate)
    part = samples[-wanted:]
    if len(part) < wanted:
        return -120.0
    turn = 2 * math.pi * hertz / rate
    factor = 2 * math.cos(turn)
    before, last = 0.0, 0.0
    for sample in part:
        before, last = last, sample + factor * last - before
    power = max(before * before + last * last - factor * before * last, 0.0)
    amplitude = 2 * math.sqrt(power) / wanted
    return max(-120.0, 20 * math.log10(amplitude)) if amplitude > 0 else -120.0


def picture_file(path: Path, size: str = "32x32", color: str = "red") -> None:
    """Make a picture of one colour."""
    source = ["-f", "lavfi", "-i", f"color={color}:s={size}", "-frames:v", "1", "-y", str(path)]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *source], check=True, timeout=60)
