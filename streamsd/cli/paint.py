"""Colours and tables: colours on a terminal only, and never under NO_COLOR."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import TextIO


class Colour(StrEnum):
    RED = "31"
    GREEN = "32"
    YELLOW = "33"
    CYAN = "36"
    DIM = "2"
    BOLD = "1"


_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def coloured(stream: TextIO) -> bool:
    """Whether colours are wanted there: https://no-color.org."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: Colour, stream: TextIO | None = None) -> str:
    if not coloured(stream or sys.stdout):
        return text
    return f"\x1b[{colour}m{text}\x1b[0m"


def harmless(text: str) -> str:
    """A program's text without control characters: a log line must not steer the reader's terminal."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def width_of(text: str) -> int:
    return len(_ESCAPES.sub("", text))


def terminal_width() -> int:
    """Columns, for shortening on a terminal; what is piped elsewhere is not shortened."""
    return shutil.get_terminal_size((100, 24)).columns if sys.stdout.isatty() else 10_000


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines, columns aligned; the last column is left as it is."""
    columns = max((len(row) for row in rows), default=0)
    widths = [max((width_of(row[i]) for row in rows if i < len(row)), default=0) for i in range(columns)]
    return ["  ".join(cell + " " * (widths[i] - width_of(cell)) for i, cell in enumerate(row)).rstrip() for row in rows]


def shorten(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def ago(moment: str, now: datetime | None = None) -> str:
    """How long ago an RFC 3339 moment was: `12s`, `3m`, `2h`, `5d`; empty for an empty one."""
    if not moment:
        return ""
    then = datetime.fromisoformat(moment)
    seconds = max(0, int(((now or datetime.now(UTC)) - then).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
