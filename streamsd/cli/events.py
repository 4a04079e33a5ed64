"""`streamsd events`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

import click

from streamsd.cli.client import checked_address, resource_path
from streamsd.cli.command import Session, command, complete_address
from streamsd.cli.paint import Colour, harmless, paint

_NAMED = ("seq", "at", "event", "address")


@command("events")
@click.argument("address", required=False, shell_complete=complete_address)
@click.option("--follow", "-f", is_flag=True, help="Go on as more happens, until Ctrl-C.")
@click.option(
    "--since", type=click.IntRange(min=0), default=0, metavar="SEQ", help="Only events after this sequence number."
)
@click.option("--last", "-n", type=click.IntRange(min=0), help="Only the last so many of those there are.")
def events(session: Session, address: str | None, follow: bool, since: int, last: int | None) -> None:
    """Show what happened, oldest first.

    To everything, or to ADDRESS.

    With --json: one object a line, with `seq`, `at` (RFC 3339, UTC), `event`, `address` and its own fields.
    """
    query = {"since": since, "address": checked_address(address) if address else None}
    if last is not None:
        past = list(session.client.lines("/v1/events", query))
        for entry in past[len(past) - last :] if last < len(past) else past:
            _show(session, entry)
        if not follow:
            return
        query["since"] = max((int(entry["seq"]) for entry in past), default=since)
    if follow:
        query["follow"] = 1
    told = False
    for entry in session.client.lines("/v1/events", query):
        told = True
        _show(session, entry)
        if follow:
            sys.stdout.flush()
    if address and not told:
        # Silence could mean that nothing happened to it, or that there is no such thing: then this says so.
        session.client.get(resource_path(address))


def _show(session: Session, entry: Mapping[str, object]) -> None:
    if session.json:
        click.echo(json.dumps(entry, ensure_ascii=False))
        return
    rest = " ".join(f"{key}={_word(value)}" for key, value in entry.items() if key not in _NAMED)
    at = paint(str(entry.get("at", "")), Colour.DIM)
    click.echo(f"{at}  {entry.get('event', '')}  {paint(str(entry.get('address', '')), Colour.BOLD)}  {rest}".rstrip())


def _word(value: object) -> str:
    text = harmless(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return json.dumps(text, ensure_ascii=False) if " " in text and isinstance(value, str) else text
