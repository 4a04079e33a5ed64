"""All that an OBS holds, as plain data: what an import makes a profile of. No secret is among it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass

from streamsd.core.report import JsonValue
from streamsd.programs.director.client import Client, Request
from streamsd.programs.director.collection import CollectionFile
from streamsd.programs.director.model import Service, Studio

_SECRETS = ("key", "password", "bearer_token")


def inventory(
    client: Client, files: CollectionFile | None, studio: Studio, parameters: Sequence[tuple[str, str]]
) -> dict[str, JsonValue]:
    """`studio`; `profile` and `collection` that are loaded; `parameters` of the profile, each with its default, by
    section and name; `service` without its key; `directory` of the profile's files and the `encoders` in them, for an
    OBS whose files can be read."""
    profile = str(client.call("GetProfileList")["currentProfileName"])
    told: dict[str, JsonValue] = {
        "studio": plain(studio),
        "profile": profile,
        "collection": str(client.call("GetSceneCollectionList")["currentSceneCollectionName"]),
        "parameters": _parameters(client, parameters),
        "service": _service(studio.service),
        "directory": None,
        "encoders": {},
    }
    if files is not None:
        told["directory"] = str(files.directory(profile))
        encoders = {name: files.encoder(profile, name) for name in ("streamEncoder", "recordEncoder")}
        told["encoders"] = {name: settings for name, settings in encoders.items() if isinstance(settings, dict)}
    return told


def _parameters(client: Client, names: Sequence[tuple[str, str]]) -> JsonValue:
    answers = client.batch(
        [Request.of("GetProfileParameter", parameterCategory=section, parameterName=name) for section, name in names]
    )
    found: dict[str, JsonValue] = {}
    for (section, name), answer in zip(names, answers, strict=True):
        if answer.ok:
            default = answer.data.get("defaultParameterValue")
            rows = found.setdefault(section, {})
            assert isinstance(rows, dict)
            rows[name] = {"value": answer.data.get("parameterValue") or default, "default": default}
    return found


def _service(service: Service | None) -> JsonValue:
    if service is None:
        return None
    settings = {key: value for key, value in service.settings.items() if key not in _SECRETS}
    secrets: list[JsonValue] = [key for key in _SECRETS if service.settings.get(key)]
    return {"type": service.type, "settings": settings, "secrets": secrets}


def plain(value: object) -> JsonValue:
    """Dataclasses as JSON: sets sorted, tuple keys joined by a slash. A stream's service and key stay inside."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value) if f.name != "service"}
    if isinstance(value, Mapping):
        return {"/".join(key) if isinstance(key, tuple) else str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, frozenset):
        return sorted(plain(item) for item in value)  # type: ignore[type-var]  # names and numbers only
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(type(value).__name__)
