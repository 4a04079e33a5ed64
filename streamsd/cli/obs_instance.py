"""Which OBS instance a command means."""

from __future__ import annotations

import click

from streamsd.cli.command import Session
from streamsd.cli.failure import Failure

INSTANCE = click.option("--instance", "-i", default=None, help="The Obs resource; not needed where there is one.")


def instance_address(session: Session, instance: str | None) -> str:
    """The named instance, or the only one. Failure where there is none, or several."""
    if instance:
        return f"Obs/{instance}"
    found = [r["address"] for r in session.client.get("/v1/status")["resources"] if r["kind"] == "Obs"]
    if len(found) == 1:
        return str(found[0])
    names = ", ".join(address.partition("/")[2] for address in found)
    message = "the profile has several OBS instances" if found else "the profile has no OBS instance"
    raise Failure(
        message, code="which-instance", hint=f"--instance one of: {names}" if found else "declare one in `obs`"
    )
