"""What an OBS holds as a profile: it validates, and declares the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import yaml

from streamsd.core.address import Address
from streamsd.drivers.obs.collection_file import NotACollection, studio_of
from streamsd.drivers.obs.importing import Declared, scenes_of
from streamsd.drivers.obs.profile_directory import profile_beside, read_profile
from streamsd.drivers.obs.recognize import Surroundings, source_form
from streamsd.kinds.obs.held import held_in_files
from streamsd.kinds.obs.importing import instance_of
from streamsd.kinds.obs.kind import ObsKind
from streamsd.kinds.obs.spec import ObsSpec
from streamsd.kinds.scene.kind import SceneKind
from streamsd.kinds.scene.spec import SceneSpec
from streamsd.programs.director.inventory import plain
from streamsd.programs.director.model import Input, Studio
from streamsd.programs.director.parse import parse_desired
from tests.contract.obs_documents import show
from tests.unit.obs.context import FakeContext, compiled, scene
from tests.unit.obs.imported import profile_of
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


def _whole(inputs: Mapping[str, Input]) -> dict[str, Input]:
    """With OBS's defaults: what is not set."""
    defaults = Surroundings().defaults
    return {
        name: replace(found, settings={**defaults.get(found.kind, {}), **found.settings})
        for name, found in inputs.items()
    }


def test_an_imported_profile_declares_what_was_there(tmp_path: Path) -> None:
    before = parse_desired(show()).studio
    profile = profile_of(plain(before), "studio")
    again: dict[str, Any] = yaml.safe_load(yaml.safe_dump(profile, sort_keys=False, allow_unicode=True))
    after = declared(again, FakeContext(tmp_path))
    assert after.scenes == before.scenes
    assert list(after.scenes) == list(before.scenes)
    assert _whole(after.inputs) == _whole(before.inputs)
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


def test_a_special_input_is_declared_by_its_place_unless_it_is_as_obs_makes_it() -> None:
    studio = parse_desired(show()).studio
    inputs = {"Mic/Aux": Input("pulse_input_capture", {}), "House": Input("pulse_output_capture", {"device_id": "x"})}
    more = replace(studio, inputs={**studio.inputs, **inputs}, special={"mic1": "Mic/Aux", "desktop2": "House"})
    profile = profile_of(plain(more), "studio")
    assert profile["obs"]["studio"]["special"] == {"desktop_2": {"source": "x", "name": "House"}}
    assert "Mic/Aux" not in yaml.safe_dump(profile)


INI = """
[General]
Name=Evening
[Video]
BaseCX=1280
BaseCY=720
OutputCX=640
OutputCY=360
FPSType=2
FPSNum=50
FPSDen=3
[Output]
Mode=Advanced
FilenameFormatting=%hh=%mm
[AdvOut]
RecEncoder=obs_x264
RecFilePath=/var/show
RecFormat=ts
FFURL=rtmp://somewhere/secret
Track2Name=voice
[SimpleOutput]
VBitrate=77
[Twitch]
Token=secret
"""


def test_the_files_of_an_obs_profile_are_read(tmp_path: Path) -> None:
    profile, scenes = tmp_path / "basic/profiles/Evening", tmp_path / "basic/scenes"
    profile.mkdir(parents=True)
    scenes.mkdir()
    (profile / "basic.ini").write_text(INI)
    (profile / "streamEncoder.json").write_text('{"bitrate": 900}')
    (profile / "service.json").write_text('{"type": "rtmp_custom", "settings": {"server": "rtmp://x/y", "key": "k"}}')
    assert profile_beside(scenes / "Any.json") == profile
    files = read_profile(profile)
    assert files.secrets["key"].reveal() == "k"
    studio = plain(replace(parse_desired(show()).studio, special={}))
    assert isinstance(studio, dict)
    held = held_in_files(studio, "Any", files)
    scenes_found = scenes_of(held.studio, Surroundings(), Declared())
    found = instance_of(held, scenes_found, Surroundings(), lambda what: f"${{secret:env:{what}}}")
    assert found["advanced"] == {
        "encoder": "obs_x264",
        "recording_encoder": "obs_x264",
        "settings": {"bitrate": 900},
        "tracks": [{"bitrate": "160k"}, {"name": "voice", "bitrate": "160k"}],
        "stream_track": 1,
    }
    assert found["record"] == {"path": "/var/show", "format": "ts", "filename": "%hh=%mm", "tracks": [1]}
    assert found["stream"] == {"server": "rtmp://x/y", "key": "${secret:env:key}"}
    assert (found["profile"], found["collection"]) == ("Evening", "Any")
    assert ObsSpec.model_validate(found).frame_rate == Fraction(50, 3)
    assert "parameters" not in found


def test_what_no_form_says_exactly_is_said_by_obs_s_own_names(tmp_path: Path) -> None:
    image = tmp_path / "logo.png"
    image.touch()
    around = Surroundings({":7": "desk"}, {"music.monitor": "music"})
    for kind, settings, form in (
        ("image_source", {"file": str(image)}, "image"),
        ("image_source", {"file": str(tmp_path / "lost.png")}, "input"),
        ("image_source", {"file": str(image), "linear_alpha": True}, "input"),
        ("image_source", {}, "input"),
        ("text_ft2_source_v2", {"text": "x"}, "text"),
        ("text_ft2_source_v2", {"text": "x", "antialiasing": False}, "input"),
        ("ffmpeg_source", {"local_file": str(image)}, "media"),
        ("ffmpeg_source", {"local_file": str(image), "hw_decode": False}, "media"),
        ("ffmpeg_source", {"is_local_file": False, "input": "srt://x"}, "network"),
        ("xshm_input", {"advanced": True, "server": ":7"}, "screen"),
        ("xshm_input", {"advanced": True, "server": ":8"}, "input"),
        ("pulse_output_capture", {"device_id": "music.monitor"}, "audio"),
        ("pulse_output_capture", {"device_id": "default"}, "input"),
        ("my_source", {"a": 1}, "input"),
    ):
        assert [*source_form(kind, settings, around)] == [form], (kind, settings)
    assert source_form("my_source", {}, around) == {"input": {"kind": "my_source", "plugin": True}}


def test_the_kinds_of_a_newer_obs_are_said_in_the_same_words(tmp_path: Path) -> None:
    (slide := tmp_path / "slide.png").touch()
    around = Surroundings({":7": "desk"})
    files = [{"value": str(slide), "selected": False, "hidden": False}]
    shown = {"files": [str(slide)], "size": "1920x1080"}
    for kind, settings, form in (
        ("xshm_input_v2", {"advanced": True, "server": ":7", "screen": 0}, {"screen": {"display": "desk"}}),
        ("slideshow_v2", {"files": files}, {"slideshow": shown | {"every": "2s"}}),
        ("slideshow_v2", {"files": files, "slide_time": 8000, "playback_mode": "loop"}, {"slideshow": shown}),
        (
            "slideshow_v2",
            {"files": files, "slide_time": 8000, "use_custom_size": "400x300"},
            {"slideshow": shown | {"size": "400x300"}},
        ),
        (
            "slideshow_v2",
            {"files": files, "slide_time": 8000, "playback_mode": "random"},
            {"slideshow": shown | {"random": True}},
        ),
        (
            "slideshow_v2",
            {"files": files, "slide_time": 8000, "playback_mode": "once"},
            {"slideshow": shown | {"loop": False}},
        ),
    ):
        assert source_form(kind, settings, around) == form, (kind, settings)
    assert source_form("slideshow", {"files": files}, around) == {"slideshow": {"files": [str(slide)]}}
    ratio = {"files": files, "use_custom_size": "16:9"}
    assert [*source_form("slideshow", ratio, around)] == ["input"], "a ratio is no size"
    for other in ({"advanced": True, "server": ":7"}, {"advanced": True, "server": ":7", "screen": 1}):
        free = {"input": {"kind": "xshm_input_v2", "settings": other}}
        assert source_form("xshm_input_v2", other, around) == free, "none is chosen until one is"


@pytest.mark.parametrize("bad", [[], {}, {"sources": [3]}, {"sources": [{"id": "scene"}]}])
def test_another_file_is_no_collection(bad: object) -> None:
    with pytest.raises(NotACollection):
        studio_of(bad)


def test_kinds_are_what_they_say() -> None:
    assert (ObsKind.spec, SceneKind.spec) == (ObsSpec, SceneSpec)
    assert Address(ObsKind.name, "x") == Address("Obs", "x")
