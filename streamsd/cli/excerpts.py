"""A diagnostic with its place in the text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamsd.core.answers import DiagnosticAnswer


def excerpt(diagnostic: DiagnosticAnswer, *, colour: bool) -> str:
    where = f"{diagnostic['file']}:{diagnostic['line']}:{diagnostic['column']}: " if diagnostic["file"] else ""
    text = f"{where}{diagnostic['severity']}: {diagnostic['message']} [{diagnostic['code']}]"
    return f"{text}\n  hint: {diagnostic['hint']}" if diagnostic["hint"] else text
