"""What can be wrong with where a recording goes, as reasons people and programs know."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_REASONS = {
    errno.ENOSPC: "DiskFull",
    errno.EDQUOT: "DiskFull",
    errno.ENOENT: "DirectoryMissing",
    errno.ENOTDIR: "DirectoryMissing",
    errno.EACCES: "NotWritable",
    errno.EPERM: "NotWritable",
    errno.EROFS: "NotWritable",
    errno.EIO: "DiskFailed",
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """`reason` is one CamelCase word, `message` a sentence."""

    reason: str
    message: str

    @classmethod
    def of(cls, error: OSError, root: Path) -> Trouble:
        number = error.errno or errno.EIO
        return cls(_REASONS.get(number, "DiskFailed"), f"{root}: {os.strerror(number)}")


def trouble_of(complaints: Iterable[str], root: Path) -> Trouble:
    """What a child that failed complained of. It words errors with strerror, so each is looked for by its text."""
    said = list(complaints)
    for number, reason in _REASONS.items():
        text = os.strerror(number)
        if any(text in line for line in said):
            return Trouble(reason, f"{root}: {text}")
    return Trouble("RecorderFailed", said[-1] if said else "ffmpeg ended without a word")
