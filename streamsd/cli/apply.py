"""`streamsd apply`."""

from __future__ import annotations

import getpass
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from streamsd.cli.command import Session, command
from streamsd.cli.failure import Exit, Failure
from streamsd.cli.render import plan_lines, show_diagnostics
from streamsd.cli.waiting import show_while, wait_until_converged

if TYPE_CHECKING:
    from streamsd.core.answers import ApplyAnswer, ApplyRequest, PlanAnswer


@command("apply")
@click.argument("planfile", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait until everything is ready.",
)
@click.option("--no-wait", is_flag=True, help="Return once the profile is accepted.")
@click.option("--rollback-on-failure", is_flag=True, help="If it fails, go back to the generation before.")
@click.option("--allow-interrupt", is_flag=True, help="Also carry out what interrupts an output that serves now.")
@click.option(
    "--reset-state",
    multiple=True,
    metavar="NAME",
    help="Let the resource NAME begin with an empty state, if its stored one does not fit the change.",
)
def apply(
    session: Session,
    planfile: Path | None,
    wait_s: float,
    no_wait: bool,
    rollback_on_failure: bool,
    allow_interrupt: bool,
    reset_state: tuple[str, ...],
) -> Exit:
    """Apply the profile and wait until it is so.

    As it stands in the file, or exactly as a saved PLANFILE has it; a stale plan is refused.

    Exit codes: 0 converged (with --no-wait: accepted), 1 refused or failed, 3 the time was over; it goes on.
    """
    request: ApplyRequest = {"holder": f"{_user()} (streamsd apply, pid {os.getpid()})"}
    if rollback_on_failure:
        request["rollback_on_failure"] = True
    if allow_interrupt:
        request["allow_interrupt"] = True
    if planfile:
        request["plan"] = _saved(planfile)
    if reset_state:
        request["reset_state"] = list(reset_state)
    answer: ApplyAnswer
    if rollback_on_failure:
        # answered when all is settled: what changes meanwhile is shown beside it
        answer = show_while(session, lambda: session.client.post("/v1/apply", request))
    else:
        answer = session.client.post("/v1/apply", request)
    if not answer["accepted"]:
        raise Failure(
            "the profile was refused; nothing was changed",
            code="invalid-profile",
            diagnostics=answer["plan"]["diagnostics"],
        )
    if not session.json:
        show_diagnostics(answer["plan"]["diagnostics"])
        click.echo("\n".join(plan_lines(answer["plan"])))
    if no_wait:
        if session.json:
            session.answer(answer)
        return Exit.OK
    if answer.get("rolled_back"):
        raise Failure(
            f"it was rolled back: {answer['rolled_back']}",
            "`streamsd events` tells what happened; the generation before runs again",
            code="rolled-back",
        )
    result = wait_until_converged(session, answer["generation"], wait_s)
    if session.json:
        session.answer({**answer, "result": result.word, "status": result.status})
    else:
        click.echo(result.sentence, err=result.exit is not Exit.OK)
    return result.exit


def _saved(planfile: Path) -> PlanAnswer:
    hint = "write one with `streamsd plan --out FILE`"
    try:
        saved = json.loads(planfile.read_text())
    except (ValueError, UnicodeDecodeError):
        raise Failure(f"{planfile} is not a saved plan", hint, code="bad-plan") from None
    if not isinstance(saved, dict) or not {"revision", "generation", "actions"} <= saved.keys():
        raise Failure(f"{planfile} is not a saved plan", hint, code="bad-plan")
    plan: PlanAnswer = saved  # type: ignore[assignment]  # the daemon checks it field by field
    return plan


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
