"""`streamsd`: finds the command, runs it, and turns what goes wrong into `error:` and `hint:` lines."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

import streamsd
from streamsd.cli.command import place_options
from streamsd.cli.failure import Exit, Failure

COMMANDS = (
    "up",
    "apply",
    "plan",
    "validate",
    "status",
    "logs",
    "events",
    "describe",
    "graph",
    "restart",
    "operate",
    "obs",
    "destroy",
    "down",
    "doctor",
    "schema",
    "init",
    "export",
    "flow",
    "completion",
)
"""In the order in which help lists them. Each is in the module of its name."""


class _Group(click.Group):
    """Imports a command's module only when it is called (or listed)."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found = getattr(importlib.import_module(f"streamsd.cli.{cmd_name}"), cmd_name)
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from streamsd.core.diagnostics import nearest

            close = nearest(args[0], COMMANDS)
            hint = f"did you mean `streamsd {close}`?" if close else "`streamsd --help` lists the commands"
            raise Failure(f"there is no command {args[0]!r}", hint, code="unknown-command")
        return super().resolve_command(ctx, args)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(streamsd.__version__, prog_name="streamsd", message="%(prog)s %(version)s")
@place_options
@click.pass_context
def cli(context: click.Context, /, **options: Any) -> None:
    """Make what this host streams match a YAML file, and keep it so.

    Begin with `streamsd init`, then `streamsd up`. Exit codes: 0 done, 1 failed, 2 changes (plan), 3 timed out.
    """
    context.obj = options


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the exit code. Nothing is raised for what a user can cause."""
    try:
        code = cli.main(list(arguments), prog_name="streamsd", standalone_mode=False)
        sys.stdout.flush()
        return int(code or 0)
    except Failure as failure:
        from streamsd.cli.render import show_failure

        show_failure(failure)
        return int(failure.exit_code)
    except click.UsageError as error:
        context = error.ctx.command_path if error.ctx else "streamsd"
        _say(error.format_message(), f"`{context} --help` shows how it is called")
        return Exit.FAILED
    except click.ClickException as error:
        _say(error.format_message())
        return Exit.FAILED
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # whoever read our output went: say nothing more, also not while Python ends
        _keep_nothing()
        return Exit.FAILED
    except OSError as error:
        try:
            sys.stdout.flush()
        except OSError:
            _keep_nothing()
        where = f"{error.filename}: " if error.filename else ""
        _say(f"{where}{error.strerror or error}")
        return Exit.FAILED


def _keep_nothing() -> None:
    """What is left of our output goes nowhere, so that Python does not complain of it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(message: str, hint: str = "") -> None:
    from streamsd.cli.render import show_failure

    show_failure(Failure(message, hint))


def main() -> None:
    """The entry point of the `streamsd` script."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
