"""What OBS tells becomes few entries, whatever happens."""

from __future__ import annotations

from streamsd.programs.director.client import ObsEvent
from streamsd.programs.director.journal import BUDGET, PERIOD, Journal
from streamsd.programs.director.model import Item, Scene, Studio
from streamsd.programs.director.telling import tell


def names(journal: Journal) -> list[object]:
    return [entry["event"] for entry in journal.entries]


def test_what_says_the_same_is_one_entry_with_a_count() -> None:
    journal = Journal()
    for _ in range(200):
        journal.note("obs-source-muted", {"source": "mic"})
        journal.note("obs-source-unmuted", {"source": "mic"})
    journal.publish()
    assert names(journal) == [], "what is gathered is not told yet"
    journal.publish(now=True)
    assert [entry["fields"] for entry in journal.entries] == [{"source": "mic", "count": 200}] * 2


def test_a_flood_is_counted() -> None:
    now = 1000.0
    journal = Journal(monotonic=lambda: now)
    for number in range(1000):
        journal.note("obs-scene-on-air", {"scene": f"scene {number}"})
    journal.publish(now=True)
    assert len(journal.entries) == BUDGET
    now += PERIOD + 1
    journal.publish()
    assert journal.entries[-1]["event"] == "obs-events-left-out"
    assert journal.entries[-1]["fields"] == {"count": 1000 - BUDGET}
    numbers = [entry["number"] for entry in journal.entries]
    assert numbers == sorted(set(numbers))  # type: ignore[type-var]  # they are numbers


def test_obs_events_have_our_names() -> None:
    journal = Journal()
    found = Studio(scenes={"main": Scene(items=(Item("logo", id=3),))}, inputs={})
    shown = {"sceneName": "main", "sceneItemId": 3, "sceneItemEnabled": True}
    tell(journal, ObsEvent("SceneItemEnableStateChanged", shown), found)
    state = {"outputActive": True, "outputState": "OBS_WEBSOCKET_OUTPUT_STARTED", "outputPath": "/a.mkv"}
    tell(journal, ObsEvent("RecordStateChanged", state), None)
    tell(journal, ObsEvent("CurrentProgramSceneChanged", {"sceneName": "pause"}), None)
    tell(journal, ObsEvent("InputSettingsChanged", {"inputSettings": {"password": "geheim"}}), None)
    for number in range(500):
        tell(journal, ObsEvent("InputCreated", {"inputName": f"n{number}", "inputKind": "image_source"}), None)
    journal.publish(now=True)
    assert [(entry["event"], entry["fields"]) for entry in journal.entries] == [
        ("obs-source-shown", {"scene": "main", "source": "logo"}),
        ("obs-record-started", {"path": "/a.mkv"}),
        ("obs-scene-on-air", {"scene": "pause"}),
        ("obs-source-created", {"source": "n0", "kind": "image_source", "count": 500}),
    ]
