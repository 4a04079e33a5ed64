"""The size of pictures, from the beginning of their files."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from streamsd.programs.director.pictures import around

_APP1 = b"\xff\xe1" + struct.pack(">H", 2 + 23) + b"\xff\xc0\x00\x11\x08\x00\x01\x00\x01" + b"x" * 14
_TABLE = b"\xff\xc4" + struct.pack(">H", 2 + 3) + b"abc"

PICTURES = {
    "png": b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR" + struct.pack(">II", 30, 20) + b"\x08\x02",
    "gif": b"GIF89a" + struct.pack("<HH", 30, 20),
    "bmp": b"BM" + bytes(12) + struct.pack("<Iii", 40, 30, 20),
    "bmp from the top": b"BM" + bytes(12) + struct.pack("<Iii", 40, 30, -20),
    "bmp of old": b"BM" + bytes(12) + struct.pack("<IHH", 12, 30, 20),
    "webp": b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0" + bytes(3) + b"\x9d\x01\x2a" + struct.pack("<HH", 30, 20 | 1 << 14),
    "webp lossless": b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", 29 | 19 << 14 | 1 << 28),
    "webp extended": b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + b"\x1d\0\0\x13\0\0",
    "jpeg": b"\xff\xd8" + _APP1 + _TABLE + b"\xff\xc2\x00\x11\x08" + struct.pack(">HH", 20, 30),
}


@pytest.mark.parametrize("data", PICTURES.values(), ids=PICTURES)
def test_a_picture_says_its_size(tmp_path: Path, data: bytes) -> None:
    (picture := tmp_path / "it").write_bytes(data)
    assert around([str(picture)]) == (30, 20)
    for length in range(len(data) - 3):
        picture.write_bytes(data[:length])
        os.utime(picture, ns=(length, length))
        assert around([str(picture)]) is None, f"only {length} bytes of it are there"


@pytest.mark.parametrize("data", [b"", b"text", b"GIF89a\0\0\0\0", b"\xff\xd8\xff\xd9", b"\xff\xd8" + bytes(1000)])
def test_anything_else_says_none(tmp_path: Path, data: bytes) -> None:
    (other := tmp_path / "it.png").write_bytes(data)
    assert around([str(other), str(tmp_path / "gone.png"), "\0", "x" * 5000]) is None


def test_the_frame_is_around_all_of_them(tmp_path: Path) -> None:
    (inside := tmp_path / "pictures").mkdir()
    for place, width, height in ((inside / "a.GIF", 30, 20), (tmp_path / "b.gif", 5, 40), (inside / "c.txt", 99, 99)):
        place.write_bytes(b"GIF89a" + struct.pack("<HH", width, height))
    assert around([str(inside), str(tmp_path / "b.gif")]) == (30, 40)
    assert around([str(inside)]) == (30, 20)
    (inside / "a.GIF").write_bytes(b"GIF89a" + struct.pack("<HH", 300, 200) + b";")
    assert around([str(inside)]) == (300, 200), "it is another picture now"
    assert around([]) is None
