"""`streamsd doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import click

from streamsd.cli.command import Session, command
from streamsd.cli.failure import Exit
from streamsd.cli.paint import Colour, harmless, paint, table

if TYPE_CHECKING:
    from streamsd.cli.host_checks import Found

_MARKS = {"ok": ("✓", Colour.GREEN), "missing": ("✗", Colour.RED), "weak": ("!", Colour.YELLOW)}


@command("doctor")
def doctor(session: Session) -> Exit:
    """Show what this host can do, and what to install.

    Programs, encoders that really work, displays, limits. Needs no daemon.

    Exit codes: 0 streamsd can work here, 1 something it cannot do without is missing.
    """
    from streamsd.cli.host_checks import Verdict, all_checks

    found = all_checks(session.settings)
    packages = sorted({one.install for one in found if one.verdict is Verdict.MISSING and one.install})
    lacking = [one for one in found if one.needed and one.verdict is Verdict.MISSING]
    install = f"apt-get install {' '.join(packages)}" if packages else ""
    if session.json:
        session.answer(
            {
                "ok": not lacking,
                "checks": [
                    {
                        "group": one.group,
                        "name": one.name,
                        "verdict": str(one.verdict),
                        "detail": one.detail,
                        "needed": one.needed,
                        "install": one.install,
                    }
                    for one in found
                ],
                "install": install,
            }
        )
    else:
        click.echo("\n".join(_lines(found)))
        if install:
            click.echo(f"\nFor what is missing, as far as you want it: {paint(install, Colour.BOLD)}")
        for one in lacking:
            click.echo(f"{paint('needed:', Colour.RED)} {one.group} {one.name}: {one.detail}")
    return Exit.FAILED if lacking else Exit.OK


def _lines(found: Sequence[Found]) -> list[str]:
    lines: list[str] = []
    for group, members in groupby(found, key=lambda one: one.group):
        lines.append(paint(group, Colour.BOLD))
        rows = []
        for one in members:
            mark, colour = _MARKS[one.verdict]
            rows.append([f"  {paint(mark, colour)} {one.name}", harmless(one.detail)])
        lines += table(rows)
    return lines
