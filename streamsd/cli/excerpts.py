"""A diagnostic as it came from the daemon, shown with its place in the text."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from streamsd.cli.paint import Colour, paint

if TYPE_CHECKING:
    from typing import TextIO

    from streamsd.core.answers import DiagnosticAnswer


def excerpt(diagnostic: DiagnosticAnswer, stream: TextIO) -> str:
    """`file:line:col: error: message [code]`, the line with a caret below, the hint."""
    from streamsd.core.diagnostics import Diagnostic, Severity, Source
    from streamsd.document.excerpt import render

    at = None
    if diagnostic["file"] is not None:
        at = Source(
            diagnostic["file"],
            diagnostic["line"] or 1,
            diagnostic["column"] or 1,
            diagnostic["end_line"] or 0,
            diagnostic["end_column"] or 0,
        )
    severity = Severity(diagnostic["severity"])
    text = render(
        Diagnostic(diagnostic["code"], diagnostic["message"], diagnostic["hint"], at, (), severity), _lines_in
    )
    word = f" {severity}: " if at else f"{severity}: "
    colour = Colour.RED if severity is Severity.ERROR else Colour.YELLOW
    return text.replace(word, paint(word, colour, stream), 1)


@cache
def _lines_in(file: str) -> list[str] | None:
    from streamsd.document.excerpt import lines_of

    try:
        return lines_of(Path(file).read_text("utf-8", "replace"))
    except OSError:
        return None
