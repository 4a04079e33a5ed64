"""Scenes: what is wrong with one is told before OBS is asked, and what it comes to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from streamsd.core.address import Address
from streamsd.core.diagnostics import Problem
from streamsd.drivers.obs.check import check_files, check_source
from streamsd.drivers.obs.content import SceneContent
from streamsd.drivers.obs.source import SourceSpec
from streamsd.drivers.obs.values import abgr, align_bits
from streamsd.kinds.scene.spec import SceneSpec
from tests.unit.obs.context import FakeContext, device, display, scene

RED = {"color": {"color": "#ff0000", "size": "10x20"}}


def against(spec: SourceSpec, path: tuple[str | int, ...], base: Path) -> list[Problem]:
    return [*check_source(spec, path), *check_files(spec, path, base, ())]


def content(context: FakeContext, name: str) -> SceneContent:
    return context.exports(Address("Scene", name), SceneContent)


def test_a_colour_is_counted_from_alpha_down_to_red() -> None:
    assert abgr("#112233") == 0xFF332211
    assert abgr("#11223380") == 0x80332211


def test_alignments_are_bits() -> None:
    assert [align_bits(a) for a in ("top-left", "center", "bottom-right", "top")] == [5, 0, 10, 4]


def test_items_turn_from_top_first_to_bottom_up(tmp_path: Path) -> None:
    context = FakeContext(tmp_path)
    items = [{"name": "top", **RED}, {"name": "bottom", **RED, "size": "64x36", "fit": "inside"}]
    assert scene(context, "main", {"items": items}) == []
    found = content(context, "main")
    rows: Any = found.scene["items"]
    assert [row["source"] for row in rows] == ["bottom", "top"]
    assert rows[0]["transform"]["bounds_type"] == "OBS_BOUNDS_SCALE_INNER"
    assert "bounds_type" not in rows[1]["transform"]
    assert found.inputs["top"] == {
        "kind": "color_source_v3",
        "settings": {"color": 0xFF0000FF, "width": 10, "height": 20},
    }


def test_a_scene_says_what_it_shows_captures_and_uses(tmp_path: Path) -> None:
    context = FakeContext(tmp_path)
    context.known[Address("Display", "desk")] = display(":42")
    context.known[Address("Audio", "music")] = device("music")
    scene(context, "inner", {"items": [{"name": "red", **RED}]})
    items = [
        {"scene": "inner", "scale": [0.5, 2]},
        {"source": "logo"},
        {"name": "screen", "screen": {"display": "desk", "cursor": False, "cut": {"top": 8}}},
        {"name": "tune", "audio": {"device": "music"}, "sound": {"volume_db": -3, "tracks": [2, 1]}},
        {"name": "pair", "group": {"items": [{"name": "a", **RED}, {"source": "logo"}]}},
    ]
    assert scene(context, "main", {"items": items}) == []
    found = content(context, "main")
    assert [nested.name for nested in found.nested] == ["inner"]
    assert found.uses == {"logo"}
    assert [d.name for d in found.displays] == [":42"]
    settings: Any = found.inputs["screen"]["settings"]
    assert (settings["server"], settings["show_cursor"], settings["cut_top"]) == (":42", False, 8)
    assert found.inputs["tune"]["settings"] == {"device_id": "music.monitor"}
    audio: Any = found.inputs["tune"]["audio"]
    assert (audio["volume_db"], audio["tracks"]) == (-3.0, [1, 2])
    members: Any = found.groups["pair"]["items"]
    assert [m["source"] for m in members] == ["logo", "a"]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "an input kind": ({"input": {"kind": "color_sauce_v3"}}, "input-kind-unknown"),
    "an input kind without its version": ({"input": {"kind": "color_source_v9"}}, "input-kind-unknown"),
    "a setting": ({"input": {"kind": "v4l2_input", "settings": {"devise_id": "x"}}}, "setting-unknown"),
    "a filter kind": ({**RED, "filters": [{"name": "f", "kind": "colour_filter"}]}, "filter-kind-unknown"),
    "a filter's setting": (
        {**RED, "filters": [{"name": "f", "kind": "crop_filter", "settings": {"lefft": 1}}]},
        "setting-unknown",
    ),
    "a filter of sound on a picture": (
        {**RED, "filters": [{"name": "f", "kind": "gain_filter"}]},
        "filter-does-not-fit",
    ),
    "a filter of pictures on sound": (
        {"audio": {"source": "default"}, "filters": [{"name": "f", "kind": "crop_filter"}]},
        "filter-does-not-fit",
    ),
    "two filters of one name": (
        {**RED, "filters": [{"name": "f", "kind": "crop_filter"}, {"name": "f", "kind": "crop_filter"}]},
        "filter-name-twice",
    ),
    "an image": ({"image": {"file": "nowhere.png"}}, "file-missing"),
    "a slide": ({"slideshow": {"files": ["nowhere.png"]}}, "file-missing"),
    "a media file": ({"media": {"file": "nowhere.mp4"}}, "file-missing"),
    "a text file": ({"text": {"file": "nowhere.txt"}}, "file-missing"),
    "sound of a picture": ({**RED, "sound": {"volume_db": 1}}, "no-sound"),
    "no sound at all": ({"audio": {}}, "audio-source"),
    "a password in the open": ({"network": {"url": "rtmp://me:secret@host/x"}}, "url-with-password"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_source_is_told_with_its_place(what: str, tmp_path: Path) -> None:
    spec, code = BAD[what]
    problems = list(against(SourceSpec.model_validate(spec), ("items", 3), tmp_path))
    assert [p.code for p in problems] == [code]
    assert problems[0].path[:2] == ("items", 3)
    assert "secret" not in problems[0].message + problems[0].hint


def test_the_nearest_name_is_offered(tmp_path: Path) -> None:
    spec = SourceSpec.model_validate({"input": {"kind": "color_source_v9"}})
    assert "color_source_v3" in next(iter(against(spec, (), tmp_path))).hint


def test_what_a_plugin_brings_is_left_to_obs(tmp_path: Path) -> None:
    spec = {"input": {"kind": "my_source", "plugin": True}, "filters": [{"name": "f", "kind": "x", "plugin": True}]}
    assert list(against(SourceSpec.model_validate(spec), (), tmp_path)) == []


@pytest.mark.parametrize(
    "item",
    [
        {"name": "x"},
        {"name": "x", **RED, "text": {"text": "y"}},
        RED,
        {"name": "x", "scene": "other"},
        {"source": "x", "filters": [{"name": "f", "kind": "crop_filter"}]},
        {"name": "x", "color": {"color": "red"}},
        {"name": "x", **RED, "position": [1]},
        {"name": "x", **RED, "fit": "sideways"},
        {"name": "x", **RED, "sound": {"volume_db": 99}},
        {"name": "x", "group": {"items": []}},
    ],
)
def test_an_item_is_one_thing_with_one_name(item: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SceneSpec.model_validate({"items": [item]})


def test_one_name_is_one_source(tmp_path: Path) -> None:
    twice = {"items": [{"name": "x", **RED}, {"name": "x", **RED}]}
    assert scene(FakeContext(tmp_path), "main", twice) == ["source-defined-twice"]
    assert scene(FakeContext(tmp_path), "x", {"items": [{"name": "x", **RED}]}) == ["source-defined-twice"]


def test_a_group_lies_by_its_corner(tmp_path: Path) -> None:
    group = {"name": "g", "align": "center", "group": {"items": [{"name": "a", **RED}]}}
    assert scene(FakeContext(tmp_path), "main", {"items": [group]}) == ["group-align"]
