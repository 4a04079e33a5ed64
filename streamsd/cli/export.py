"""`streamsd export`."""

from __future__ import annotations

import click

from streamsd.cli.command import Session, command


@command("export")
def export(session: Session) -> None:
    """Print every resource as an envelope.

    {apiVersion, kind, name, spec, status}, secrets masked: YAML documents for people, a JSON list with --json.
    """
    envelopes = session.client.get("/v1/export")
    if session.json:
        session.answer(envelopes)
        return
    import yaml

    click.echo(yaml.safe_dump_all(envelopes, sort_keys=False, allow_unicode=True, explicit_start=True), nl=False)
