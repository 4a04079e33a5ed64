"""`streamsd plan`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from streamsd.cli.command import Session, command
from streamsd.cli.failure import Exit
from streamsd.cli.render import plan_lines, show_diagnostics

if TYPE_CHECKING:
    from streamsd.core.answers import PlanAnswer


@command("plan")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Save the plan, for `streamsd apply FILE`."
)
def plan(session: Session, out: Path | None) -> Exit:
    """Show what applying the profile would do, and why.

    Changes nothing. What runs is looked at afresh. What needs no action and yet is not known to be as declared is
    listed as something to wait for: it is starting, waits for another, or does not answer.

    Exit codes: 0 what runs is what the profile says, 1 error, 2 there are changes, or something to wait for.
    """
    answer: PlanAnswer = session.client.get("/v1/plan")
    if out:
        out.write_text(json.dumps(answer, indent=2) + "\n")
    if session.json:
        session.answer(answer)
    else:
        show_diagnostics(answer["diagnostics"])
        if not _refused(answer):
            click.echo("\n".join(plan_lines(answer)))
        if out:
            click.echo(f"Saved: apply exactly this with `streamsd apply {out}`.")
    if _refused(answer):
        return Exit.FAILED
    return Exit.CHANGES if answer["changes"] or answer["waits"] else Exit.OK


def _refused(answer: PlanAnswer) -> bool:
    return any(diagnostic["severity"] == "error" for diagnostic in answer["diagnostics"])
