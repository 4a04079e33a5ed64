"""Files below one root, opened so that no path and no link leads out of it."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MIME = {
    ".m3u8": "application/vnd.apple.mpegurl",
    ".m4s": "video/iso.segment",
    ".mp4": "video/mp4",
    ".ts": "video/mp2t",
    ".mpd": "application/dash+xml",
    ".vtt": "text/vtt; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
}

PLAYLISTS = frozenset({".m3u8", ".mpd"})

STALE = 60.0
"""Seconds after which a live playlist that nobody writes any more is not there: its stream has ended or was removed."""


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A regular file, open for reading; whoever gets it closes `fd`."""

    fd: int
    size: int
    modified: float
    suffix: str

    @property
    def mime(self) -> str:
        return MIME.get(self.suffix, "application/octet-stream")

    @property
    def playlist(self) -> bool:
        return self.suffix in PLAYLISTS


def open_below(root: Path, names: Sequence[str]) -> OpenFile | None:
    """The regular file at `names` below `root`, or None. Names that begin with a dot do not exist."""
    fd = _walk(root, names)
    if fd is None:
        return None
    status = os.fstat(fd)
    suffix = Path(names[-1]).suffix.lower()
    stale = suffix in PLAYLISTS and time.time() - status.st_mtime > STALE
    if not stat.S_ISREG(status.st_mode) or stale:
        os.close(fd)
        return None
    return OpenFile(fd, status.st_size, status.st_mtime, suffix)


def is_directory(root: Path, names: Sequence[str]) -> bool:
    """Whether there is a directory at `names` below `root`."""
    fd = _walk(root, names)
    if fd is None:
        return False
    try:
        return stat.S_ISDIR(os.fstat(fd).st_mode)
    finally:
        os.close(fd)


def _walk(root: Path, names: Sequence[str]) -> int | None:
    """A descriptor of what is there. Each step is opened from the one before and follows no link, so nothing that
    happens to the tree meanwhile can lead elsewhere."""
    if not names or any(not name or name.startswith(".") or "/" in name or "\0" in name for name in names):
        return None
    try:
        at = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        for name in names[:-1]:
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            os.close(at)
            at = below
        # O_NONBLOCK: opening a FIFO would wait for a writer.
        return os.open(names[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
    except OSError:
        return None
    finally:
        os.close(at)


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """First and last byte of a `Range` with one range (RFC 9110, 14.1.2); None when it is not of that form, which
    means the whole. ValueError when it lies outside: 416."""
    unit, equals, spec = header.partition("=")
    first, dash, last = spec.strip().partition("-")
    if unit.strip().lower() != "bytes" or not equals or not dash or "," in spec:
        return None
    if not (first.isascii() and last.isascii() and (first + last).isdigit()):
        return None
    if not first:
        length = int(last)
        if length == 0 or size == 0:
            raise ValueError("no byte of it")
        return max(0, size - length), size - 1
    begin = int(first)
    end = min(int(last), size - 1) if last else size - 1
    if begin >= size or begin > end:
        raise ValueError("outside")
    return begin, end


@dataclass(frozen=True, slots=True)
class Published:
    """A stream's destination that is live, by the names in its path."""

    stream: str
    destination: str


def published(root: Path) -> list[Published]:
    """What can be watched now."""
    found: list[Published] = []
    for playlist in sorted(root.glob("*/*/index.m3u8")):
        names = list(playlist.relative_to(root).parts)
        file = open_below(root, names)
        if file is not None:
            os.close(file.fd)
            found.append(Published(names[0], names[1]))
    return found
