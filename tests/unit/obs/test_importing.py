"""What an OBS holds as a profile: it validates, and declares the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from streamsd.core.address import Address
from streamsd.drivers.obs.collection_file import NotACollection, studio_of
from streamsd.drivers.obs.importing import profile_of
from streamsd.kinds.obs.kind import ObsKind
from streamsd.kinds.obs.spec import ObsSpec
from streamsd.kinds.scene.kind import SceneKind
from streamsd.kinds.scene.spec import SceneSpec
from streamsd.programs.director.commands import plain
from streamsd.programs.director.model import Input, Studio
from streamsd.programs.director.parse import parse_desired
from tests.contract.obs_documents import show
from tests.unit.obs.context import FakeContext, compiled, scene
from tests.unit.obs.test_instance import document


def declared(profile: dict[str, Any], context: FakeContext) -> Studio:
    """What an imported profile comes to. Scenes that others show come first."""
    waiting = dict(profile["scenes"])
    while waiting:
        for name, spec in list(waiting.items()):
            needs = {item["scene"] for item in spec.get("items", []) if "scene" in item}
            if not needs & waiting.keys():
                assert scene(context, name, waiting.pop(name)) == []
    return parse_desired(document(compiled(context, profile["obs"]["studio"]))).studio


def test_an_imported_profile_declares_what_was_there(tmp_path: Path) -> None:
    before = parse_desired(show()).studio
    profile = profile_of(plain(before), "studio")
    again: dict[str, Any] = yaml.safe_load(yaml.safe_dump(profile, sort_keys=False, allow_unicode=True))
    after = declared(again, FakeContext(tmp_path))
    assert after.scenes == before.scenes
    assert list(after.scenes) == list(before.scenes)
    assert after.inputs == before.inputs
    assert after.groups == before.groups
    assert (after.transitions, after.transition, after.transition_ms) == (
        before.transitions,
        before.transition,
        before.transition_ms,
    )
    assert (after.video, after.program) == (before.video, before.program)
    assert profile_of(plain(after), "studio") == profile


def test_titles_that_cannot_be_names_are_kept_beside_them(tmp_path: Path) -> None:
    studio = parse_desired(show()).studio
    scenes = {f"Scene {n}!": content for n, content in enumerate([studio.scenes["pause"]] * 2)}
    odd = replace(studio, scenes=scenes, groups={}, program="Scene 1!", transitions={})
    odd = replace(odd, inputs={name: studio.inputs[name] for name in ("bg", "red")})
    profile = profile_of(plain(odd), "studio")
    assert profile["obs"]["studio"]["program"] == "Scene-1"
    after = declared(profile, FakeContext(tmp_path))
    assert list(after.scenes) == ["Scene 0!", "Scene 1!"]
    assert after.program == "Scene 1!"


def test_a_special_input_is_left_to_obs() -> None:
    studio = parse_desired(show()).studio
    more = replace(
        studio,
        inputs={**studio.inputs, "Mic/Aux": Input("pulse_input_capture", {})},
        special={"mic1": "Mic/Aux"},
    )
    assert "Mic/Aux" not in yaml.safe_dump(profile_of(plain(more), "studio"))


@pytest.mark.parametrize("bad", [[], {}, {"sources": [3]}, {"sources": [{"id": "scene"}]}])
def test_another_file_is_no_collection(bad: object) -> None:
    with pytest.raises(NotACollection):
        studio_of(bad)


def test_kinds_are_what_they_say() -> None:
    assert (ObsKind.spec, SceneKind.spec) == (ObsSpec, SceneSpec)
    assert Address(ObsKind.name, "x") == Address("Obs", "x")
