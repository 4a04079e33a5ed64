"""`streamsd obs import`: what an OBS holds, as a profile."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamsd.cli.client import resource_path
from streamsd.cli.command import Session, command
from streamsd.cli.failure import Failure
from streamsd.cli.obs_instance import INSTANCE, instance_address
from streamsd.cli.profile_words import in_own_words
from streamsd.core.diagnostics import dotted
from streamsd.core.secret import UNREFERENCED, Secret

if TYPE_CHECKING:
    from streamsd.drivers.obs.profile_directory import ProfileFiles

Json = dict[str, Any]

_ODD = (KeyError, TypeError, AttributeError, IndexError, ValueError, ArithmeticError, RecursionError)
"""What a file comes to that OBS did not write, where nothing tells it in words of its own."""


@command("import")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", default=None, help="What the instance is called in the profile.")
@click.option(
    "--obs-profile",
    default=None,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="With FILE: the directory of the OBS profile. Left out: the one beside the collection (../profiles).",
)
@click.option(
    "--secrets",
    default=None,
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the stream's key into this directory. Left out: the profile only says where it is to be.",
)
@INSTANCE
def import_(
    session: Session,
    file: Path | None,
    name: str | None,
    obs_profile: Path | None,
    secrets: Path | None,
    instance: str | None,
) -> None:
    """Print a profile that declares what OBS holds.

    From FILE, a scene collection as OBS writes it (basic/scenes/*.json), with the OBS profile beside it; or from a
    running instance: then it is the running profile with what that OBS holds in it.
    """
    from pydantic import ValidationError

    keeping = _Keeping((secrets or _directory_of(session.settings.profile) / "secrets").absolute(), secrets is not None)
    try:
        if file is not None:
            profile = _of_file(file, obs_profile, name or "studio", keeping)
        else:
            profile = _of_instance(session, instance_address(session, instance), name, keeping)
        text = _printed(in_own_words(profile), as_json=session.json)
    except ValidationError as fault:
        # Not its own words: they hold the values.
        first = fault.errors(include_url=False, include_input=False)[0]
        where = dotted(tuple(first["loc"]))
        raise Failure(
            f"OBS holds what no profile can say: {where}: {first['msg']}",
            "set it to something else in OBS, and import again",
            code="not-sayable",
        ) from None
    except _ODD as fault:
        if file is None:
            raise
        raise Failure(f"{file}: not as OBS writes it: {fault!r}"[:300], code="not-a-collection") from fault
    click.echo(text, nl=False)
    for line in keeping.said():
        click.echo(line, err=True)


def _printed(profile: Json, *, as_json: bool) -> str:
    import yaml

    if as_json:
        return json.dumps(profile, indent=2, ensure_ascii=False) + "\n"
    return yaml.safe_dump(profile, sort_keys=False, allow_unicode=True, width=110)


@dataclass
class _Keeping:
    """Where secrets are to be, and whether to write there those that are known."""

    directory: Path
    write: bool
    missing: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def reference(self, name: str, secret: Secret | None) -> str:
        """What the profile says instead of it."""
        path = self.directory / name
        if self.write and secret is not None:
            self._put(path, secret)
        elif not path.exists():
            self.missing.append(path)
        return f"${{secret:file:{path}}}"

    def said(self) -> Iterator[str]:
        yield from (f"note: {line}" for line in self.notes)
        for path in dict.fromkeys(self.missing):
            yield f"note: a secret is not in the profile: put it into {path} (chmod 600)"

    def _put(self, path: Path, secret: Secret) -> None:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as out:
                os.fchmod(descriptor, 0o600)
                out.write(secret.reveal() + "\n")
        except OSError as fault:
            raise Failure(
                f"{path}: {fault.strerror}", "--secrets names another directory", code="cannot-write"
            ) from None


def _of_file(file: Path, directory: Path | None, name: str, keeping: _Keeping) -> Json:
    from streamsd.drivers.obs.collection_file import studio_of
    from streamsd.drivers.obs.profile_directory import ProfileFiles, profile_beside, read_profile
    from streamsd.kinds.obs.held import held_in_files
    from streamsd.kinds.obs.imported import profile_of_files

    try:
        data = json.loads(file.read_text())
        studio = studio_of(data)
    except (OSError, ValueError) as fault:
        hint = "OBS keeps its collections in basic/scenes/*.json"
        raise Failure(f"{file}: {fault}", hint, code="not-a-collection") from fault
    directory = directory or profile_beside(file)
    files = ProfileFiles("")
    if directory is not None:
        try:
            files = read_profile(directory)
        except (OSError, ValueError) as fault:
            raise Failure(
                f"{directory}: {fault}", "--obs-profile names the directory of a profile", code="not-a-profile"
            ) from fault
    else:
        keeping.notes.append("no OBS profile is beside the collection: encoders and outputs are OBS's defaults")
    held = held_in_files(studio, str(data.get("name", file.stem)), files)
    _note_service(held.service, keeping)
    return profile_of_files(name, held, _stream_secret(name, files, keeping))


def _of_instance(session: Session, address: str, name: str | None, keeping: _Keeping) -> Json:
    from streamsd.drivers.obs.profile_directory import ProfileFiles, read_profile
    from streamsd.kinds.obs.held import held_by
    from streamsd.kinds.obs.imported import declares_stream, profile_of_instance

    client = session.client
    read = client.post(f"{resource_path(address)}/operations/read", {})
    declared: Json = client.get("/v1/declared")
    resources = client.get("/v1/status")["resources"]
    own = address.partition("/")[2]
    files = ProfileFiles("")
    if read["directory"]:
        try:
            files = read_profile(Path(read["directory"]))
        except (OSError, ValueError) as fault:
            keeping.notes.append(f"what only OBS's own files say is left out: {fault}")
    held = held_by(read, files)
    if not declares_stream(declared, own):
        _note_service(held.service, keeping)
    secret = _stream_secret(own, files, keeping)
    whole: Json = _with_references(
        profile_of_instance(own, name or own, held, read, declared, resources, secret), keeping
    )
    return whole


def _stream_secret(name: str, files: ProfileFiles, keeping: _Keeping) -> Callable[[str], str]:
    return lambda what: keeping.reference(f"{name}-stream-{what}", files.secrets.get(what))


def _directory_of(profile: Path) -> Path:
    return profile if profile.is_dir() else profile.parent


def _note_service(service: Json | None, keeping: _Keeping) -> None:
    if service is not None and service["type"] != "rtmp_custom" and service["settings"]:
        known = service["settings"].get("service", service["type"])
        keeping.notes.append(
            f"it streams to {known} by OBS's own list, which a profile cannot say: `stream` is left out"
        )


def _with_references(value: Any, keeping: _Keeping, path: tuple[str, ...] = ()) -> Any:
    """With a reference for each secret that stands in the running profile itself."""
    if value == UNREFERENCED:
        return keeping.reference("-".join(path), None)
    if isinstance(value, dict):
        return {key: _with_references(item, keeping, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_references(item, keeping, (*path, str(n))) for n, item in enumerate(value)]
    return value
