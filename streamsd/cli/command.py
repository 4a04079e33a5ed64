"""What every command has: where the daemon and its files are, `--json`, and how it fails."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from streamsd.cli.client import Client
from streamsd.cli.failure import Exit, Failure
from streamsd.core.settings import Settings

P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., Any])

_PLACES = (
    ("--profile", "STREAMSD_PROFILE", "The profile: a file, or a directory of *.yaml."),
    ("--state-dir", "STREAMSD_STATE_DIR", "Where state, logs and recordings' bookkeeping are kept."),
    ("--run-dir", "STREAMSD_RUN_DIR", "Where the daemon's sockets are."),
    ("--config", "STREAMSD_CONFIG", "The daemon's own settings."),
)


@dataclass(frozen=True, slots=True)
class Session:
    """One call of a command: its settings, and whether it speaks JSON."""

    settings: Settings
    json: bool

    @property
    def client(self) -> Client:
        return Client(self.settings)

    def say(self, text: str) -> None:
        """A line for people; nothing under --json, where `answer` speaks."""
        if not self.json:
            click.echo(text)

    def answer(self, value: object) -> None:
        """The answer of a --json command: one JSON document."""
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def place_options(function: F) -> F:
    """The options that say where things are, and --json; each also stands before the command's name."""
    function = click.option("--json", "as_json", is_flag=True, default=False, help="Print JSON, for programs.")(
        function
    )
    for name, variable, text in reversed(_PLACES):
        about = f"{text}  [env: {variable}]"
        function = click.option(name, metavar="PATH", default=None, help=about)(function)
    return function


def command(name: str) -> Callable[[Callable[Concatenate[Session, P], Exit | None]], click.Command]:
    """Make a function a command: it gets a Session first, and its Exit is the process's exit code."""

    def decorate(function: Callable[Concatenate[Session, P], Exit | None]) -> click.Command:
        @click.pass_context
        def run(context: click.Context, /, *args: P.args, **kwargs: P.kwargs) -> int:
            given = {key: kwargs.pop(key, None) for key in KEYS}
            before: Mapping[str, Any] = context.obj or {}
            options: dict[str, Any] = {key: given[key] or before.get(key) for key in KEYS}
            session = Session(json=bool(options.pop("as_json")), settings=Settings.resolve(**options))
            try:
                return int(function(session, *args, **kwargs) or Exit.OK)
            except Failure as failure:
                if session.json:
                    session.answer(failure.answer())
                raise

        wrapped = functools.update_wrapper(run, function)
        return click.command(name, context_settings={"help_option_names": ["-h", "--help"]})(place_options(wrapped))

    return decorate


def complete_address(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """For shell completion: the addresses the daemon has; none where no daemon answers."""
    given = {key: context.params.get(key) for key in KEYS if key != "as_json"}
    try:
        names: list[str] = Client(Settings.resolve(**given), timeout=2.0).get("/v1/graph")["resources"]
    except Failure:
        return []
    return [name for name in names if name.startswith(incomplete)]


KEYS = ("profile", "state_dir", "run_dir", "config", "as_json")
"""The parameters that `place_options` adds."""
