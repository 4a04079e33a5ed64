"""The command lines of X servers."""

from __future__ import annotations

from pathlib import Path

from streamsd.core.units import Resolution


def xvfb(program: Path, display: str, authority: Path, largest: Resolution) -> tuple[str, ...]:
    """Xvfb, entered by cookie only and over the unix socket only.

    It starts at the largest size: RandR can make the screen smaller and large again, never larger than that. With an
    explicit number a second server of the same one ends with code 1, and a restart after SIGKILL takes the dead one's
    lock over. `-noreset`: the last client's end is not the server's.
    """
    screen = ("-screen", "0", f"{largest}x24")
    return (str(program), display, *screen, "-auth", str(authority), "-nolisten", "tcp", "-noreset")
