"""OBS's own events, by the names that the event log has for them. Only names, states and paths: never settings, which
may hold secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from streamsd.core.report import JsonValue
from streamsd.programs.director.client import ObsEvent
from streamsd.programs.director.journal import Journal
from streamsd.programs.director.model import Studio


@dataclass(frozen=True, slots=True)
class _Told:
    """`fields`: OBS's name of a value to ours. `together`: it comes by hundreds when a collection is filled."""

    event: str
    fields: Mapping[str, str]
    together: bool = False


_TOLD: Mapping[str, _Told] = {
    "CurrentProgramSceneChanged": _Told("obs-scene-on-air", {"sceneName": "scene"}),
    "CurrentPreviewSceneChanged": _Told("obs-scene-in-preview", {"sceneName": "scene"}),
    "SceneCreated": _Told("obs-scene-created", {"sceneName": "scene"}, together=True),
    "SceneRemoved": _Told("obs-scene-removed", {"sceneName": "scene"}, together=True),
    "SceneNameChanged": _Told("obs-scene-renamed", {"oldSceneName": "was", "sceneName": "scene"}),
    "InputCreated": _Told("obs-source-created", {"inputName": "source", "inputKind": "kind"}, together=True),
    "InputRemoved": _Told("obs-source-removed", {"inputName": "source"}, together=True),
    "InputNameChanged": _Told("obs-source-renamed", {"oldInputName": "was", "inputName": "source"}),
    "CurrentSceneTransitionChanged": _Told("obs-transition-chosen", {"transitionName": "transition"}),
    "SceneTransitionEnded": _Told("obs-transition-ended", {"transitionName": "transition"}),
    "CurrentSceneCollectionChanged": _Told("obs-collection-loaded", {"sceneCollectionName": "collection"}),
    "CurrentProfileChanged": _Told("obs-profile-loaded", {"profileName": "profile"}),
    "MediaInputPlaybackStarted": _Told("obs-media-started", {"inputName": "source"}),
    "MediaInputPlaybackEnded": _Told("obs-media-ended", {"inputName": "source"}),
    "ReplayBufferSaved": _Told("obs-replay-saved", {"savedReplayPath": "path"}),
    "ExitStarted": _Told("obs-exits", {}),
}

_SWITCHED: Mapping[str, tuple[str, str, str, Mapping[str, str]]] = {
    "StudioModeStateChanged": ("studioModeEnabled", "obs-studio-mode-on", "obs-studio-mode-off", {}),
    "InputMuteStateChanged": ("inputMuted", "obs-source-muted", "obs-source-unmuted", {"inputName": "source"}),
    "SceneItemEnableStateChanged": ("sceneItemEnabled", "obs-source-shown", "obs-source-hidden", {}),
}
"""OBS's name to what is on or off, and what it is called when it is."""

_OUTPUTS = {
    "StreamStateChanged": "stream",
    "RecordStateChanged": "record",
    "ReplayBufferStateChanged": "replay-buffer",
    "VirtualcamStateChanged": "virtual-camera",
}


def tell(journal: Journal, event: ObsEvent, found: Studio | None) -> None:
    """Note it, if it is one worth telling. `found`: what OBS held when it was read last, for the names of items."""
    data = event.data
    told = _TOLD.get(event.type)
    if told is not None:
        journal.note(told.event, _named(data, told.fields), together=told.together)
    elif event.type in _SWITCHED:
        key, on, off, fields = _SWITCHED[event.type]
        journal.note(on if data.get(key) else off, {**_named(data, fields), **_item(data, found)})
    elif event.type in _OUTPUTS:
        state = str(data.get("outputState")).removeprefix("OBS_WEBSOCKET_OUTPUT_").lower()
        path = data.get("outputPath")
        name = f"obs-{_OUTPUTS[event.type]}-{state.replace('_', '-')}"
        journal.note(name, {"path": path} if isinstance(path, str) and path else {})


def _named(data: Mapping[str, JsonValue], fields: Mapping[str, str]) -> dict[str, JsonValue]:
    return {ours: data[theirs] for theirs, ours in fields.items() if isinstance(data.get(theirs), str)}


def _item(data: Mapping[str, JsonValue], found: Studio | None) -> dict[str, JsonValue]:
    """Where something was shown or hidden, and what; OBS tells its number only."""
    if "sceneItemId" not in data:
        return {}
    scene, id = str(data.get("sceneName")), data["sceneItemId"]
    owners = {**found.scenes, **found.groups} if found is not None else {}
    items = owners[scene].items if scene in owners else ()
    source = next((item.source for item in items if item.id == id), None)
    return {"scene": scene} if source is None else {"scene": scene, "source": source}
