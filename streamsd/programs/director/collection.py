"""The scene collection's file: groups, transitions and the order of scenes, which obs-websocket cannot make.

`edited` is pure; `CollectionFile` finds and replaces the file. OBS reads it only when it switches to the collection,
and writes it when it switches away: so it is edited while another collection is the current one.
"""

from __future__ import annotations

import copy
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from streamsd.programs.director.kinds import base
from streamsd.programs.director.model import Input, Item, Owned, Scene, Studio, Transition

_BOUNDS = (
    "OBS_BOUNDS_NONE",
    "OBS_BOUNDS_STRETCH",
    "OBS_BOUNDS_SCALE_INNER",
    "OBS_BOUNDS_SCALE_OUTER",
    "OBS_BOUNDS_SCALE_TO_WIDTH",
    "OBS_BOUNDS_SCALE_TO_HEIGHT",
    "OBS_BOUNDS_MAX_ONLY",
)
"""libobs's enum obs_bounds_type, which the file counts and the websocket names."""

_SPECIAL = {
    "desktop1": "DesktopAudioDevice1",
    "desktop2": "DesktopAudioDevice2",
    **{f"mic{n}": f"AuxAudioDevice{n}" for n in range(1, 5)},
}
"""Inputs of every scene: obs-websocket's name of their place (GetSpecialInputs) and the file's."""

Json = dict[str, Any]


class CollectionFault(Exception):
    """The collection's file is not there or cannot be read."""


def edited(data: Mapping[str, Any], studio: Studio, *, prune: bool, owned: Owned, kinds: frozenset[str]) -> Json:
    """The file's content with the declared groups, transitions and order; everything else as it was."""
    new: Json = copy.deepcopy(dict(data))
    sources: list[Json] = new.setdefault("sources", [])
    groups: list[Json] = new.setdefault("groups", [])
    for index, source in enumerate(sources):
        wanted = studio.inputs.get(str(source.get("name")))
        if wanted is not None and source.get("versioned_id", source.get("id")) != wanted.kind and wanted.kind in kinds:
            sources[index] = _source(str(source["name"]), wanted)
    _set_special(new, studio, owned, kinds)
    names = {str(s.get("name")) for s in sources}
    for name, group in studio.groups.items():
        members = [i for i in group.items if _can(i.source, studio.inputs, kinds)]
        for item in members:
            if item.source in studio.inputs and item.source not in names:
                names.add(item.source)
                sources.append(_source(item.source, studio.inputs[item.source]))
        entry = next((g for g in groups if g.get("name") == name), None)
        if entry is None:
            entry = {"id": "group", "versioned_id": "group", "name": name, "settings": {"custom_size": True}}
            groups.append(entry)
        _set_members(entry, members)
    for name, scene in studio.scenes.items():
        entry = next((s for s in sources if s.get("name") == name and s.get("id") == "scene"), None)
        if entry is not None:
            _show_groups(entry, scene, studio.groups)
    new["transitions"] = _transitions(new.get("transitions", []), studio.transitions, prune, owned)
    declared = list(studio.scenes)
    rest = [row for row in new.get("scene_order", []) if row.get("name") not in studio.scenes]
    new["scene_order"] = [{"name": name} for name in declared] + rest
    return new


def transition_settings(data: Mapping[str, Any]) -> dict[str, Transition]:
    """The transitions that the file holds."""
    return {
        str(row.get("name")): Transition(str(row.get("id")), row.get("settings") or {})
        for row in data.get("transitions", [])
    }


class CollectionFile:
    """The files of one OBS's collections and profiles: `scenes` is its `basic/scenes` directory."""

    def __init__(self, scenes: Path) -> None:
        self._scenes = scenes

    def path(self, collection: str) -> Path:
        """The file whose content says that it is this collection; CollectionFault when there is none."""
        for path in sorted(self._scenes.glob("*.json")):
            try:
                if json.loads(path.read_text()).get("name", path.stem) == collection:
                    return path
            except (OSError, ValueError, AttributeError):
                continue
        raise CollectionFault(f"no file of the collection {collection} in {self._scenes}")

    def read(self, collection: str) -> Json:
        try:
            data: Json = json.loads(self.path(collection).read_text())
        except ValueError:
            raise CollectionFault("it is not JSON") from None
        return data

    def write(self, collection: str, data: Mapping[str, Any]) -> None:
        _write(self.path(collection), data)

    def has_scenes(self, collection: str) -> bool:
        """Whether it can be loaded."""
        try:
            return any(source.get("id") == "scene" for source in self.read(collection).get("sources", []))
        except (OSError, ValueError, AttributeError, CollectionFault):
            return False

    def remove(self, collection: str) -> None:
        """The file and OBS's copy of it; one that is not loaded."""
        try:
            path = self.path(collection)
        except CollectionFault:
            return
        for each in (path, path.with_name(f"{path.name}.bak")):
            with suppress(OSError):
                each.unlink(missing_ok=True)

    def encoder(self, profile: str, name: str) -> Any:
        """The advanced mode's encoder settings in the profile, `streamEncoder` or `recordEncoder`; None where there are
        none."""
        try:
            return json.loads(self._encoder_path(profile, name).read_text())
        except (OSError, ValueError):
            return None

    def write_encoder(self, profile: str, name: str, settings: Mapping[str, Any]) -> None:
        _write(self._encoder_path(profile, name), settings)

    def directory(self, profile: str) -> Path:
        """Where a profile's files are."""
        return self._scenes.parent / "profiles" / profile

    def _encoder_path(self, profile: str, name: str) -> Path:
        return self.directory(profile) / f"{name}.json"


def _write(path: Path, data: Mapping[str, Any]) -> None:
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        json.dump(data, out)
    os.replace(part, path)


def _can(source: str, inputs: Mapping[str, Input], kinds: frozenset[str]) -> bool:
    return source not in inputs or inputs[source].kind in kinds


def _source(name: str, wanted: Input) -> Json:
    return {
        "id": base(wanted.kind),
        "versioned_id": wanted.kind,
        "name": name,
        "settings": dict(wanted.settings),
    }


def _set_special(new: Json, studio: Studio, owned: Owned, kinds: frozenset[str]) -> None:
    for place, key in _SPECIAL.items():
        name = studio.special.get(place)
        if name is None:
            if place in owned.special:
                new.pop(key, None)
            continue
        wanted, there = studio.inputs[name], new.get(key) or {}
        if wanted.kind in kinds and (there.get("name"), there.get("versioned_id")) != (name, wanted.kind):
            new[key] = _source(name, wanted)


def _set_members(entry: Json, members: Iterable[Item]) -> None:
    settings: Json = entry.setdefault("settings", {})
    have: dict[str, list[Json]] = defaultdict(list)
    for row in settings.get("items", []):
        have[str(row.get("name"))].append(row)
    counter = max([int(settings.get("id_counter", 0)), *(int(r.get("id", 0)) for rows in have.values() for r in rows)])
    rows = []
    for item in members:
        if have[item.source]:
            rows.append(have[item.source].pop(0))
        else:
            counter += 1
            rows.append(_item(item, counter))
    settings["items"] = rows
    settings["id_counter"] = counter


def _show_groups(entry: Json, scene: Scene, groups: Mapping[str, Scene]) -> None:
    settings: Json = entry.setdefault("settings", {})
    rows: list[Json] = settings.setdefault("items", [])
    there = {str(row.get("name")) for row in rows if not row.get("group_item_backup")}
    for item in scene.items:
        if item.source in groups and item.source not in there:
            counter = max([int(settings.get("id_counter", 0)), *(int(row.get("id", 0)) for row in rows)]) + 1
            settings["id_counter"] = counter
            rows.append(_item(item, counter))


def _item(item: Item, id: int) -> Json:
    t = item.transform
    return {
        "name": item.source,
        "id": id,
        "visible": item.enabled,
        "locked": item.locked,
        "pos": {"x": t.x, "y": t.y},
        "scale": {"x": t.scale_x, "y": t.scale_y},
        "rot": t.rotation,
        "align": t.alignment,
        "bounds_type": _BOUNDS.index(t.bounds_type),
        "bounds_align": t.bounds_alignment,
        "bounds": {"x": t.bounds_width, "y": t.bounds_height},
        "crop_left": t.crop_left,
        "crop_right": t.crop_right,
        "crop_top": t.crop_top,
        "crop_bottom": t.crop_bottom,
        "group_item_backup": False,
    }


def _transitions(
    rows: Iterable[Mapping[str, Any]], wanted: Mapping[str, Transition], prune: bool, owned: Owned
) -> list[Json]:
    new: list[Json] = [
        dict(row)
        for row in rows
        if row.get("name") not in wanted and not prune and row.get("name") not in owned.transitions
    ]
    for name, transition in wanted.items():
        new.append({"name": name, "id": transition.kind, "settings": dict(transition.settings)})
    return new
