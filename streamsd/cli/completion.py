"""`streamsd completion`."""

from __future__ import annotations

import click

from streamsd.cli.command import Session, command


@command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(session: Session, shell: str) -> None:
    """Print the completion script of a SHELL.

    For bash: `source <(streamsd completion bash)`, or write it to
    ~/.local/share/bash-completion/completions/streamsd.
    """
    from click.shell_completion import get_completion_class

    from streamsd.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(cli, {}, "streamsd", "_STREAMSD_COMPLETE").source()
    if session.json:
        session.answer({"shell": shell, "script": script})
    session.say(script)
