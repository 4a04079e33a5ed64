"""How large pictures are, by the first bytes of their files."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from struct import unpack, unpack_from
from typing import BinaryIO

Size = tuple[int, int]

_MOST = 1000
"""Pictures that are looked at."""
_HEAD = 32
_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")


def around(paths: Iterable[str]) -> Size | None:
    """The smallest frame that each of the pictures fits into as it is; in a directory, all of its own. None where no
    size can be told."""
    found = [size for path in _files(paths) if (size := _size(path)) is not None]
    return (max(width for width, _ in found), max(height for _, height in found)) if found else None


def _files(paths: Iterable[str]) -> Iterator[str]:
    left = _MOST
    for path in paths:
        try:
            names = sorted(os.listdir(path))  # noqa: PTH208 - Path raises for a name too long
        except NotADirectoryError:
            inside = [path]
        except (OSError, ValueError):
            continue
        else:
            inside = [f"{path}/{name}" for name in names if name.lower().endswith(_SUFFIXES)]
        yield from inside[:left]
        left -= min(left, len(inside))


def _size(path: str) -> Size | None:
    try:
        told = Path(path).stat()
        return _read(path, told.st_mtime_ns, told.st_size)
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=4 * _MOST)
def _read(path: str, changed: int, length: int) -> Size | None:
    """`changed` and `length` tell one state of the file from another."""
    with Path(path).open("rb") as file:
        try:
            width, height = _told(file)
        except struct.error:
            return None
    return (width, height) if width > 0 and height > 0 else None


def _told(file: BinaryIO) -> Size:
    """(0, 0) for a form that is not known."""
    head = file.read(_HEAD)
    match head[:4], head[8:16]:
        case b"\x89PNG", _:
            width, height = unpack_from(">II", head, 16)
        case b"GIF8", _:
            width, height = unpack_from("<HH", head, 6)
        case [first, _] if first[:2] == b"BM":
            # the oldest header has short numbers; a negative height is that of one stored from the top
            width, height = unpack_from("<HH" if unpack_from("<I", head, 14)[0] == 12 else "<ii", head, 18)
        case b"RIFF", b"WEBPVP8X":
            low, high, low2, high2 = unpack_from("<HBHB", head, 24)
            width, height = 1 + (low | high << 16), 1 + (low2 | high2 << 16)
        case b"RIFF", b"WEBPVP8L":
            (bits,) = unpack_from("<I", head, 21)
            width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"RIFF", b"WEBPVP8 ":
            width, height = (side & 0x3FFF for side in unpack_from("<HH", head, 26))
        case [first, _] if first[:2] == b"\xff\xd8":
            return _jpeg(file)
        case _:
            return 0, 0
    return width, abs(height)


def _jpeg(file: BinaryIO) -> Size:
    """The frame header's (ITU T.81, B.2.2); a thumbnail lies within a segment that is passed over."""
    file.seek(2)
    while True:
        mark, kind, length = unpack(">BBH", file.read(4))
        if mark != 0xFF:
            return 0, 0
        if kind in range(0xC0, 0xD0) and kind not in (0xC4, 0xC8, 0xCC):
            _, height, width = unpack(">BHH", file.read(5))
            return width, height
        file.seek(length - 2, os.SEEK_CUR)
