"""Secrets of our own making, which let the programs of a profile into its displays and sound servers."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from streamsd.core.secret import Secret


def stable_cookie(directory: Path) -> Secret:
    """The cookie of the resource whose private directory this is, as 32 hex digits: made once, then the same one.

    It lies in `cookie`, 0600. A controller that starts anew must come to the same cookie, or every server would be
    taken for changed. The one file that is made while a spec is compiled.
    """
    path = directory / "cookie"
    found = _read(path)
    if found is not None:
        return found
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = directory / f".cookie.{os.getpid()}"
    fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(secrets.token_hex(16))
    with suppress(FileExistsError):
        os.link(part, path)  # whoever comes second takes the first one's
    part.unlink()
    made = _read(path)
    if made is None:
        path.unlink()  # half written, or not ours
        return stable_cookie(directory)
    return made


def _read(path: Path) -> Secret | None:
    try:
        text = path.read_text().strip()
        return Secret(text) if len(bytes.fromhex(text)) == 16 else None
    except (FileNotFoundError, ValueError):
        return None
