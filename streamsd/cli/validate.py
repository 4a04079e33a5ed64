"""`streamsd validate`."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from streamsd.cli.command import Session, command
from streamsd.cli.failure import Exit
from streamsd.cli.render import show_diagnostics

if TYPE_CHECKING:
    from streamsd.core.answers import DiagnosticAnswer
    from streamsd.core.diagnostics import Diagnostic


@command("validate")
@click.argument("file", required=False, type=click.Path(path_type=Path))
def validate(session: Session, file: Path | None) -> Exit:
    """Check the profile, or FILE, and show everything that is wrong in it. Needs no daemon, changes nothing.

    `streamsd plan` checks against this host too: its programs, ports and display numbers.
    """
    from streamsd.document.load import load
    from streamsd.kinds import load_kinds

    profile = file.absolute() if file else session.settings.profile
    loaded = load(profile, load_kinds(), host=socket.gethostname(), environ=dict(os.environ))
    found = [_answer(diagnostic) for diagnostic in loaded.diagnostics]
    if session.json:
        session.answer({"valid": loaded.valid, "diagnostics": found})
    else:
        show_diagnostics(found)
        click.echo(_summary(profile, len(loaded.resources), found))
    return Exit.OK if loaded.valid else Exit.FAILED


def _answer(diagnostic: Diagnostic) -> DiagnosticAnswer:
    return cast("DiagnosticAnswer", diagnostic.to_json())


def _summary(profile: Path, resources: int, found: list[DiagnosticAnswer]) -> str:
    errors = sum(1 for diagnostic in found if diagnostic["severity"] == "error")
    warnings = len(found) - errors
    words = [
        f"{count} {word}{'s' * (count != 1)}" for count, word in ((errors, "error"), (warnings, "warning")) if count
    ]
    if errors:
        return f"{profile} is not valid: {', '.join(words)}."
    return f"{profile} is valid: {resources} resource{'s' * (resources != 1)}{', ' + words[0] if words else ''}."
