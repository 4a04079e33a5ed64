"""`streamsd down`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from streamsd.cli.command import Session, command
from streamsd.cli.failure import Exit, Failure
from streamsd.core import unix_socket
from streamsd.runtime.procfs import is_alive


@command("down")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait until the daemon has ended.",
)
def down(session: Session, wait_s: float) -> Exit:
    """Stop everything, then the daemon.

    In reverse order. Does nothing when no daemon runs.
    """
    daemon = _pid(session.settings.pid_file)
    try:
        session.client.post("/v1/down")
    except Failure as failure:
        if failure.code == "daemon-not-running":
            return _done(session, "Nothing to stop: no daemon runs.")
        if failure.code != "daemon-gone":
            raise  # else it ended before it had answered, which is what was asked for
    deadline = time.monotonic() + wait_s
    while unix_socket.answers(session.settings.api_socket) or is_alive(daemon):
        if time.monotonic() >= deadline:
            raise Failure(
                f"the daemon still runs after {wait_s:g} s",
                "it goes on stopping; `streamsd status` shows what is left",
                code="timed-out",
                exit_code=Exit.TIMED_OUT,
            )
        time.sleep(0.05)
    return _done(session, "Everything is stopped.")


def _pid(file: Path) -> int:
    """The daemon's; 0 where none is written."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return 0


def _done(session: Session, text: str) -> Exit:
    if session.json:
        session.answer({"done": True})
    session.say(text)
    return Exit.OK
