"""`streamsd destroy`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from streamsd.cli.client import checked_address
from streamsd.cli.command import Session, command, complete_address
from streamsd.cli.failure import Failure

if TYPE_CHECKING:
    from streamsd.core.answers import GraphAnswer


@command("destroy")
@click.argument("addresses", nargs=-1, shell_complete=complete_address)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def destroy(session: Session, addresses: tuple[str, ...], yes: bool) -> None:
    """Stop ADDRESSES and what depends on them.

    Until the next apply; without ADDRESSES, every resource. The daemon goes on: `streamsd down` ends it too.
    The profile is not touched.
    """
    client = session.client
    graph: GraphAnswer = client.get("/v1/graph")
    named = [checked_address(address) for address in addresses] or graph["resources"]
    ending = sorted(_with_dependents(set(named), graph))
    if not yes:
        if session.json or not sys.stdin.isatty():
            raise Failure(f"this would stop {', '.join(ending)}", "say --yes to do it", code="not-confirmed")
        click.confirm(f"Stop {', '.join(ending)}?", abort=True)
    answer = client.post("/v1/destroy", {"addresses": named})
    if session.json:
        session.answer(answer)
    session.say(f"Stopped {', '.join(ending)}. `streamsd apply` starts them again." if ending else "Nothing to stop.")


def _with_dependents(named: set[str], graph: GraphAnswer) -> set[str]:
    found = set(named)
    while True:
        more = {dependent for dependent, target in graph["edges"] if target in found} - found
        if not more:
            return found
        found |= more
