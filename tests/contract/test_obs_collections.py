"""Several collections: one is loaded, the others keep what they hold, and what is not declared goes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.obs_documents import color, document, item
from tests.contract.obs_rig import Director, Studio, studio, unless_it_may_wedge, until

pytestmark = pytest.mark.xdist_group("obs-director")


def show(collection: str, number: int, **more: Any) -> dict[str, Any]:
    """A collection with a scene of its name."""
    return document(
        scenes=[{"name": f"scene of {collection}", "items": [item("bg")]}],
        inputs={"bg": color(number)},
        program=f"scene of {collection}",
        collection=collection,
        collections=["streamsd", "second"],
        digests={"scenes": collection, "structure": collection, "profile": "c"},
        **more,
    )


@pytest.fixture
def obs(tmp_path: Path) -> Iterator[Studio]:
    with studio(tmp_path / "obs") as made:
        made.connect().close()
        yield made


def test_one_of_several_is_loaded_and_the_rest_is_kept_or_goes(obs: Studio, tmp_path: Path) -> None:
    unless_it_may_wedge()
    director = Director(obs, tmp_path, show("streamsd", 0xFF111111))
    try:
        _switches(obs, director)
    finally:
        director.process.kill()
        director.process.wait()


def _switches(obs: Studio, director: Director) -> None:
    pid = obs.obs_pid
    other = obs.connect()
    try:
        director.write(show("second", 0xFF222222))
        assert director.ask(do="desired")["converged"]
        assert _loaded(other) == ("second", ["scene of second"])
        first = next(path for path in obs.instance.scenes.glob("*.json") if "scene of streamsd" in path.read_text())
        assert json.loads(first.read_text())["name"] == "streamsd"

        # while something is recorded a switch waits, and nothing of the other is put into this one
        other.call("StartRecord")
        until(lambda: other.call("GetRecordStatus")["outputActive"], "it records")
        director.write(show("streamsd", 0xFF111111))
        answer = director.ask(do="desired")
        assert (answer["converged"], answer["reason"]) == (False, "WouldInterrupt")
        assert "collection streamsd: load it instead of second" in answer["message"]
        assert _loaded(other) == ("second", ["scene of second"])
        other.call("StopRecord")
        until(lambda: _loaded(other) == ("streamsd", ["scene of streamsd"]), "it is loaded once that has ended")
        until(lambda: director.status()["converged"], "all is as declared")

        # one that is not declared, and one that has no scene, which OBS would end of
        (obs.instance.scenes / "stray.json").write_text(first.read_text().replace('"streamsd"', '"stray"'))
        second = next(path for path in obs.instance.scenes.glob("*.json") if "scene of second" in path.read_text())
        second.write_text(json.dumps({"name": "second", "sources": [], "scene_order": []}))
        director.write(show("second", 0xFF333333))
        assert director.ask(do="desired")["converged"]
        assert _loaded(other) == ("second", ["scene of second"])
        assert not (obs.instance.scenes / "stray.json").exists()
        until(lambda: {"streamsd", "second"} <= _told(director), "the loading of both is told")
        assert "park" not in json.dumps(director.status()["events"]), "what is our own business is not"
        assert obs.obs_pid == pid
    finally:
        other.close()


def _told(director: Director) -> set[str]:
    """The collections that were loaded."""
    entries = director.status()["events"]
    return {str(entry["fields"]["collection"]) for entry in entries if entry["event"] == "obs-collection-loaded"}


def _loaded(client: Any) -> tuple[str, list[str]]:
    scenes = [str(scene["sceneName"]) for scene in client.call("GetSceneList")["scenes"]]
    return str(client.call("GetSceneCollectionList")["currentSceneCollectionName"]), scenes
