"""`streamsd operate`."""

from __future__ import annotations

import json
from collections.abc import Mapping

import click

from streamsd.cli.client import resource_path
from streamsd.cli.command import Session, command, complete_address
from streamsd.cli.failure import Failure
from streamsd.cli.render import describe_lines


@command("operate")
@click.argument("address", shell_complete=complete_address)
@click.argument("operation")
@click.argument("values", nargs=-1, metavar="[KEY=VALUE]...")
def operate(session: Session, address: str, operation: str, values: tuple[str, ...]) -> None:
    """Carry out an operator's command on ADDRESS.

    Such as switching a scene: the kind's reference page lists its operations. A VALUE is JSON where it can be
    read as such, else a text.
    """
    arguments = dict(_argument(text) for text in values)
    answer = session.client.post(f"{resource_path(address)}/operations/{operation}", arguments)
    if session.json:
        session.answer(answer)
    elif isinstance(answer, Mapping):
        click.echo("\n".join(describe_lines(answer)))
    elif answer is not None:
        click.echo(json.dumps(answer, ensure_ascii=False))


def _argument(text: str) -> tuple[str, object]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise Failure(f"{text!r} is not KEY=VALUE", code="bad-argument")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
