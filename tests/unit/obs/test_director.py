"""The director's pure parts: comparing, editing a collection's file, overrides, and reading documents strictly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamsd.programs.director.changes import Cost, OutputName
from streamsd.programs.director.collection import edited, transition_settings
from streamsd.programs.director.diff import Comparison
from streamsd.programs.director.edits import moves_to
from streamsd.programs.director.model import Audio, Input, Item, Owned, Scene, Studio, Transform, Transition
from streamsd.programs.director.overrides import Overrides
from streamsd.programs.director.parse import DocumentFault, parse_desired
from streamsd.programs.director.profile import outputs_of_parameter, profile_changes
from streamsd.programs.director.same import different_settings, different_transform, offset_of, same
from streamsd.programs.director.state import State, declared_by, read_state, write_state
from tests.contract.obs_documents import color, desired, document, item, show


class Known:
    """What an OBS says of itself."""

    input_kinds = frozenset({"color_source_v3", "text_ft2_source_v2", "ffmpeg_source"})
    transition_kinds = frozenset({"cut_transition", "fade_transition", "wipe_transition"})

    def default(self, what: str, kind: str) -> dict[str, Any]:
        return {"color": 0, "width": 1920, "height": 1080} if kind == "color_source_v3" else {}


def words(wanted: dict[str, Any], found: Studio, **more: Any) -> list[str]:
    return [str(change) for change in Comparison(parse_desired(wanted), found, Known(), **more).changes()]


def studio(**more: Any) -> Studio:
    base = {"scenes": {"main": Scene()}, "inputs": {}, "transition": "Fade", "transition_ms": 300, "program": "main"}
    return Studio(**{**base, "studio_mode": False, **more})


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.permutations(list(range(7))), st.permutations(list(range(7))))
def test_single_moves_bring_one_order_into_another(have: list[int], want: list[int]) -> None:
    order = list(have)
    for which, to in moves_to(have, want):
        order.remove(which)
        order.insert(to, which)
    assert order == want
    assert moves_to(want, want) == []


def test_a_boolean_is_no_number_and_a_float_is_near() -> None:
    assert not same(True, 1)
    assert not same(0, False)
    assert same(0.1, 0.10000000149)
    assert not same(0xFF000000, 0xFF000001)
    assert same({"a": [1, 2.0]}, {"a": [1.0, 2]})
    assert not same({"a": 1}, {"a": 1, "b": 2})


def test_defaults_fill_in_and_what_is_not_wanted_goes_back() -> None:
    defaults = {"a": 1, "b": 2}
    assert different_settings({"a": 1}, {}, defaults) == ((), ())
    assert different_settings({"a": 3}, {"a": 1}, defaults) == (("a",), ())
    assert different_settings({}, {"b": 2, "c": 5}, defaults) == ((), ("c",))
    assert different_settings({}, {"c": 5}, defaults, kept={"c"}) == ((), ())


def test_a_group_that_obs_moved_as_a_whole_is_as_wanted() -> None:
    wanted = [Transform(x=10, y=10), Transform(x=70, y=30)]
    assert offset_of(wanted, [t.moved(-10, -10) for t in wanted]) == (10, 10)
    assert offset_of(wanted, [Transform(), Transform(x=61, y=20)]) is None
    turned = Transform(x=5, scale_x=2, scale_y=3, rotation=90).carried(10, 1)
    assert different_transform(turned, Transform(x=2, y=20, scale_x=2, scale_y=3, rotation=90)) == ()


def test_what_is_as_wanted_needs_nothing() -> None:
    found = studio(
        scenes={"main": Scene(items=(Item("a", id=1),))},
        inputs={"a": Input("color_source_v3", {"color": 5, "width": 100, "height": 100})},
    )
    assert words(document(scenes=[{"name": "main", "items": [item("a")]}], inputs={"a": color(5)}), found) == []


def test_what_is_not_declared_goes_only_with_prune_or_when_it_was() -> None:
    found = studio(
        scenes={"main": Scene(items=(Item("a", id=1),)), "old": Scene()},
        inputs={"a": Input("color_source_v3", {}), "Mic": Input("ffmpeg_source", {})},
        special={"mic1": "Mic"},
    )
    assert words(document(), found) == [
        "scene main, item a: remove",
        "input a: remove",
        "scene old: remove",
    ]
    assert words(document(prune=False), found) == []
    owned = Owned(scenes=frozenset({"old"}))
    assert words(document(prune=False), found, owned=owned) == ["scene old: remove"]


def test_the_scene_on_air_goes_after_the_program_has_left_it() -> None:
    found = studio(scenes={"old": Scene(), "main": Scene()}, program="old")
    assert words(document(), found) == ["program: switch to main"]


def test_an_unknown_kind_is_told_and_its_items_are_left_out() -> None:
    wanted = document(
        scenes=[{"name": "main", "items": [item("a")]}], inputs={"a": {"kind": "browser_source", "settings": {}}}
    )
    comparison = Comparison(parse_desired(wanted), studio(), Known())
    assert comparison.changes() == ()
    assert [(i.reason, i.about) for i in comparison.impossible] == [("UnknownInputKind", "input a")]


def test_groups_take_the_file_and_without_one_it_is_told() -> None:
    wanted = document(
        scenes=[{"name": "main", "items": [item("g")]}],
        groups={"g": {"items": [item("a")]}},
        inputs={"a": color(1)},
    )
    changes = Comparison(parse_desired(wanted), studio(), Known()).changes()
    assert {c.cost for c in changes} == {Cost.COLLECTION_RELOAD}
    external = Comparison(parse_desired(wanted), studio(), Known(), has_files=False)
    assert external.changes() == ()
    assert {i.reason for i in external.impossible} == {"NeedsCollectionFile"}


def test_a_name_of_a_scene_cannot_be_an_inputs() -> None:
    found = studio(inputs={"main": Input("color_source_v3", {})}, scenes={"x": Scene()}, program="x")
    comparison = Comparison(parse_desired(document(prune=False)), found, Known())
    comparison.changes()
    assert [i.reason for i in comparison.impossible] == ["NameTaken"]


def test_a_parameter_concerns_the_outputs_that_read_it() -> None:
    assert OutputName.STREAM not in outputs_of_parameter("SimpleOutput", "FilePath")
    assert OutputName.RECORD in outputs_of_parameter("SimpleOutput", "VBitrate")
    assert outputs_of_parameter("Output", "RetryDelay") == {OutputName.STREAM}


def test_a_format_of_recordings_takes_outputs_made_anew() -> None:
    wanted = desired(parameters=[["SimpleOutput", "RecFormat2", "mkv"]])
    (change,) = profile_changes(wanted, studio())
    assert change.cost is Cost.PROFILE_RELOAD, "OBS 32 has an output of its own for hybrid MP4"
    assert OutputName.STREAM in change.stops


def test_the_stream_key_shows_in_no_change() -> None:
    wanted = desired(service={"type": "rtmp_custom", "settings": {"server": "s", "key": "geheim"}})
    changes = list(profile_changes(wanted, studio()))
    assert len(changes) == 1
    assert "geheim" not in str(changes[0])
    assert "geheim" not in repr(wanted.studio.service)


def test_a_collections_file_gets_groups_transitions_and_order() -> None:
    scene = {"id": "scene", "name": "main", "settings": {"id_counter": 4, "items": [{"name": "bg", "id": 4}]}}
    data = {
        "name": "x",
        "sources": [scene, {"id": "color_source", "versioned_id": "color_source_v3", "name": "blue", "volume": 0.5}],
        "scene_order": [{"name": "pause"}, {"name": "main"}, {"name": "guest"}],
        "transitions": [{"name": "old", "id": "wipe_transition"}],
        "kept": {"as": "it was"},
    }
    wanted = parse_desired(show())
    kinds = Known.input_kinds
    new = edited(data, wanted.studio, prune=True, owned=Owned(), kinds=kinds)
    assert new["kept"] == {"as": "it was"}
    assert [row["name"] for row in new["scene_order"]] == ["main", "inner", "pause", "guest"]
    assert set(transition_settings(new)) == {"sweep"}
    assert {s["name"] for s in new["sources"]} == {"main", "blue", "green"}
    group = new["groups"][0]
    assert [(i["name"], i["pos"]) for i in group["settings"]["items"]] == [
        ("green", {"x": 10.0, "y": 10.0}),
        ("blue", {"x": 70.0, "y": 30.0}),
    ]
    assert [(i["name"], i["id"]) for i in new["sources"][0]["settings"]["items"]] == [("bg", 4), ("pair", 5)]
    assert edited(new, wanted.studio, prune=True, owned=Owned(), kinds=kinds) == new
    kept = edited(data, wanted.studio, prune=False, owned=Owned(), kinds=kinds)
    assert set(transition_settings(kept)) == {"old", "sweep"}


def test_overrides_lie_over_the_document_until_they_say_the_same() -> None:
    wanted = parse_desired(show())
    overrides = Overrides(
        program="pause", items={("main", "title"): False}, muted={"sound": False}, outputs={"stream": True}
    )
    over = overrides.over(wanted)
    assert over.studio.program == "pause"
    assert not over.studio.scenes["main"].items[3].enabled
    assert over.studio.inputs["sound"].audio == Audio(-6.0, False, 0.25, 120, tracks=frozenset({1, 3}))
    assert over.outputs.stream is True
    assert overrides.needed(wanted) == overrides
    assert overrides.needed(over) == Overrides()
    assert Overrides.from_json(overrides.to_json()) == overrides
    assert Overrides(program="gone").over(wanted).studio.program == "main"


def test_state_survives_and_a_broken_one_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert read_state(path) == State()
    state = State(Overrides(program="x"), declared_by(parse_desired(show())), frozenset({("kind", "key")}))
    write_state(path, state)
    assert read_state(path) == state
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text('{"overrides": 3}')
    assert read_state(path) == State()


@pytest.mark.parametrize(
    "bad",
    [
        [],
        {},
        {**document(), "version": 2},
        {**document(), "surprise": 1},
        document(scenes=[{"name": "x", "itms": []}]),
        document(inputs={"a": {"kind": "x", "settings": {}, "volume": "geheim"}}),
        document(service={"type": "rtmp_custom", "settings": {"key": "geheim"}, "more": "geheim"}),
        document(video={"base_width": "geheim"}),
    ],
)
def test_a_document_is_read_strictly_and_never_quoted(bad: object) -> None:
    with pytest.raises(DocumentFault) as fault:
        parse_desired(bad)
    assert "geheim" not in str(fault.value)


def test_transitions_differ_by_their_settings() -> None:
    found = studio(transitions={"sweep": Transition("wipe_transition", {"luma_softness": 0.9})})
    wanted = document(transitions={"sweep": {"kind": "wipe_transition", "settings": {"luma_softness": 0.25}}})
    assert words(wanted, found) == ["transition sweep: set luma_softness"]
