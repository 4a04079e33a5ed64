"""`streamsd describe`."""

from __future__ import annotations

import click

from streamsd.cli.client import resource_path
from streamsd.cli.command import Session, command, complete_address
from streamsd.cli.render import describe_lines


@command("describe")
@click.argument("address", shell_complete=complete_address)
def describe(session: Session, address: str) -> None:
    """Show all that is known of ADDRESS.

    Spec, conditions, processes with their argv, newest events. Secrets are masked.
    """
    answer = session.client.get(resource_path(address))
    if session.json:
        session.answer(answer)
    else:
        click.echo("\n".join(describe_lines(answer)))
