"""What is imported from a reading of OBS that nothing declares, as from files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamsd.drivers.obs.importing import Declared, scenes_of
from streamsd.drivers.obs.recognize import Surroundings
from streamsd.kinds.obs.held import Held
from streamsd.kinds.obs.importing import instance_of


def profile_of(studio: Mapping[str, Any], name: str) -> dict[str, Any]:
    around = Surroundings()
    scenes = scenes_of(studio, around, Declared())
    obs = instance_of(Held(studio), scenes, around, lambda what: f"${{secret:env:{what}}}")
    return {"version": 1, "obs": {name: obs}, "scenes": dict(scenes.scenes)}
