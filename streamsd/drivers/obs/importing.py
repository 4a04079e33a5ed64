"""From what an OBS holds to a profile that declares it: applied, it changes nothing.

Two origins, one shape: what a director reads back (`Studio` as JSON, see streamsd.programs.director.model), and a
scene collection's own file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

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
_FIXED = {"Cut", "Fade"}
_COLOR = {"color": 0xFFD1D1D1, "width": 1920, "height": 1080}


def profile_of(studio: Mapping[str, Any], instance: str) -> Json:
    """A profile with the instance and its scenes. Special inputs (Desktop Audio, Mic/Aux) are OBS's own and left."""
    names = _keys(studio["scenes"])
    shown = Counter(
        item["source"]
        for content in (*studio["scenes"].values(), *studio["groups"].values())
        for item in content["items"]
    )
    special = set(studio.get("special", {}).values())
    inputs = {name: source for name, source in studio["inputs"].items() if name not in special}
    shared = [name for name in inputs if shown[name] != 1]
    writer = _Writer(studio, inputs, set(shared), names)
    obs: Json = {"scenes": list(names.values())}
    if studio.get("video"):
        obs |= _video(studio["video"])
    if studio.get("program"):
        obs["program"] = names[studio["program"]]
    if studio.get("studio_mode"):
        obs["studio_mode"] = True
        if studio.get("preview"):
            obs["preview"] = names[studio["preview"]]
    if studio.get("transition"):
        obs["transition"] = {"name": studio["transition"]}
        if studio.get("transition_ms") is not None:
            obs["transition"]["duration"] = f"{studio['transition_ms']}ms"
    transitions = {n: t for n, t in studio.get("transitions", {}).items() if n not in _FIXED}
    if transitions:
        obs["transitions"] = {
            name: {"kind": t["kind"]} | ({"settings": t["settings"]} if t["settings"] else {})
            for name, t in transitions.items()
        }
    if shared:
        obs["sources"] = {name: writer.source(name) for name in sorted(shared) if shown[name]}
    scenes = {names[name]: writer.scene(name, content) for name, content in studio["scenes"].items()}
    return {"version": 1, "obs": {instance: obs}, "scenes": scenes}


class _Writer:
    def __init__(
        self, studio: Mapping[str, Any], inputs: Mapping[str, Any], shared: set[str], names: Mapping[str, str]
    ) -> None:
        self._studio = studio
        self._inputs = inputs
        self._shared = shared
        self._names = names

    def scene(self, name: str, content: Mapping[str, Any]) -> Json:
        found: Json = {}
        if self._names[name] != name:
            found["title"] = name
        if content["items"]:
            found["items"] = [self._item(item) for item in reversed(content["items"])]
        if content["filters"]:
            found["filters"] = _filters(content["filters"])
        if content.get("transition") is not None or content.get("transition_ms") is not None:
            override: Json = {}
            if content.get("transition") is not None:
                override["name"] = content["transition"]
            if content.get("transition_ms") is not None:
                override["duration"] = f"{content['transition_ms']}ms"
            found["transition"] = override
        return found

    def source(self, name: str) -> Json:
        """What an input is, without its name."""
        source = self._inputs[name]
        found = _form(source["kind"], source["settings"])
        sound = _sound(source.get("audio"))
        if sound:
            found["sound"] = sound
        if source["filters"]:
            found["filters"] = _filters(source["filters"])
        return found

    def _item(self, item: Mapping[str, Any]) -> Json:
        name = item["source"]
        group = self._studio["groups"].get(name)
        if name in self._names:
            found: Json = {"scene": self._names[name]}
        elif group is not None:
            members = [self._item(member) for member in reversed(group["items"])]
            found = {"name": name, "group": {"items": members}}
            if group["filters"]:
                found["filters"] = _filters(group["filters"])
        elif name in self._shared:
            found = {"source": name}
        else:
            found = {"name": name, **self.source(name)}
        return found | _placed(item)


def _keys(titles: Iterable[str]) -> dict[str, str]:
    """A name for the profile for each title of OBS's: the title itself where it can be one."""
    keys: dict[str, str] = {}
    for title in titles:
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", title).strip("-_")[:50] or "scene"
        key, count = plain, 1
        while key in keys.values():
            count += 1
            key = f"{plain}-{count}"
        keys[title] = key
    return keys


def _video(video: Mapping[str, int]) -> Json:
    found: Json = {"canvas": f"{video['base_width']}x{video['base_height']}"}
    if (video["output_width"], video["output_height"]) != (video["base_width"], video["base_height"]):
        found["output"] = f"{video['output_width']}x{video['output_height']}"
    rate = video["fps_numerator"] / video["fps_denominator"]
    found["fps"] = int(rate) if rate == int(rate) else round(rate, 3)
    return found


def _form(kind: str, settings: Mapping[str, Any]) -> Json:
    """A plain colour in words; all else by OBS's own names, which say exactly what is there."""
    if kind == "color_source_v3" and settings.keys() <= _COLOR.keys():
        values = _COLOR | dict(settings)
        number = values["color"]
        red, green, blue, alpha = (number >> shift & 255 for shift in (0, 8, 16, 24))
        color = f"#{red:02x}{green:02x}{blue:02x}" + (f"{alpha:02x}" if alpha != 255 else "")
        if values["width"] > 0 and values["height"] > 0:
            return {"color": {"color": color, "size": f"{values['width']}x{values['height']}"}}
    return {"input": {"kind": kind} | ({"settings": dict(settings)} if settings else {})}


def _filters(filters: Iterable[Mapping[str, Any]]) -> list[Json]:
    return [
        {"name": f["name"], "kind": f["kind"]}
        | ({"settings": dict(f["settings"])} if f["settings"] else {})
        | ({} if f["enabled"] else {"enabled": False})
        for f in filters
    ]


def _sound(audio: Mapping[str, Any] | None) -> Json:
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
