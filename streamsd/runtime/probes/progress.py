"""What ffmpeg says of its progress in the file that `-progress file:PATH -stats_period 0.5` names.

ffmpeg appends a block of `key=value` lines each period, for ever, each ended by `progress=continue` (or `end`). Only
the end of the file is read, and the disk before it is given back: the file's length grows, what it occupies does not.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from streamsd.core.report import JsonValue
from streamsd.runtime.probes.answer import Answer, Movement
from streamsd.runtime.probes.processes import is_of

_TAIL = 4096
"""Bytes read from the end. A block of one output is about 250 bytes, and 20 more for each further stream."""
_OCCUPIED = 1 << 20
_BLOCK = 4096
_KEEP_SIZE, _PUNCH_HOLE = 1, 2  # linux/falloc.h


@dataclass(frozen=True, slots=True)
class Progress:
    """One block. None where ffmpeg says N/A or nothing (no `frame` without video). `speed`: 1.0 is real time."""

    frame: int | None = None
    fps: float | None = None
    bitrate_kbps: float | None = None
    total_bytes: int | None = None
    out_time_us: int | None = None
    dup_frames: int | None = None
    drop_frames: int | None = None
    speed: float | None = None
    ended: bool = False

    @property
    def mark(self) -> int:
        """What moves on while it works: frames, else microseconds of sound. 0 before the first."""
        return max(0, (self.out_time_us or 0) if self.frame is None else self.frame)

    def observed(self) -> dict[str, JsonValue]:
        """The figures that are known, under their own names."""
        figures: dict[str, JsonValue] = {
            "frame": self.frame,
            "fps": self.fps,
            "bitrate_kbps": self.bitrate_kbps,
            "total_bytes": self.total_bytes,
            "out_time_us": self.out_time_us,
            "dup_frames": self.dup_frames,
            "drop_frames": self.drop_frames,
            "speed": self.speed,
        }
        return {name: value for name, value in figures.items() if value is not None}


def read_progress(path: Path) -> Progress | None:
    """The newest whole block, or None where there is none (yet)."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL))
            return parse(file.read(_TAIL))
    except OSError:
        return None


def parse(tail: bytes) -> Progress | None:
    """The last whole block in the end of a progress file; None when it holds none."""
    lines = tail.decode("utf-8", "replace").split("\n")[:-1]  # a line without its newline is half written
    block: dict[str, str] = {}
    for line in reversed(lines):
        key, equals, value = line.partition("=")
        if key == "progress" and block:
            break
        if equals and (block or key == "progress"):
            block[key.strip()] = value.strip()
    if not block:
        return None
    return Progress(
        frame=_whole(block.get("frame")),
        fps=_number(block.get("fps")),
        bitrate_kbps=_number(block.get("bitrate", "").removesuffix("kbits/s")),
        total_bytes=_whole(block.get("total_size")),
        out_time_us=_whole(block.get("out_time_us")),
        dup_frames=_whole(block.get("dup_frames")),
        drop_frames=_whole(block.get("drop_frames")),
        speed=_number(block.get("speed", "").removesuffix("x")),
        ended=block["progress"] == "end",
    )


def _whole(text: str | None) -> int | None:
    number = _number(text)
    return None if number is None else int(number)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None  # N/A


def give_back(path: Path) -> None:
    """Give the disk before the end of a progress file back, once it occupies more than 1 MB. ffmpeg goes on writing
    where it is; where the file system cannot punch holes, nothing happens."""
    with suppress(OSError):
        status = path.stat()
        if status.st_blocks * 512 <= _OCCUPIED:
            return
        end = (status.st_size - 2 * _TAIL) // _BLOCK * _BLOCK
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            libc.fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(end))
        finally:
            os.close(fd)


class Advances:
    """Frames (or sound) move on; at first: there are some, and they are this process's own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._movement = Movement()

    async def put(self, pid: int) -> Answer:
        progress = read_progress(self._path)
        if progress is None:
            return Answer(False, "no progress yet")
        give_back(self._path)
        observed = progress.observed()
        if progress.mark == 0 or (self._movement.first and not is_of(pid, self._path.stat().st_mtime)):
            return Answer(False, "no frame yet", observed)
        if self._movement.moves(progress.mark):
            return Answer(True, "advances", observed)
        what = "frame" if progress.frame is not None else "time"
        return Answer(False, f"no new {what} for {self._movement.still():.0f}s", observed)
