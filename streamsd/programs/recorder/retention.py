"""What is kept: by age, by size, or both. Oldest first."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Recording:
    """`ended`: when the file was last written, in seconds of the wall clock."""

    path: Path
    ended: float
    size: int


@dataclass(frozen=True, slots=True)
class Retention:
    """`seconds`: how old a recording may become. `bytes`: how much all of them together may take. None: no limit."""

    seconds: float | None = None
    bytes: int | None = None

    def expired(self, recordings: Iterable[Recording], now: float) -> list[Recording]:
        """Those to be deleted. The newest is always kept."""
        ordered = sorted(recordings, key=lambda r: r.ended, reverse=True)
        found: list[Recording] = []
        total = 0
        for index, recording in enumerate(ordered):
            total += recording.size
            too_old = self.seconds is not None and now - recording.ended > self.seconds
            too_much = self.bytes is not None and total > self.bytes
            if index and (too_old or too_much):
                found.append(recording)
        return found


def recordings(paths: Iterable[Path]) -> list[Recording]:
    """Measure files; those that went away meanwhile are left out."""
    found = []
    for path in paths:
        with contextlib.suppress(OSError):
            stat = path.stat()
            found.append(Recording(path, stat.st_mtime, stat.st_size))
    return found


def remove(expired: Iterable[Recording], root: Path) -> None:
    """Delete them, and directories under `root` that became empty. OSError of a file that cannot be deleted."""
    for recording in expired:
        recording.path.unlink(missing_ok=True)
        for parent in recording.path.parents:
            if parent == root or root not in parent.parents:
                break
            try:
                parent.rmdir()
            except OSError:
                break
