"""`streamsd schema`."""

from __future__ import annotations

import json

import click

from streamsd.cli.command import Session, command
from streamsd.cli.failure import Failure


@command("schema")
@click.argument("kind", required=False)
def schema(session: Session, kind: str | None) -> None:
    """Print the JSON Schema of the profile, or of a KIND.

    KIND is such as Stream, or streams. The dialect is 2020-12. Always JSON; for editors: `# yaml-language-
    server: $schema=FILE` as a profile's first line.
    """
    from streamsd.document.schema import kind_schema, profile_schema
    from streamsd.kinds import load_kinds

    registry = load_kinds()
    if kind is None:
        click.echo(json.dumps(profile_schema(registry), indent=2, ensure_ascii=False))
        return
    found = next((one for one in registry if kind in (one.name, one.section)), None)
    if found is None:
        from streamsd.core.diagnostics import name_hint

        hint = name_hint(kind, [one.name for one in registry], "kinds")
        raise Failure(f"there is no kind {kind!r}", hint, code="unknown-kind")
    click.echo(json.dumps(kind_schema(found), indent=2, ensure_ascii=False))
