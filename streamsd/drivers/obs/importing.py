"""From the scenes that an OBS holds to scenes that declare them: applied, they change nothing.

Two origins, one shape: what a director reads back (`Studio` as JSON, see streamsd.programs.director.model), and a
scene collection's own file. What a running profile declares, and OBS holds, is written as that profile says it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streamsd.drivers.obs import catalog
from streamsd.drivers.obs.recognize import Surroundings, plugin_mark, source_form
from streamsd.drivers.obs.source import FORMS
from streamsd.drivers.obs.values import FITS, align_bits

Json = dict[str, Any]

_ALIGNS = {
    align_bits(name): name
    for name in (
        "top-left",
        "top",
        "top-right",
        "left",
        "center",
        "right",
        "bottom-left",
        "bottom",
        "bottom-right",
    )
}
_FITS = {obs: name for name, obs in FITS.items()}
_MONITORS = {
    "OBS_MONITORING_TYPE_MONITOR_ONLY": "monitor_only",
    "OBS_MONITORING_TYPE_MONITOR_AND_OUTPUT": "monitor_and_output",
}
_PLACE = frozenset(
    ("position", "align", "scale", "size", "fit", "fit_align", "rotation", "crop", "visible", "locked", "blend")
)
"""What an item says of where it lies; all else says what it is."""


@dataclass(frozen=True)
class Declared:
    """What the running profile says: the instance's `sources`, all scenes by their names there, and which of them are
    in the loaded collection. `differing`: what the director finds not to be so, by its own words."""

    sources: Mapping[str, Json] = field(default_factory=dict)
    scenes: Mapping[str, Json] = field(default_factory=dict)
    loaded: frozenset[str] = frozenset()
    differing: frozenset[str] = frozenset()

    def title(self, key: str) -> str:
        return str(self.scenes.get(key, {}).get("title", key))

    def holds(self, about: str) -> bool:
        """Whether this is as declared, its filters too."""
        more = f"{about}, filter"
        return about not in self.differing and not any(other.startswith(more) for other in self.differing)


@dataclass(frozen=True)
class Scenes:
    """`names`: of each scene of OBS, top first, its name in the profile. `sources`: those that scenes share."""

    names: Mapping[str, str]
    scenes: Mapping[str, Json]
    sources: Mapping[str, Json]


def reached(listed: Iterable[str], scenes: Mapping[str, Json]) -> frozenset[str]:
    """Of a profile's scenes the listed ones and those that they show, by name."""
    waiting = list(listed)
    found: set[str] = set()
    while waiting:
        key = waiting.pop()
        if key not in found and key in scenes:
            found.add(key)
            waiting += [item["scene"] for item in scenes[key].get("items", []) if "scene" in item]
    return frozenset(found)


def scenes_of(studio: Mapping[str, Any], around: Surroundings, declared: Declared) -> Scenes:
    """The scenes, and what they show. Special inputs (Desktop Audio, Mic/Aux) are not theirs."""
    names = _names(studio["scenes"], declared)
    writer = _Writer(studio, names, around, declared)
    scenes = {names[title]: writer.scene(title) for title in studio["scenes"]}
    others = {key: spec for key, spec in declared.scenes.items() if key not in scenes}
    return Scenes(names, scenes | others, writer.sources())


class _Writer:
    """Inputs are written where the running profile defines them; others where they are shown, or, when that is at
    several places, among the instance's `sources`."""

    def __init__(
        self, studio: Mapping[str, Any], names: Mapping[str, str], around: Surroundings, declared: Declared
    ) -> None:
        self._studio = studio
        self._names = names
        self._around = around
        self._declared = declared
        special = set(studio.get("special", {}).values())
        self._inputs: dict[str, Json] = {n: i for n, i in studio["inputs"].items() if n not in special}
        self._shown = Counter(
            item["source"]
            for content in (*studio["scenes"].values(), *studio["groups"].values())
            for item in content["items"]
        )
        self._at_home = {
            item["name"] for title in studio["scenes"] for item in self._defining(title) if item["name"] in self._inputs
        }

    def scene(self, title: str) -> Json:
        key, content = self._names[title], self._studio["scenes"][title]
        said = self._declared.scenes.get(key, {})
        about = f"scene {title}"
        found: Json = {name: said[name] for name in ("title", "description") if name in said}
        if key != title:
            found["title"] = title
        items = [self._item(about, item, given) for item, given in self._pairs(content["items"], said.get("items", []))]
        if items:
            found["items"] = items
        if said and self._declared.holds(about):
            return found | {name: said[name] for name in ("filters", "transition") if name in said}
        if content["filters"]:
            found["filters"] = filters_of(content["filters"])
        if content.get("transition") is not None or content.get("transition_ms") is not None:
            override: Json = {}
            if content.get("transition") is not None:
                override["name"] = content["transition"]
            if content.get("transition_ms") is not None:
                override["duration"] = f"{content['transition_ms']}ms"
            found["transition"] = override
        return found

    def sources(self) -> dict[str, Json]:
        said = self._declared.sources
        kept = {name: spec for name, spec in said.items() if name not in self._inputs or self._holds(name)}
        shared = [
            name
            for name in sorted(self._inputs)
            if name not in kept and name not in self._at_home and (name in said or self._shown[name] > 1)
        ]
        return kept | {name: self._source(name) for name in shared}

    def _holds(self, name: str) -> bool:
        return self._declared.holds(f"input {name}")

    def _source(self, name: str) -> Json:
        """What an input is, without its name."""
        source = self._inputs[name]
        found = source_form(source["kind"], source["settings"], self._around)
        sound = sound_of(source.get("audio"))
        if sound:
            found["sound"] = sound
        if source["filters"]:
            found["filters"] = filters_of(source["filters"])
        return found

    def _item(self, owner: str, item: Mapping[str, Any], said: Json | None) -> Json:
        what = self._what(item["source"], said or {})
        if said is not None and self._declared.holds(f"{owner}, item {item['source']}"):
            return what | {key: value for key, value in said.items() if key in _PLACE}
        return what | _placed(item)

    def _what(self, name: str, said: Json) -> Json:
        group = self._studio["groups"].get(name)
        if name in self._names:
            return {"scene": self._names[name]}
        if group is not None:
            members = self._pairs(group["items"], said.get("group", {}).get("items", []))
            about = f"group {name}"
            found: Json = {"name": name, "group": {"items": [self._item(about, m, given) for m, given in members]}}
            filters = said.get("filters", []) if said and self._declared.holds(about) else filters_of(group["filters"])
            return found | ({"filters": filters} if filters else {})
        if _defines(said):
            if self._holds(name):
                return {key: value for key, value in said.items() if key not in _PLACE}
            return {"name": name, **self._source(name)}
        if name in self._at_home or name in self._declared.sources or self._shown[name] > 1:
            return {"source": name}
        return {"name": name, **self._source(name)}

    def _defining(self, title: str) -> Iterator[Json]:
        """Items of the running profile that define an input and are still there."""
        pairs = self._pairs(
            self._studio["scenes"][title]["items"],
            self._declared.scenes.get(self._names[title], {}).get("items", []),
        )
        for item, said in pairs:
            if said is None:
                continue
            if _defines(said):
                yield said
            group = self._studio["groups"].get(item["source"])
            if group is not None and "group" in said:
                members = self._pairs(group["items"], said["group"]["items"])
                yield from (given for _, given in members if given is not None and _defines(given))

    def _pairs(
        self, items: Sequence[Mapping[str, Any]], said: Sequence[Json]
    ) -> list[tuple[Mapping[str, Any], Json | None]]:
        """Each item, the one on top first, with what the running profile says of it: the n-th showing of a source is
        the n-th one of it. Both count from the bottom up, as the director does."""
        waiting: dict[str, list[Json]] = defaultdict(list)
        for given in reversed(said):
            waiting[self._shows(given)].append(given)
        pairs = [(item, waiting[item["source"]].pop(0) if waiting[item["source"]] else None) for item in items]
        return pairs[::-1]

    def _shows(self, said: Json) -> str:
        if "scene" in said:
            return self._declared.title(said["scene"])
        return str(said.get("source") or said.get("name"))


def _defines(said: Json) -> bool:
    return any(form in said for form in FORMS)


def _names(titles: Iterable[str], declared: Declared) -> dict[str, str]:
    """A name for the profile for each title of OBS's: the one that it has there, else the title itself where it can
    be one."""
    known = {declared.title(key): key for key in declared.loaded}
    names: dict[str, str] = {}
    taken = {*declared.scenes, *known.values()}
    for title in titles:
        if title in known:
            names[title] = known[title]
            continue
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", title).strip("-_")[:50] or "scene"
        key, count = plain, 1
        while key in taken:
            count += 1
            key = f"{plain}-{count}"
        taken.add(key)
        names[title] = key
    return names


def filters_of(filters: Iterable[Mapping[str, Any]]) -> list[Json]:
    return [
        {"name": f["name"], "kind": f["kind"]}
        | ({"settings": dict(f["settings"])} if f["settings"] else {})
        | ({} if f["enabled"] else {"enabled": False})
        | plugin_mark(f["kind"], f["settings"], catalog.FILTERS)
        for f in filters
    ]


def sound_of(audio: Mapping[str, Any] | None) -> Json:
    """What differs from how OBS makes a source."""
    if audio is None:
        return {}
    found: Json = {}
    if abs(audio["volume_db"]) > 0.005:
        found["volume_db"] = max(-100.0, round(audio["volume_db"], 3))
    if audio["muted"]:
        found["muted"] = True
    if abs(audio["balance"] - 0.5) > 1e-4:
        found["balance"] = round(audio["balance"], 5)
    if audio["sync_ms"]:
        found["sync_ms"] = audio["sync_ms"]
    if audio["monitor"] in _MONITORS:
        found["monitor"] = _MONITORS[audio["monitor"]]
    if sorted(audio["tracks"]) != [1, 2, 3, 4, 5, 6]:
        found["tracks"] = sorted(audio["tracks"])
    return found


def _placed(item: Mapping[str, Any]) -> Json:
    t = item["transform"]
    found: Json = {}
    if (t["x"], t["y"]) != (0, 0):
        found["position"] = [_short(t["x"]), _short(t["y"])]
    if t["alignment"] != 5:
        found["align"] = _ALIGNS[t["alignment"]]
    if (t["scale_x"], t["scale_y"]) != (1, 1):
        scale = [_short(t["scale_x"]), _short(t["scale_y"])]
        found["scale"] = scale[0] if scale[0] == scale[1] else scale
    if t["bounds_type"] in _FITS:
        found["size"] = f"{round(t['bounds_width'])}x{round(t['bounds_height'])}"
        found["fit"] = _FITS[t["bounds_type"]]
        if t["bounds_alignment"] != 0:
            found["fit_align"] = _ALIGNS[t["bounds_alignment"]]
    if t["rotation"]:
        found["rotation"] = _short(t["rotation"])
    crop = {side: t[f"crop_{side}"] for side in ("left", "right", "top", "bottom") if t[f"crop_{side}"]}
    if crop:
        found["crop"] = crop
    if not item["enabled"]:
        found["visible"] = False
    if item["locked"]:
        found["locked"] = True
    if item["blend"] != "OBS_BLEND_NORMAL":
        found["blend"] = item["blend"].removeprefix("OBS_BLEND_").lower()
    return found


def _short(value: float) -> float:
    """Without the digits that 32-bit floats add."""
    short = round(value, 5)
    return int(short) if short == int(short) else short
