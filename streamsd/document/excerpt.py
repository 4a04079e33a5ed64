"""A diagnostic as people read it: where, what, the line with a caret, and what to write. No colours."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

from streamsd.core.diagnostics import Diagnostic, Source
from streamsd.core.secret import MASK
from streamsd.document.syntax import BREAK

_WIDTH = 100
_BEFORE = 60


def lines_of(text: str) -> list[str]:
    """The lines of a file as its diagnostics count them."""
    return BREAK.split(text.removeprefix("\ufeff"))


def render(diagnostic: Diagnostic, lines_in: Callable[[str], Sequence[str] | None]) -> str:
    """`file:line:col: error: message [code]`, then the line with a caret below, then `hint: ...`.

    `lines_in` gives a file's lines (`lines_of`), or None when they cannot be had; then the excerpt is left out. What is
    returned are lines too, the last one without an end. A secret that the profile spells out is masked.
    """
    lines = [_printable(str(diagnostic))]
    at = diagnostic.at
    found = lines_in(at.file) if at else None
    if at and found is not None:
        lines.extend(_excerpt(at, found, mask=diagnostic.code == "secret-inline"))
    if diagnostic.hint:
        lines.append(f"  hint: {_printable(diagnostic.hint)}")
    return "\n".join(lines)


def _excerpt(at: Source, all_lines: Sequence[str], *, mask: bool) -> list[str]:
    if not 1 <= at.line <= len(all_lines):
        return []
    line = all_lines[at.line - 1]
    start = min(at.column - 1, len(line))
    end = at.end_column - 1 if at.end_line == at.line else len(line) if at.end_line > at.line else start + 1
    end = max(start + 1, min(end, max(len(line), start + 1)))
    if mask:
        line = line[:start] + MASK + line[end:]
        end = start + len(MASK)
    cut = max(0, start - _BEFORE) if len(line) > _WIDTH else 0
    shown = line[cut : cut + _WIDTH].rstrip()
    lead = "..." if cut else ""
    number = str(at.line)
    caret = " " * (len(lead) + _columns(line[cut:start])) + "^" * max(
        1, min(_columns(line[start : min(end, start + _WIDTH)]), _WIDTH)
    )
    tail = "..." if cut + _WIDTH < len(line) else ""
    return [f"  {number} | {lead}{_printable(shown)}{tail}", f"  {' ' * len(number)} | {caret}"]


def _columns(text: str) -> int:
    """How wide a terminal shows it: East Asian wide characters take two columns, combining ones none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _printable(text: str) -> str:
    """Nothing in a profile may steer the terminal."""
    return "".join(c if c.isprintable() else " " if c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
