"""What a disk says when it does not take what is written to it, and whether it takes it again."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from streamsd.programs.flow.life import asleep

_CAUSES = frozenset({errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO})
_SQLITE = {
    "DiskFull": "No space left on device",
    "ReadOnly": "Read-only file system",
    "SystemIoFailure": "Input/output error",
}
"""rusqlite's names, which is all that Bytewax hands on of a fault of its recovery store."""
_SQLITE_CODES = {
    sqlite3.SQLITE_FULL: "DiskFull",
    sqlite3.SQLITE_READONLY: "ReadOnly",
    sqlite3.SQLITE_IOERR: "SystemIoFailure",
}
"""The same by SQLite's numbers, of which the lowest byte tells the kind."""
UNWRITABLE = "StateUnwritable"
_PROBE = 1024 * 1024
"""Bytes."""


def disk_fault(fault: BaseException) -> str:
    """The disk's words; empty when the fault is of another kind."""
    if isinstance(fault, OSError):
        return (fault.strerror or "") if fault.errno in _CAUSES else ""
    if isinstance(fault, sqlite3.Error):
        name = _SQLITE_CODES.get(getattr(fault, "sqlite_errorcode", 0) & 0xFF, "")
        return _SQLITE.get(name, "")
    text = str(fault)
    return next((words for name, words in _SQLITE.items() if f"code: {name}," in text), "")


def refusal(directory: Path) -> str:
    """The disk's words when a megabyte cannot be written there now; empty when it can."""
    path = directory / ".room"
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            left = _PROBE
            while left:
                left -= os.write(fd, bytes(min(left, 64 * 1024)))
            os.fsync(fd)
        finally:
            os.close(fd)
            path.unlink(missing_ok=True)
    except OSError as fault:
        return fault.strerror or str(fault)
    return ""


def unwritable(state: Path, words: str) -> tuple[str, str]:
    """(reason, message) of a flow whose state cannot be written."""
    return UNWRITABLE, f"{state}: {words}; the flow goes on from what was stored once it can be written to"


def await_room(state: Path, stopping: threading.Event, told: Callable[[], object]) -> None:
    """Wait until the state can be written to, or the flow is to stop. `told` is called once a second."""
    while not asleep(stopping, 1.0) and refusal(state):
        told()
