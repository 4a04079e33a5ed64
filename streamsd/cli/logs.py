"""`streamsd logs`."""

from __future__ import annotations

import json
import sys

import click

from streamsd.cli.client import checked_address
from streamsd.cli.command import Session, command, complete_address
from streamsd.cli.paint import Colour, harmless, paint


@command("logs")
@click.argument("address", shell_complete=complete_address)
@click.option("--follow", "-f", is_flag=True, help="Go on as more is written, until Ctrl-C.")
@click.option(
    "--lines",
    "-n",
    type=click.IntRange(0, 100_000),
    default=100,
    show_default=True,
    help="How many of the last lines of each process.",
)
@click.option("--role", help="One process only, such as `encoder`; `streamsd describe ADDRESS` lists them.")
def logs(session: Session, address: str, follow: bool, lines: int, role: str | None) -> None:
    """Show what the processes of ADDRESS wrote.

    ADDRESS is such as Stream/desktop; `streamsd status` lists them.

    With --json: one object a line, {"role", "line"}.
    """
    path = f"/v1/logs/{checked_address(address)}"
    query = {"role": role, "lines": lines, "follow": 1 if follow else None}
    for entry in session.client.lines(path, query):
        if session.json:
            click.echo(json.dumps(entry, ensure_ascii=False))
        else:
            click.echo(f"{paint(entry['role'], Colour.CYAN)}  {harmless(entry['line'])}")
        if follow:
            sys.stdout.flush()
