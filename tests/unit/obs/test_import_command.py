"""`streamsd obs import FILE`: files that OBS did not write, and texts that read like expressions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from streamsd.cli.failure import Failure
from streamsd.cli.obs_import import import_

Json = dict[str, Any]


def _scene(name: str, *items: Json, **more: Any) -> Json:
    return {"name": name, "id": "scene", "settings": {"items": [*items]}, **more}


def _text(name: str, text: str, **more: Any) -> Json:
    return {
        "name": name,
        "id": "text_ft2_source",
        "versioned_id": "text_ft2_source_v2",
        "settings": {"text": text},
        **more,
    }


def _imported(directory: Path, text: str) -> Json:
    file = directory / "basic" / "scenes" / "show.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    done = CliRunner().invoke(import_, [str(file)], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    found: Json = yaml.safe_load(done.stdout)
    return found


def test_a_text_that_reads_like_a_reference_stays_a_text(tmp_path: Path) -> None:
    profiles = tmp_path / "basic" / "profiles" / "P"
    profiles.mkdir(parents=True)
    (profiles / "basic.ini").write_text("[General]\nName=P\n")
    service = {"type": "rtmp_custom", "settings": {"server": "rtmp://127.0.0.1/live", "key": "k3y-k3y"}}
    (profiles / "service.json").write_text(json.dumps(service))
    texts = ("${secret:file:/etc/hostname}", "${secret:}", "${env:HOME}", "$${x} and $$${y}")
    sources = [_text(f"T{n}", text) for n, text in enumerate(texts)]
    page = {"name": "page", "id": "browser_source", "settings": {"url": texts[0]}}
    shown = _scene("S", *({"name": source["name"]} for source in (*sources, page)))
    found = _imported(tmp_path, json.dumps({"name": "C", "sources": [shown, *sources, page]}))
    written, last = [*reversed(found["scenes"]["S"]["items"])][:-1], found["scenes"]["S"]["items"][0]
    said = [item["text"]["text"] for item in written]
    assert said == [text.replace("${", "$${") for text in texts]
    assert last["input"]["settings"] == {"url": "$" + texts[0]}
    assert found["obs"]["studio"]["stream"]["key"].startswith("${secret:file:/")
    assert "k3y-k3y" not in str(found)


def test_what_is_shown_and_not_there_is_left_out_as_obs_does(tmp_path: Path) -> None:
    scene = _scene("S", {"name": "gone"}, {"name": "T"})
    held = {"name": "C", "sources": [scene, _text("T", "x")], "current_program_scene": "nowhere"}
    found = _imported(tmp_path, json.dumps(held))
    assert [item["name"] for item in found["scenes"]["S"]["items"]] == ["T"]
    assert "program" not in found["obs"]["studio"]


def _odd(*items: Json, **more: Any) -> str:
    return json.dumps({"name": "C", "sources": [_scene("S", *items), _text("T", "x")], **more})


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"sources": [' + "[" * 100_000,
        _odd({"name": "T", "align": 3}),
        _odd({"name": "T", "align": float("inf")}),
        _odd({"name": "T", "pos": {"x": float("nan"), "y": 0}}),
        _odd({"name": "T", "blend_type": "weird"}),
        _odd({"name": "G"}, groups=[_scene("G", {"name": "G"})]),
        _odd(transitions=[{"name": "x", "id": "fade", "settings": 5}], current_transition="x", transition_duration="l"),
        json.dumps({"sources": [_scene("S", filters=[{"name": 5, "id": 5, "settings": 5}])]}),
        json.dumps({"sources": [_scene("S" * 1000)]}),
        json.dumps({"sources": [_scene("S", {"name": "a\nb"}), _text("a\nb", "x")]}),
        json.dumps({"sources": [{"name": 5, "id": "scene"}]}),
    ],
    ids=range(12),
)
def test_what_obs_would_not_write_is_told_in_words(tmp_path: Path, text: str) -> None:
    with pytest.raises(Failure) as told:
        _imported(tmp_path, text)
    assert told.value.code in ("not-a-collection", "not-sayable")
    assert len(told.value.message) < 500
