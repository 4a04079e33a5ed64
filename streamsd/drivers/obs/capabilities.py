"""Which OBS this host has."""

from __future__ import annotations

import os
import subprocess
from functools import lru_cache
from pathlib import Path

from streamsd.drivers.obs.render import version_of

PACKAGE = "obs-studio"
"""The Debian package."""

OLDEST = (28, 0, 0)
"""The first OBS that has obs-websocket 5 built in."""

HYBRID = (30, 2)
"""The first OBS that records hybrid MP4."""


def version(program: Path) -> tuple[int, ...]:
    """What `obs --version` says; empty when it does not answer. Asked once for each build of the program."""
    try:
        status = program.stat()
    except OSError:
        return ()
    return _version(program, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _version(program: Path, changed: int, size: int) -> tuple[int, ...]:
    try:
        done = subprocess.run(
            [str(program), "--version"],
            capture_output=True,
            text=True,
            timeout=20,
            stdin=subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": "/nonexistent", "LANG": "C.UTF-8"},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return version_of(done.stdout + done.stderr)
