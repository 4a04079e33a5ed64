"""Reading an OBS back: two batches, whatever the number of scenes.

The first asks for what there is, the second for all of it. What changed between the two (a source deleted, a
collection switched) answers with an error code: then the whole reading is repeated.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from typing import Any, cast

from streamsd.core.report import JsonValue
from streamsd.programs.director.client import Answer, Client, Data, Request
from streamsd.programs.director.model import (
    FIXED_TRANSITIONS,
    NO_BOUNDS,
    Audio,
    Filter,
    Input,
    Item,
    Scene,
    Service,
    Settings,
    Studio,
    Transform,
    Transition,
    Video,
)

NO_AUDIO = 604
"""InvalidResourceState: what the audio getters say of an input without sound."""

READINGS = 5


class ReadFault(Exception):
    """OBS changes faster than it can be read."""


class Reader:
    """Reads one OBS. Keeps what never changes while it runs: defaults by kind, which inputs have no sound."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.input_kinds: frozenset[str] = frozenset(
            _names(client.call("GetInputKindList", {"unversioned": False}), "inputKinds")
        )
        self.transition_kinds: frozenset[str] = frozenset(
            _names(client.call("GetTransitionKindList"), "transitionKinds")
        )
        self._defaults: dict[tuple[str, str], Settings] = {}
        self._silent: set[str] = set()

    def defaults(self, what: str, kinds: Iterable[str]) -> None:
        """Fetch the default settings of these kinds (`input` or `filter`) where they are not known yet."""
        missing = sorted({kind for kind in kinds if (what, kind) not in self._defaults})
        if not missing:
            return
        ask = {"input": ("GetInputDefaultSettings", "inputKind"), "filter": _FILTER_DEFAULTS}[what]
        key = {"input": "defaultInputSettings", "filter": "defaultFilterSettings"}[what]
        answers = self._client.batch([Request(ask[0], {ask[1]: kind}) for kind in missing])
        for kind, answer in zip(missing, answers, strict=True):
            self._defaults[what, kind] = _settings(answer.data.get(key)) if answer.ok else {}

    def default(self, what: str, kind: str) -> Settings:
        """The default settings of a kind: empty when OBS does not know it or gives none."""
        if (what, kind) not in self._defaults:
            self.defaults(what, [kind])
        return self._defaults[what, kind]

    def read(self, parameters: Iterable[tuple[str, str]] = (), *, pause: float = 0.05) -> Studio:
        """All of it, with these profile parameters. ReadFault when OBS does not hold still."""
        wanted = sorted(parameters)
        for _ in range(READINGS):
            found = self._try(wanted)
            if found is not None:
                return found
            time.sleep(pause)
        raise ReadFault("OBS changed during each of its readings")

    def _try(self, parameters: Sequence[tuple[str, str]]) -> Studio | None:
        first = self._client.batch([*_FIRST, *(_parameter(section, name) for section, name in parameters)])
        if not all(a.ok for a in first[: len(_FIRST)]):
            return None
        scenes, inputs, groups, special, transitions, current, video, service, studio_mode = (
            a.data for a in first[: len(_FIRST)]
        )
        scene_names = [str(s["sceneName"]) for s in reversed(_rows(scenes, "scenes"))]
        input_kinds = {str(i["inputName"]): str(i["inputKind"]) for i in _rows(inputs, "inputs")}
        group_names = _names(groups, "groups")
        content = _Content(self._client, scene_names, group_names, input_kinds, self._silent)
        if not content.ask():
            return None
        self._silent |= content.silent
        on = bool(studio_mode.get("studioModeEnabled"))
        return Studio(
            scenes={name: content.scene(name) for name in scene_names},
            inputs={name: content.input(name, kind) for name, kind in input_kinds.items()},
            groups={name: content.group(name) for name in group_names},
            transitions={
                str(t["transitionName"]): Transition(str(t["transitionKind"]))
                for t in _rows(transitions, "transitions")
                if str(t["transitionName"]) not in FIXED_TRANSITIONS
            }
            | _current_settings(current),
            transition=cast("str", current.get("transitionName")),
            transition_ms=cast("int | None", current.get("transitionDuration")),
            program=cast("str", scenes.get("currentProgramSceneName")),
            preview=cast("str | None", scenes.get("currentPreviewSceneName")) if on else None,
            studio_mode=on,
            video=Video(*(int(cast("int", video[key])) for key in _VIDEO)),
            service=Service(str(service.get("streamServiceType")), _settings(service.get("streamServiceSettings"))),
            parameters={
                key: str(a.data.get("parameterValue") or a.data.get("defaultParameterValue") or "")
                for key, a in zip(parameters, first[len(_FIRST) :], strict=True)
                if a.ok
            },
            special={place: str(name) for place, name in special.items() if name},
        )


_FILTER_DEFAULTS = ("GetSourceFilterDefaultSettings", "filterKind")

_VIDEO = ("baseWidth", "baseHeight", "outputWidth", "outputHeight", "fpsNumerator", "fpsDenominator")

_FIRST = tuple(
    Request(type)
    for type in (
        "GetSceneList",
        "GetInputList",
        "GetGroupList",
        "GetSpecialInputs",
        "GetSceneTransitionList",
        "GetCurrentSceneTransition",
        "GetVideoSettings",
        "GetStreamServiceSettings",
        "GetStudioModeEnabled",
    )
)

_AUDIO = (
    "GetInputVolume",
    "GetInputMute",
    "GetInputAudioBalance",
    "GetInputAudioSyncOffset",
    "GetInputAudioMonitorType",
    "GetInputAudioTracks",
)


class _Content:
    """The second batch, and its answers by what they are about."""

    def __init__(
        self,
        client: Client,
        scenes: Sequence[str],
        groups: Sequence[str],
        inputs: dict[str, str],
        silent: Collection[str],
    ) -> None:
        self._client = client
        self._requests: list[Request] = []
        self._keys: list[tuple[str, str]] = []
        for name in scenes:
            self._add("GetSceneItemList", name, "sceneName")
            self._add("GetSceneSceneTransitionOverride", name, "sceneName")
            self._add("GetSourceFilterList", name, "sourceName")
        for name in groups:
            self._add("GetGroupSceneItemList", name, "sceneName")
            self._add("GetSourceFilterList", name, "sourceName")
        for name, kind in inputs.items():
            self._add("GetInputSettings", name, "inputName")
            self._add("GetSourceFilterList", name, "sourceName")
            # Whether a source has sound is its kind's (obs_source_info.output_flags).
            for type in _AUDIO if kind not in silent else ():
                self._add(type, name, "inputName")
        self._inputs = inputs
        self._answers: dict[tuple[str, str], Answer] = {}

    def _add(self, type: str, name: str, key: str) -> None:
        self._requests.append(Request(type, {key: name}))
        self._keys.append((type, name))

    def ask(self) -> bool:
        """Whether everything was still there."""
        self._answers = dict(zip(self._keys, self._client.batch(self._requests), strict=True))
        return all(a.ok or (type in _AUDIO and a.code == NO_AUDIO) for (type, _), a in self._answers.items())

    @property
    def silent(self) -> set[str]:
        """Kinds found to have no sound."""
        return {
            self._inputs[name]
            for (type, name), answer in self._answers.items()
            if type == _AUDIO[0] and answer.code == NO_AUDIO
        }

    def scene(self, name: str) -> Scene:
        override = self._answers["GetSceneSceneTransitionOverride", name].data
        return Scene(
            items=self._items("GetSceneItemList", name),
            filters=self._filters(name),
            transition=cast("str | None", override.get("transitionName")),
            transition_ms=cast("int | None", override.get("transitionDuration")),
        )

    def group(self, name: str) -> Scene:
        return Scene(items=self._items("GetGroupSceneItemList", name), filters=self._filters(name))

    def input(self, name: str, kind: str) -> Input:
        return Input(
            kind=kind,
            settings=_settings(self._answers["GetInputSettings", name].data.get("inputSettings")),
            audio=self._audio(name),
            filters=self._filters(name),
        )

    def _audio(self, name: str) -> Audio | None:
        if (_AUDIO[0], name) not in self._answers:
            return None
        answers = [self._answers[type, name] for type in _AUDIO]
        if not all(a.ok for a in answers):
            return None
        volume, mute, balance, sync, monitor, tracks = (cast("dict[str, Any]", a.data) for a in answers)
        return Audio(
            volume_db=float(volume["inputVolumeDb"]),
            muted=bool(mute["inputMuted"]),
            balance=float(balance["inputAudioBalance"]),
            sync_ms=int(sync["inputAudioSyncOffset"]),
            monitor=str(monitor["monitorType"]),
            tracks=frozenset(int(track) for track, on in tracks["inputAudioTracks"].items() if on),
        )

    def _filters(self, name: str) -> tuple[Filter, ...]:
        rows = _rows(self._answers["GetSourceFilterList", name].data, "filters")
        return tuple(
            Filter(
                str(r["filterName"]),
                str(r["filterKind"]),
                _settings(r.get("filterSettings")),
                bool(r["filterEnabled"]),
            )
            for r in sorted(rows, key=lambda r: cast("int", r["filterIndex"]))
        )

    def _items(self, type: str, name: str) -> tuple[Item, ...]:
        rows = _rows(self._answers[type, name].data, "sceneItems")
        return tuple(_item(r) for r in sorted(rows, key=lambda r: cast("int", r["sceneItemIndex"])))


def _item(row: Data) -> Item:
    t = cast("dict[str, Any]", row["sceneItemTransform"])
    bounded = t["boundsType"] != NO_BOUNDS
    return Item(
        source=str(row["sourceName"]),
        enabled=bool(row["sceneItemEnabled"]),
        locked=bool(row["sceneItemLocked"]),
        blend=str(row["sceneItemBlendMode"]),
        transform=Transform(
            x=float(t["positionX"]),
            y=float(t["positionY"]),
            scale_x=float(t["scaleX"]),
            scale_y=float(t["scaleY"]),
            rotation=float(t["rotation"]),
            alignment=int(t["alignment"]),
            bounds_type=str(t["boundsType"]),
            bounds_width=float(t["boundsWidth"]) if bounded else 0.0,
            bounds_height=float(t["boundsHeight"]) if bounded else 0.0,
            bounds_alignment=int(t["boundsAlignment"]) if bounded else 0,
            crop_left=int(t["cropLeft"]),
            crop_right=int(t["cropRight"]),
            crop_top=int(t["cropTop"]),
            crop_bottom=int(t["cropBottom"]),
        ),
        id=int(cast("int", row["sceneItemId"])),
    )


def _current_settings(current: Data) -> dict[str, Transition]:
    """Only the current transition's settings can be read."""
    name = str(current.get("transitionName"))
    if name in FIXED_TRANSITIONS:
        return {}
    return {name: Transition(str(current.get("transitionKind")), _settings(current.get("transitionSettings")))}


def _parameter(section: str, name: str) -> Request:
    return Request("GetProfileParameter", {"parameterCategory": section, "parameterName": name})


def _rows(data: Data, key: str) -> list[Data]:
    return cast("list[Data]", data[key])


def _names(data: Data, key: str) -> list[str]:
    return [str(name) for name in cast("list[JsonValue]", data[key])]


def _settings(value: JsonValue) -> Settings:
    return value if isinstance(value, dict) else {}
