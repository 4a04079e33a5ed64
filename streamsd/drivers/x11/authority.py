"""The cookie that an X display is entered with, and the file that carries it (libXau's format)."""

from __future__ import annotations

import struct
from pathlib import Path

from streamsd.core.secret import Secret
from streamsd.core.unit import File
from streamsd.runtime.probes.xwire import COOKIE

_FAMILY_WILD = 0xFFFF
"""Matches whatever the host is called, now and after it was renamed."""


def authority_file(path: Path, cookie: Secret) -> File:
    """An Xauthority file with one entry, for every display of this host: wild family, any number."""
    fields = (b"", b"", COOKIE, bytes.fromhex(cookie.reveal()))
    entry = struct.pack(">H", _FAMILY_WILD) + b"".join(struct.pack(">H", len(f)) + f for f in fields)
    return File(path, Secret(entry.decode("latin-1")), encoding="latin-1")
