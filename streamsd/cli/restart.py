"""`streamsd restart`."""

from __future__ import annotations

import click

from streamsd.cli.client import resource_path
from streamsd.cli.command import Session, command, complete_address


@command("restart")
@click.argument("address", shell_complete=complete_address)
@click.option("--role", help="One process only, such as `encoder`.")
def restart(session: Session, address: str, role: str | None) -> None:
    """Start the processes of ADDRESS anew."""
    answer = session.client.post(f"{resource_path(address)}/restart", query={"role": role})
    if session.json:
        session.answer(answer)
    session.say(f"Restarting {address}{f'/{role}' if role else ''}.")
