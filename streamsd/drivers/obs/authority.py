"""OBS's Xauthority file: a cookie for its own display and one for each that it captures, each by its number.

The displays' own files hold one entry for every number, of which a client takes the first: so they cannot be joined.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

from streamsd.core.secret import Secret
from streamsd.core.unit import File
from streamsd.drivers.x11 import XDisplay

_FAMILY_WILD = 0xFFFF
_NAME = b"MIT-MAGIC-COOKIE-1"


def authority_of(path: Path, displays: Iterable[XDisplay]) -> File:
    """Live: a display that is captured from now on needs no new OBS, which reads the file at each connection."""
    data = b"".join(_entry(d) for d in dict.fromkeys(displays))
    return File(path, Secret(data.decode("latin-1")), encoding="latin-1", live=True)


def _entry(display: XDisplay) -> bytes:
    number = display.name.rpartition(":")[2].partition(".")[0].encode()
    fields = (b"", number, _NAME, bytes.fromhex(display.cookie.reveal()))
    return struct.pack(">H", _FAMILY_WILD) + b"".join(struct.pack(">H", len(f)) + f for f in fields)
