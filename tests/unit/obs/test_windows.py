"""Where a window is, and what is left of its display."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streamsd.drivers.obs.content import Collection
from streamsd.kinds.obs.document import windows_document
from streamsd.programs.director.model import Desired, Input
from streamsd.programs.director.parse import parse_desired
from streamsd.programs.director.windows import NOWHERE, Windows
from streamsd.programs.windows.place import Area, cut_out, read_wanted
from tests.contract.obs_documents import show

SCREEN = (640, 360)
WHOLE = (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("window", "edges", "left"),
    [
        (Area(40, 30, 160, 120), WHOLE, (40, 30, 200, 150)),
        (Area(-10, -20, 100, 100), WHOLE, (0, 0, 90, 80)),  # a part of it is outside
        (Area(600, 300, 100, 100), WHOLE, (600, 300, 640, 360)),
        (Area(0, 0, 640, 360), (10, 20, 30, 40), (10, 30, 620, 320)),
        (Area(640, 0, 10, 10), WHOLE, None),
        (Area(-10, 0, 10, 10), WHOLE, None),
        (Area(0, 0, 10, 10), (5, 5, 0, 0), None),  # nothing is left of it
    ],
)
def test_what_is_cut_off_leaves_the_window(
    window: Area, edges: tuple[int, int, int, int], left: tuple[int, int, int, int] | None
) -> None:
    found = cut_out(window, SCREEN, edges)
    if left is None:
        assert found is None
        return
    assert found is not None
    assert (found["cut_left"], found["cut_top"]) == left[:2]
    assert (SCREEN[0] - found["cut_right"], SCREEN[1] - found["cut_bot"]) == left[2:]


def test_a_file_of_another_version_is_none(tmp_path: Path) -> None:
    file = tmp_path / "windows.json"
    file.write_text('{"version": 2, "windows": {}}')
    with pytest.raises(ValueError, match="version 1"):
        read_wanted(file)


def _desired() -> Desired:
    document = show()
    settings = {"server": NOWHERE, "cut_left": 0}
    document["inputs"]["one"] = {"kind": "xshm_input", "settings": settings}
    return parse_desired(document)


def _placed(windows: Windows) -> Input:
    return windows.over(_desired()).studio.inputs["one"]


def test_a_window_is_nowhere_until_it_is_found_and_again_when_it_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    windows = Windows(file)
    assert _placed(windows).settings["server"] == NOWHERE
    assert [(f.reason, f.about) for f in windows.missing(_desired())] == [("WindowMissing", "input one")]

    file.write_text(json.dumps({"one": {"server": ":7", "cut_left": 40}, "wall": {"server": ":7"}}))
    windows.read()
    assert _placed(windows).settings == {"server": ":7", "cut_left": 40}
    assert not [*windows.missing(_desired())]

    file.write_text("half a li")
    windows.read()
    assert _placed(windows).settings["server"] == ":7", "what was known is known"

    file.write_text(json.dumps({"one": {"missing": "there is no window"}}))
    windows.read()
    assert _placed(windows).settings["server"] == NOWHERE
    assert [f.message for f in windows.missing(_desired())] == ["there is no window"]


def test_a_window_of_another_collection_is_not_one_of_the_same_name_in_this(tmp_path: Path) -> None:
    desired = _desired()
    there = replace(desired, collection="late", others={"late": desired.studio})
    file = tmp_path / "found.json"
    file.write_text(json.dumps({"one": {"server": ":7"}, "late\none": {"missing": "there is no window"}}))
    windows = Windows(file)
    assert windows.over(desired).studio.inputs["one"].settings["server"] == ":7"
    assert windows.over(there).studio.inputs["one"].settings["server"] == NOWHERE
    assert [f.message for f in windows.missing(there)] == ["there is no window"]


def test_the_follower_is_told_of_the_windows_of_each_collection() -> None:
    def holding(title: str, **more: Any) -> Collection:
        return Collection((), {"one": {"kind": "xshm_input", "window": {"title": title}}}, {}, (), (), **more)

    told = windows_document(holding("a", others={"late": holding("b")}))
    assert told is not None
    assert told["windows"] == {"one": {"title": "a"}, "late\none": {"title": "b"}}
