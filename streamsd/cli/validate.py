"""`streamsd validate`."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import click

from streamsd.cli.command import Session, command
from streamsd.cli.failure import Exit
from streamsd.cli.render import show_diagnostics

if TYPE_CHECKING:
    from streamsd.core.answers import DiagnosticAnswer, FlowTestAnswer, ValidateAnswer


@command("validate")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--schema-only", is_flag=True, help="Check only what the published JSON Schema says, as an editor does.")
@click.option("--test", is_flag=True, help="Run the tests that flows declare, too.")
def validate(session: Session, file: Path | None, schema_only: bool, test: bool) -> Exit:
    """Check the profile, or FILE, without a daemon.

    Shows everything that is wrong, each with its place and what to write. Changes nothing.

    With `--test` it runs the tests that flows declare, and the Python of their `custom` steps with them, each within
    its `timeout`. A result that is not as declared is shown with its place. Without it no Python of a flow is run.

    `streamsd plan` checks against this host too: its programs, files, ports and display numbers.
    """
    from streamsd.kinds import load_kinds

    profile = file.absolute() if file else session.settings.profile
    registry = load_kinds()
    count: int | None = None
    tests: list[FlowTestAnswer] | None = None
    if schema_only:
        from streamsd.cli.schema_check import check_against_schema

        found = [diagnostic.to_json() for diagnostic in check_against_schema(profile, registry)]
    else:
        from streamsd.document.load import load

        loaded = load(profile, registry, host=socket.gethostname(), environ=dict(os.environ))
        count = len(loaded.resources)
        found = [diagnostic.to_json() for diagnostic in loaded.diagnostics]
        if test and loaded.valid:
            from streamsd.cli.flow_tests import run_flow_tests

            tests = run_flow_tests(r for a, r in loaded.resources.items() if a.kind == "Flow")
            found += [diagnostic for outcome in tests for diagnostic in outcome["diagnostics"]]
    valid = all(diagnostic["severity"] != "error" for diagnostic in found)
    if session.json:
        answer: ValidateAnswer = {"valid": valid, "diagnostics": found}
        if tests is not None:
            answer["tests"] = tests
        session.answer(answer)
    else:
        show_diagnostics(found)
        click.echo(_summary(profile, count, found))
        if tests is not None:
            from streamsd.cli.flow_tests import counted

            click.echo(counted(tests))
    return Exit.OK if valid else Exit.FAILED


def _summary(profile: Path, resources: int | None, found: list[DiagnosticAnswer]) -> str:
    errors = sum(1 for diagnostic in found if diagnostic["severity"] == "error")
    counted = [(errors, "error"), (len(found) - errors, "warning")]
    words = ", ".join(_count(number, word) for number, word in counted if number)
    if errors:
        return f"{profile} is not valid: {words}."
    what = "" if resources is None else f": {_count(resources, 'resource')}"
    return f"{profile} is valid{what}{', ' + words if words else ''}."


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"
