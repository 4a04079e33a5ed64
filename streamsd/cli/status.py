"""`streamsd status`."""

from __future__ import annotations

import json
import sys
import time

import click

from streamsd.cli.command import Session, command
from streamsd.cli.failure import Exit
from streamsd.cli.render import status_lines


@command("status")
@click.option("--watch", "-w", is_flag=True, help="Show it again and again, until Ctrl-C.")
@click.option("--every", default=1.0, show_default=True, metavar="SECONDS", help="How often --watch looks.")
def status(session: Session, watch: bool, every: float) -> Exit:
    """Show every resource, and what is wrong.

    Whether it is ready and since when, its processes, what is observed.
    """
    while True:
        answer = session.client.get("/v1/status")
        if session.json:
            # one document, or with --watch one object a line
            click.echo(json.dumps(answer, ensure_ascii=False, indent=None if watch else 2))
        else:
            if watch and sys.stdout.isatty():
                click.clear()
            click.echo("\n".join(status_lines(answer)))
        if not watch:
            return Exit.OK
        sys.stdout.flush()
        time.sleep(max(every, 0.1))
