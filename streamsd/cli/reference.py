"""Writes docs/cli.md from the commands themselves: `python -m streamsd.cli.reference [FILE]`, or `make docs`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from streamsd.cli.command import KEYS
from streamsd.cli.failure import EXIT_MEANINGS
from streamsd.cli.main import COMMANDS, cli


def reference() -> str:
    """The whole page, in Markdown."""
    context = click.Context(cli, info_name="streamsd")
    parts = [
        "<!-- Written by `make docs` from the commands themselves. -->\n",
        "# The command line\n",
        "```console\nstreamsd [OPTIONS] COMMAND [ARGUMENTS]\n```\n",
        "## Options of every command\n",
        "They stand before or after the command's name. Each path is the option's, else the environment's, else the "
        "platform's: `/etc/streamsd`, `/var/lib/streamsd`, `/run/streamsd` for root, the XDG directories for others.\n",
        "\n".join(_options(cli, context, common=True)) + "\n",
        "## Exit codes\n",
        "| code | meaning |\n|---|---|",
        "\n".join(f"| {int(code)} | {meaning} |" for code, meaning in EXIT_MEANINGS.items()) + "\n",
        "An error is told on stderr as `error: …`, and `hint: …` where there is something to do about it. Under "
        '`--json` it stands on stdout too, as `{"error": CODE, "message": …, "hint": …, "diagnostics": […]}`.\n',
        "Colours appear on a terminal only, and never with `NO_COLOR` set.\n",
    ]
    for name in COMMANDS:
        found = cli.get_command(context, name)
        assert found is not None
        parts += _command(found, click.Context(found, info_name=name, parent=context))
    return "\n".join(parts).rstrip() + "\n"


def _command(command: click.Command, context: click.Context, depth: int = 2) -> Iterator[str]:
    yield f"{'#' * depth} {context.command_path}\n"
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"```console\n{usage}\n```\n"
    yield inspect.cleandoc(command.help or "") + "\n"
    own = list(_options(command, context, common=False))
    if own:
        yield "\n".join(own) + "\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _command(found, click.Context(found, info_name=name, parent=context), depth + 1)


def _options(command: click.Command, context: click.Context, *, common: bool) -> Iterator[str]:
    records = [
        parameter.get_help_record(context)
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option)
        and (parameter.name in KEYS) == common
        and not {"--help", "--version"} & {*parameter.opts}
    ]
    shown = [record for record in records if record]
    if shown:
        yield "| option | |\n|---|---|"
    for names, text in shown:
        told = " ".join(text.split()).replace("|", "\\|")
        yield f"| `{names}` | {told} |"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(reference())
    else:
        sys.stdout.write(reference())
