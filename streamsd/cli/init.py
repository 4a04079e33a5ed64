"""`streamsd init`."""

from __future__ import annotations

from importlib import resources

import click

from streamsd.cli.command import Session, command
from streamsd.cli.failure import Failure


@command("init")
@click.option("--example", default="starter", show_default=True, metavar="NAME", help="Which one; --list names them.")
@click.option("--list", "listing", is_flag=True, help="List the examples there are.")
@click.option("--force", is_flag=True, help="Write over a profile that is there.")
def init(session: Session, example: str, listing: bool, force: bool) -> None:
    """Write a first profile, with comments.

    Where the daemon looks for it, or at --profile.
    """
    examples = {
        entry.name.removesuffix(".yaml"): entry.read_text("utf-8")
        for entry in sorted(resources.files("streamsd.cli").joinpath("templates").iterdir(), key=lambda e: e.name)
        if entry.name.endswith(".yaml")
    }
    if listing:
        about = {name: _about(text) for name, text in examples.items()}
        if session.json:
            session.answer(about)
        session.say("\n".join(f"{name:12}  {text}" for name, text in about.items()))
        return
    if example not in examples:
        from streamsd.core.diagnostics import name_hint

        raise Failure(
            f"there is no example {example!r}", name_hint(example, examples, "examples"), code="unknown-example"
        )
    profile = session.settings.profile
    if profile.is_dir():
        profile /= f"{example}.yaml"
    if profile.exists() and not force:
        raise Failure(f"{profile} is there already", "--force writes over it", code="profile-exists")
    profile.parent.mkdir(parents=True, exist_ok=True)
    profile.write_text(examples[example], "utf-8")
    if session.json:
        session.answer({"profile": str(profile), "example": example})
    session.say(f"Wrote {profile}. Read it, change it, then: streamsd up")


def _about(text: str) -> str:
    """The first comment line that is no modeline."""
    lines = (line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    return next((line for line in lines if not line.startswith("yaml-language-server")), "")
