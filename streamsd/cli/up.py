"""`streamsd up`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from streamsd.cli.command import Session, command
from streamsd.cli.failure import Exit, Failure
from streamsd.cli.render import show_diagnostics
from streamsd.core import unix_socket
from streamsd.core.settings import Settings

if TYPE_CHECKING:
    from streamsd.api.server import Server
    from streamsd.core.answers import DiagnosticAnswer


@command("up")
@click.option("--detach", "-d", is_flag=True, help="Start it in the background; return once it answers.")
@click.option("--no-watch", is_flag=True, help="Do not apply the profile by itself when the file changes.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="With --detach: how long to wait for its first answer.",
)
def up(session: Session, detach: bool, no_watch: bool, wait_s: float) -> Exit:
    """Run the daemon, which keeps what runs as the profile says.

    It applies the profile, and again when its files change. In the foreground, until Ctrl-C or SIGTERM; what it
    started goes on then, and the next `up` takes it over.
    `streamsd down` stops everything.
    """
    settings = session.settings
    if not settings.profile.exists():
        raise Failure(
            f"there is no profile at {settings.profile}",
            "write a first one with `streamsd init`, or name one with --profile",
            code="no-profile",
        )
    if unix_socket.answers(settings.api_socket):
        raise Failure(
            f"a daemon runs already with {settings.run_dir}",
            "`streamsd apply` gives it the changed profile; another daemon needs its own --run-dir and --state-dir",
            code="already-running",
        )
    if detach:
        return _detached(session, no_watch, wait_s)
    return _in_foreground(settings, watch=not no_watch)


def _in_foreground(settings: Settings, *, watch: bool) -> Exit:
    import asyncio

    from streamsd.core.service import Service
    from streamsd.daemon.main import AlreadyRunning, RunDirectoryLost, Served, run

    async def serve(service: Service, settings: Settings) -> Served:
        # FastAPI takes longer to import than a thousand processes to adopt: the daemon's work goes on beside it
        def make() -> Server:
            from streamsd.api.server import Server

            return Server(service, settings)

        server = await asyncio.to_thread(make)
        await server.start()
        return server

    try:
        return Exit(asyncio.run(run(settings, watch=watch, serve=serve, out=sys.stdout)))
    except RunDirectoryLost as fault:
        raise Failure(
            str(fault), f"keep {settings.run_dir} out of reach of cleaners", code="run-directory-lost"
        ) from None
    except AlreadyRunning as fault:
        raise Failure(
            str(fault), "another daemon needs its own --run-dir and --state-dir", code="already-running"
        ) from None


def _detached(session: Session, no_watch: bool, wait_s: float) -> Exit:
    settings = session.settings
    log = settings.state_dir / "streamsd.log"
    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(log, "ab", opener=_private) as out:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "streamsd.cli.main", *_arguments(settings, no_watch)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            cwd="/",
        )
    deadline = time.monotonic() + wait_s
    while not unix_socket.answers(settings.api_socket):
        code = daemon.poll()
        if code is not None:
            raise Failure(
                f"the daemon ended at once (exit code {code}): {_last_line(log)}",
                f"its log is {log}",
                code="not-started",
            )
        if time.monotonic() >= deadline:
            raise Failure(
                f"the daemon (pid {daemon.pid}) does not answer after {wait_s:g} s",
                f"it goes on starting; its log is {log}",
                code="timed-out",
                exit_code=Exit.TIMED_OUT,
            )
        time.sleep(0.05)
    problems: list[DiagnosticAnswer] = session.client.get("/v1/status")["problems"]
    if session.json:
        place = {"pid": daemon.pid, "log": str(log), "socket": str(settings.api_socket)}
        session.answer({**place, "problems": problems})
    else:
        show_diagnostics(problems)
        if any(problem["severity"] == "error" for problem in problems):
            click.echo("The profile was refused; save it mended, and it is applied.", err=True)
    session.say(f"streamsd runs with pid {daemon.pid}; its log is {log}")
    return Exit.OK


def _arguments(settings: Settings, no_watch: bool) -> Sequence[str]:
    places = (
        ("--profile", settings.profile),
        ("--state-dir", settings.state_dir),
        ("--run-dir", settings.run_dir),
        ("--config", settings.config),
    )
    return ["up", *(text for name, path in places for text in (name, str(path))), *(["--no-watch"] * no_watch)]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
