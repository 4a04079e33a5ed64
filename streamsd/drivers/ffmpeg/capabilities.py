"""What the ffmpeg on this host can do: probed, never assumed."""

from __future__ import annotations

import subprocess
from functools import lru_cache
from pathlib import Path

from streamsd.drivers.ffmpeg.render import try_encoder

_SECONDS = 15.0

ENCODERS = {"h264": "libx264", "aac": "aac"}
"""Codec to the encoder that we use for it."""


def bundled() -> Path | None:
    """The ffmpeg that came with streamsd; None where its wheel has none for this platform."""
    import imageio_ffmpeg  # slow to import, and needed by few commands

    try:
        return Path(imageio_ffmpeg.get_ffmpeg_exe())  # type: ignore[attr-defined,no-untyped-call]  # untyped
    except RuntimeError:
        return None


def version(program: Path) -> str:
    """Its version as it says it, such as `9.0.2`; empty when it does not run."""
    return _version(program, _stamp(program))


def encoder_works(program: Path, name: str) -> bool:
    """Whether the video encoder is there and initialises: one small frame is encoded. Asked once for each binary."""
    return _encoder_works(program, name, _stamp(program))


def _stamp(program: Path) -> tuple[int, int]:
    try:
        stat = program.stat()
    except OSError:
        return (0, 0)
    return (stat.st_ino, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _version(program: Path, stamp: tuple[int, int]) -> str:
    words = _run((str(program), "-hide_banner", "-version")).split()
    return words[2].removeprefix("n") if len(words) > 2 and words[:2] == ["ffmpeg", "version"] else ""


@lru_cache(maxsize=256)
def _encoder_works(program: Path, name: str, stamp: tuple[int, int]) -> bool:
    try:
        done = subprocess.run(
            try_encoder(program, name),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _run(argv: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False, text=True
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
