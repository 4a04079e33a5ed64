"""When a file was made: Linux knows (statx, since 4.11), Python does not say."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

_AT_FDCWD = -100
_STATX_BTIME = 0x800
_SIZE = 256
_MASK_AT, _BTIME_AT = 0, 80  # struct statx, linux/stat.h


def born(path: Path) -> float:
    """Seconds of the wall clock; when it was last written, where the file system keeps no time of birth. OSError."""
    written = path.stat().st_mtime
    found = ctypes.create_string_buffer(_SIZE)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, found) != 0:
        return written
    (mask,) = struct.unpack_from("=I", found, _MASK_AT)
    seconds, nanoseconds = struct.unpack_from("=qI", found, _BTIME_AT)
    return seconds + nanoseconds / 1e9 if mask & _STATX_BTIME else written
