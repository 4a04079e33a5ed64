"""`streamsd obs`: an operator's commands during a show, and OBS's scenes as a profile."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import click

from streamsd.cli.client import resource_path
from streamsd.cli.command import Session, command
from streamsd.cli.failure import Failure
from streamsd.cli.obs_import import import_
from streamsd.cli.obs_instance import INSTANCE, instance_address


@click.group("obs", context_settings={"help_option_names": ["-h", "--help"]})
def obs() -> None:
    """Run a show on an OBS instance.

    What is switched here stays so, whatever the profile says, until `streamsd obs reset`; the resource's condition
    Overridden tells of it.
    """


@obs.group("scene")
def scene() -> None:
    """Scenes on air."""


@obs.group("collection")
def collection() -> None:
    """Scene collections."""


@obs.group("stream")
def stream() -> None:
    """The stream."""


@obs.group("record")
def record() -> None:
    """The recording."""


@obs.group("replay")
def replay() -> None:
    """The replay buffer."""


@obs.group("source")
def source() -> None:
    """Sources of scenes."""


def _operate(session: Session, instance: str | None, operation: str, **arguments: object) -> dict[str, Any]:
    path = resource_path(instance_address(session, instance))
    answer: dict[str, Any] = session.client.post(f"{path}/operations/{operation}", arguments)
    return answer


def _tell(session: Session, answer: dict[str, Any]) -> None:
    if session.json:
        session.answer(answer)
        return
    for line in answer.get("changed", []):
        click.echo(line)
    if answer.get("message"):
        click.echo(f"not all of it: {answer['message']}")
    overrides = answer.get("overrides")
    if overrides:
        click.echo(f"differs from the profile until reset: {json.dumps(overrides, ensure_ascii=False)}")


@command("switch")
@click.argument("scene")
@INSTANCE
def scene_switch(session: Session, scene: str, instance: str | None) -> None:
    """Put SCENE on air."""
    _tell(session, _operate(session, instance, "scene-switch", scene=scene))


@command("switch")
@click.argument("collection")
@click.option("--allow-interrupt", is_flag=True, help="Though something is streamed or recorded.")
@INSTANCE
def collection_switch(session: Session, collection: str, allow_interrupt: bool, instance: str | None) -> None:
    """Load COLLECTION, one of those that are declared."""
    answer = _operate(session, instance, "collection-switch", collection=collection, interrupt=allow_interrupt)
    _tell(session, answer)


@command("transition")
@INSTANCE
def transition(session: Session, instance: str | None) -> None:
    """Put on air what is in preview (studio mode)."""
    _tell(session, _operate(session, instance, "transition"))


def _plain(group: click.Group, name: str, operation: str, about: str) -> None:
    """A command without arguments."""

    @command(name)
    @INSTANCE
    def run(session: Session, instance: str | None) -> None:
        _tell(session, _operate(session, instance, operation))

    run.help = about
    group.add_command(run)


def _of_item(name: str, operation: str, about: str) -> None:
    @command(name)
    @click.argument("scene")
    @click.argument("source")
    @INSTANCE
    def run(session: Session, scene: str, source: str, instance: str | None) -> None:
        _tell(session, _operate(session, instance, operation, scene=scene, source=source))

    run.help = about
    source.add_command(run)


def _of_input(name: str, operation: str, about: str) -> None:
    @command(name)
    @click.argument("source")
    @INSTANCE
    def run(session: Session, source: str, instance: str | None) -> None:
        _tell(session, _operate(session, instance, operation, input=source))

    run.help = about
    source.add_command(run)


@command("screenshot")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--source", default=None, help="A source or scene; left out: what is on air.")
@INSTANCE
def screenshot(session: Session, file: Path, source: str | None, instance: str | None) -> None:
    """Save a picture of what is on air to FILE; its ending says the format."""
    if not file.parent.is_dir():
        raise Failure(f"{file}: there is no directory {file.parent}", "make it, or name another", code="cannot-write")
    arguments = {"format": file.suffix.lstrip(".") or "png", **({"source": source} if source else {})}
    answer = _operate(session, instance, "screenshot", **arguments)
    try:
        file.write_bytes(base64.b64decode(answer["image"].partition(",")[2]))
    except OSError as fault:
        raise Failure(f"{file}: {fault.strerror}", "name another file", code="cannot-write") from fault
    if session.json:
        session.answer({"source": answer["source"], "file": str(file)})


@command("save")
@INSTANCE
def replay_save(session: Session, instance: str | None) -> None:
    """Save the last seconds, and print the file's name."""
    answer = _operate(session, instance, "replay-save")
    if session.json:
        session.answer(answer)
    else:
        click.echo(answer["path"])


scene.add_command(scene_switch)
collection.add_command(collection_switch)
replay.add_command(replay_save)
obs.add_command(transition)
obs.add_command(screenshot)
obs.add_command(import_)
_plain(obs, "reset", "reset", "Return to what the profile says.")
_plain(stream, "start", "stream-start", "Start streaming.")
_plain(stream, "stop", "stream-stop", "Stop streaming.")
_plain(record, "start", "record-start", "Start recording.")
_plain(record, "stop", "record-stop", "Stop recording.")
_plain(record, "pause", "record-pause", "Pause the recording.")
_plain(record, "resume", "record-resume", "Go on recording.")
_of_item("show", "source-show", "Show SOURCE in SCENE.")
_of_item("hide", "source-hide", "Hide SOURCE in SCENE.")
_of_input("mute", "source-mute", "Silence SOURCE.")
_of_input("unmute", "source-unmute", "Let SOURCE be heard.")
