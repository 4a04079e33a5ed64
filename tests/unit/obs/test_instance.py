"""Instances: what they compile to, what a change of a field touches, and what is wrong before anything is."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from streamsd.core.address import Address
from streamsd.core.diagnostics import ProblemsError
from streamsd.core.kind import Compiled, OperationFault
from streamsd.core.secret import Secret
from streamsd.core.unit import spec_hash
from streamsd.drivers.relay import RtmpPoint, StreamExports
from streamsd.kinds.obs.check import check_spec
from streamsd.kinds.obs.kind import ObsKind
from streamsd.kinds.obs.operations import question_of
from streamsd.kinds.obs.spec import ObsSpec
from streamsd.programs.director.parse import parse_desired
from streamsd.testing.kinds import said_against
from tests.unit.obs.context import FakeContext, compiled, device, display, instance, scene

RED = {"color": {"color": "#ff0000"}}
KEY = "live_4711_geheim"


@pytest.fixture
def context(tmp_path: Path) -> FakeContext:
    made = FakeContext(tmp_path)
    scene(made, "main", {"items": [{"name": "red", **RED}, {"source": "logo"}]})
    scene(made, "pause", {"items": [{"source": "red"}]})
    made.known[Address("Display", "desk")] = display()
    made.known[Address("Audio", "music")] = device("music")
    made.known[Address("Audio", "other")] = device("other")
    return made


def spec(**more: Any) -> dict[str, Any]:
    return {
        "scenes": ["main", "pause"],
        "sources": {"logo": {"color": {"color": "#00ff00"}}},
        "stream": {"server": "rtmp://127.0.0.1/live", "key": KEY},
        **more,
    }


def document(found: Compiled) -> Mapping[str, Any]:
    file = next(f for f in found.unit("director").files if f.path.name == "desired.json")
    assert isinstance(file.content, Secret)
    return json.loads(file.content.reveal())  # type: ignore[no-any-return]


def test_it_is_a_display_obs_and_a_director(context: FakeContext) -> None:
    found = compiled(context, spec())
    assert [unit.id.role for unit in found.units] == ["display", "obs", "director"]
    assert found.unit("obs").follows == ("display",)
    on_desk = compiled(context, spec(display="desk"))
    assert [unit.id.role for unit in on_desk.units] == ["obs", "director"]
    assert on_desk.unit("obs").env["DISPLAY"] == ":7"


def test_the_director_reads_what_is_written_for_it(context: FakeContext) -> None:
    desired = parse_desired(document(compiled(context, spec(program="main", fps=29.97, canvas="1920x1080"))))
    assert list(desired.studio.scenes) == ["main", "pause"]
    assert set(desired.studio.inputs) == {"red", "logo"}
    assert desired.studio.video is not None
    assert (desired.studio.video.fps_numerator, desired.studio.video.fps_denominator) == (30000, 1001)
    assert desired.studio.service is not None
    assert desired.studio.service.settings["key"] == KEY
    assert (desired.outputs.stream, desired.outputs.record) == (False, None)
    assert desired.prune


def test_no_secret_is_where_others_can_see_it(context: FakeContext) -> None:
    found = compiled(context, spec(websocket={"password": "ws-geheim"}))
    for unit in found.units:
        seen = repr(dataclasses.replace(unit, files=())) + "".join(
            f.content for f in unit.files if not isinstance(f.content, Secret)
        )
        assert KEY not in seen
        assert "ws-geheim" not in seen
    assert KEY not in repr(found.live)


def test_compiling_again_comes_to_the_same(context: FakeContext) -> None:
    first, second = compiled(context, spec()), compiled(context, spec())
    assert first.live == second.live
    assert [spec_hash(u, b"k") for u in first.units] == [spec_hash(u, b"k") for u in second.units]


CHANGES: dict[str, tuple[dict[str, Any], set[str], set[str]]] = {
    "program": ({"program": "pause"}, set(), {"scenes"}),
    "sources": ({"sources": {"logo": {"color": {"color": "#0000ff"}}}}, set(), {"scenes"}),
    "transition": ({"transition": {"name": "Cut"}}, set(), {"scenes"}),
    "prune": ({"prune": False}, set(), {"scenes"}),
    "stream state": (
        {"stream": {"server": "rtmp://127.0.0.1/live", "key": KEY, "state": "on"}},
        set(),
        {"scenes"},
    ),
    "stream key": ({"stream": {"server": "rtmp://127.0.0.1/live", "key": "another"}}, set(), {"profile"}),
    "canvas": ({"canvas": "640x360"}, set(), {"profile"}),
    "encoder": ({"encoder": {"bitrate": "1M"}}, set(), {"profile"}),
    "transitions": (
        {"transitions": {"w": {"kind": "wipe_transition"}}},
        set(),
        {"scenes", "structure"},
    ),
    "collection": ({"collection": "other"}, set(), {"scenes", "structure"}),
    "profile": ({"profile": "other"}, {"obs"}, {"profile"}),
    "sample_rate": ({"sample_rate": 44100}, {"obs"}, set()),
    "display": ({"display": "desk"}, {"obs"}, set()),
    "audio": ({"audio": "music"}, {"obs"}, set()),
    "port": ({"websocket": {"port": 4455}}, {"obs", "director"}, set()),
    "description": ({"description": "x"}, set(), set()),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_touches_what_it_names(what: str, context: FakeContext) -> None:
    change, restarts, parts = CHANGES[what]
    before, after = compiled(context, spec()), compiled(context, spec(**change))
    hashes = [{u.id.role: spec_hash(u, b"k") for u in c.units} for c in (before, after)]
    common = hashes[0].keys() & hashes[1].keys()
    assert {role for role in common if hashes[0][role] != hashes[1][role]} == restarts
    assert {p for p in before.live if before.live[p].desired != after.live[p].desired} == parts


def test_only_what_interrupts_says_so(context: FakeContext) -> None:
    live = compiled(context, spec()).live
    assert {name: part.interrupts for name, part in live.items()} == {
        "scenes": False,
        "structure": True,
        "profile": True,
    }


def test_an_obs_of_somebody_elses_has_a_director_only(context: FakeContext) -> None:
    external = {"host": "127.0.0.1", "port": 4455, "password": "x"}
    found = compiled(context, spec(external=external))
    assert [unit.id.role for unit in found.units] == ["director"]
    desired = parse_desired(document(found))
    assert not desired.prune
    assert desired.collection == desired.profile == ""


PROBLEMS: dict[str, tuple[dict[str, Any], str]] = {
    "a source that nobody defines": ({"sources": {}}, "source-unknown"),
    "a name twice": ({"sources": {"logo": RED, "red": {"color": {"color": "#111111"}}}}, "source-defined-twice"),
    "a special input's name": ({"special": {"mic_1": {"source": "x", "name": "red"}}}, "source-defined-twice"),
    "a scene's name": ({"sources": {"logo": RED, "main": RED}}, "source-defined-twice"),
    "sound of another server": (
        {"audio": "music", "sources": {"logo": {"audio": {"device": "other"}}}},
        "audio-of-another-server",
    ),
}


@pytest.mark.parametrize("what", PROBLEMS)
def test_scenes_that_do_not_fit_are_told(what: str, context: FakeContext) -> None:
    change, code = PROBLEMS[what]
    with pytest.raises(ProblemsError) as error:
        compiled(context, spec(**change))
    assert [p.code for p in error.value.problems] == [code]


SPEC_PROBLEMS: dict[str, tuple[dict[str, Any], str]] = {
    "an output that OBS rounds": ({"output": "641x361"}, "output-size-odd"),
    "a program that is no scene": ({"program": "nowhere"}, "scene-not-listed"),
    "a scene twice": ({"scenes": ["main", "main"]}, "scene-twice"),
    "tracks of the simple mode": ({"record": {"tracks": [1, 2]}}, "tracks-need-advanced"),
    "too little patience": ({"answer_within": "1s"}, "answer-within-short"),
    "a special input of two sources": ({"special": {"mic_1": {"device": "music", "source": "x"}}}, "audio-source"),
    "a preview": ({"preview": "main"}, "preview-without-studio-mode"),
    "a transition's kind": ({"transitions": {"w": {"kind": "wipe"}}}, "transition-kind-unknown"),
    "a transition's setting": (
        {"transitions": {"w": {"kind": "wipe_transition", "settings": {"softness": 1}}}},
        "setting-unknown",
    ),
    "a fixed transition": ({"transitions": {"Fade": {"kind": "fade_transition"}}}, "transition-fixed"),
    "a transition's name": ({"transition": {"name": "wipe"}}, "transition-unknown"),
    "a display for an external one": (
        {"display": "desk", "external": {"password": "x"}},
        "external-has-own",
    ),
}


@pytest.mark.parametrize("what", SPEC_PROBLEMS)
def test_a_bad_spec_is_told(what: str) -> None:
    change, code = SPEC_PROBLEMS[what]
    assert [p.code for p in check_spec(ObsSpec.model_validate(spec(**change)))] == [code]


def test_a_host_without_obs_is_told(tmp_path: Path) -> None:
    bare = FakeContext(tmp_path, programs={})
    problems = list(said_against(ObsKind(), instance(spec()), bare))
    assert [p.code for p in problems] == ["program-missing", "program-missing"]
    assert "apt install obs-studio" in problems[0].hint


@pytest.mark.parametrize("bad", [{}, {"scenes": []}, {"scenes": ["a"], "collections": {"x": ["a"]}}])
def test_it_has_scenes_or_collections(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ObsSpec.model_validate(bad)


def test_one_of_several_collections_is_loaded(context: FakeContext) -> None:
    collections = {"show": ["main"], "idle": ["pause", "main"]}
    found = {**spec(), "collections": collections, "collection": "idle"}
    del found["scenes"]
    desired = parse_desired(document(compiled(context, found)))
    assert (desired.collection, list(desired.studio.scenes)) == ("idle", ["pause", "main"])


def test_a_collection_that_is_not_loaded_must_fit_too(context: FakeContext) -> None:
    scene(context, "broken", {"items": [{"source": "nowhere"}]})
    found = {**spec(), "collections": {"show": ["main"], "later": ["broken"]}, "program": "broken"}
    del found["scenes"]
    with pytest.raises(ProblemsError) as caught:
        compiled(context, found)
    assert [(p.code, p.path) for p in caught.value.problems] == [("source-unknown", ("collections", "later"))]


@pytest.mark.parametrize(
    ("fps", "exact"),
    [(30, Fraction(30)), (29.97, Fraction(30000, 1001)), (59.94, Fraction(60000, 1001)), (12.5, Fraction(25, 2))],
)
def test_rates_of_ntsc_are_exact(fps: float, exact: Fraction) -> None:
    assert ObsSpec.model_validate(spec(fps=fps)).frame_rate == exact


def test_advanced_output_has_its_encoder_in_a_file(context: FakeContext) -> None:
    advanced = {"encoder": "obs_x264", "settings": {"bitrate": 6000}}
    desired = parse_desired(document(compiled(context, spec(advanced=advanced, record={"path": "rec"}))))
    assert desired.encoders == {"streamEncoder": {"bitrate": 6000}}
    assert desired.studio.parameters["Output", "Mode"] == "Advanced"
    assert desired.studio.parameters["AdvOut", "RecFilePath"] == "/profile/rec"


def test_it_streams_to_a_stream_of_the_profile(context: FakeContext) -> None:
    point = RtmpPoint("rtmp://127.0.0.1:1935/live", Secret("geheim"))
    context.known[Address("Stream", "show")] = StreamExports(Path("/run/out"), {}, point)
    desired = parse_desired(document(compiled(context, spec(stream={"to": "show"}))))
    assert desired.studio.service is not None
    settings = desired.studio.service.settings
    assert (settings["server"], settings["key"]) == ("rtmp://127.0.0.1:1935/live", "geheim")
    assert desired.studio.parameters["SimpleOutput", "x264Settings"] == "keyint=60"
    context.known[Address("Stream", "show")] = StreamExports(Path("/run/out"), {})
    with pytest.raises(ProblemsError) as caught:
        compiled(context, spec(stream={"to": "show"}))
    assert [(p.code, p.path) for p in caught.value.problems] == [("stream-without-ingest", ("stream", "to"))]


@pytest.mark.parametrize("bad", [{}, {"server": "rtmp://a/b", "to": "show"}, {"to": "show", "key": KEY}])
def test_a_stream_goes_to_one_place(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ObsSpec.model_validate(spec(stream=bad))


def test_sound_of_every_scene_has_its_place(context: FakeContext) -> None:
    special = {"desktop_1": {"device": "music"}, "mic_2": {"source": "default", "name": "Guest"}}
    found = compiled(context, spec(audio="music", special=special))
    desired = parse_desired(document(found))
    assert desired.studio.special == {"desktop1": "Desktop Audio", "mic2": "Guest"}
    assert desired.studio.inputs["Desktop Audio"].settings == {"device_id": "music.monitor"}
    assert desired.studio.inputs["Guest"].kind == "pulse_input_capture"
    assert found.live["structure"] != compiled(context, spec(audio="music")).live["structure"]


def test_operations_take_what_they_need() -> None:
    assert question_of("scene-switch", {"scene": "x"}) == {"do": "switch", "scene": "x"}
    assert question_of("stream-stop", {}) == {"do": "output", "name": "stream", "on": False}
    for operation, arguments in [
        ("scene-swich", {}),
        ("scene-switch", {}),
        ("scene-switch", {"scene": 3}),
        ("stream-stop", {"now": True}),
    ]:
        with pytest.raises(OperationFault):
            question_of(operation, arguments)  # type: ignore[arg-type]
