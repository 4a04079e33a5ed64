"""A whole profile of what an OBS holds: from its files, or from a running instance and the profile that it runs by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from streamsd.core.secret import UNREFERENCED
from streamsd.drivers.obs.importing import Declared, reached, scenes_of
from streamsd.drivers.obs.recognize import Surroundings
from streamsd.kinds.obs.held import Held, Json
from streamsd.kinds.obs.importing import instance_of

SecretOf = Callable[[str], str]
"""The reference that stands in the profile for the key, or password, of the stream."""


def profile_of_files(name: str, held: Held, secret: SecretOf) -> Json:
    """A profile of an instance called `name`, and nothing else."""
    around = Surroundings()
    scenes = scenes_of(held.studio, around, Declared())
    return {"version": 1, "obs": {name: instance_of(held, scenes, around, secret)}, "scenes": dict(scenes.scenes)}


def declares_stream(declared: Mapping[str, Any], name: str) -> bool:
    """Whether the running profile says itself where the instance streams to."""
    return "stream" in declared["obs"][name]


def profile_of_instance(
    name: str,
    called: str,
    held: Held,
    read: Mapping[str, Any],
    declared: Mapping[str, Any],
    resources: Iterable[Mapping[str, Any]],
    secret: SecretOf,
) -> Json:
    """The running profile (`declared`) with what the instance `name` holds in it, where it is to be `called` so.
    `read`: what the instance answered. `resources`: the status of all that is declared."""
    said: Json = declared["obs"][name]
    observed = [*resources]
    around = Surroundings(
        displays=_observed(observed, "Display", "display"),
        devices=_observed(observed, "Audio", "monitor"),
        defaults=read["defaults"],
    )
    differing = frozenset(read["differing"])
    listed = said["scenes"] if "scenes" in said else said["collections"].get(held.collection, [])
    scenes = scenes_of(
        held.studio,
        around,
        Declared(
            sources=said.get("sources", {}),
            scenes=declared.get("scenes", {}),
            loaded=reached(listed, declared.get("scenes", {})),
            differing=differing,
        ),
    )
    for what in ("key", "password"):
        if said.get("stream", {}).get(what) == UNREFERENCED:
            said = {**said, "stream": {**said["stream"], what: secret(what)}}
    others = {other: spec for other, spec in declared["obs"].items() if other != name}
    instance = instance_of(held, scenes, around, secret, said, differing)
    return {**declared, "obs": {**others, called: instance}, "scenes": dict(scenes.scenes)}


def _observed(resources: Iterable[Mapping[str, Any]], kind: str, key: str) -> dict[str, str]:
    """What is observed of each resource of a kind, to its name."""
    return {r["observed"][key]: r["name"] for r in resources if r["kind"] == kind and key in r["observed"]}
