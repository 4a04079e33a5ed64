"""A scene collection's own file, as OBS writes it, in the shape that a director reads back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_BOUNDS = (
    "OBS_BOUNDS_NONE",
    "OBS_BOUNDS_STRETCH",
    "OBS_BOUNDS_SCALE_INNER",
    "OBS_BOUNDS_SCALE_OUTER",
    "OBS_BOUNDS_SCALE_TO_WIDTH",
    "OBS_BOUNDS_SCALE_TO_HEIGHT",
    "OBS_BOUNDS_MAX_ONLY",
)
_MONITORING = (
    "OBS_MONITORING_TYPE_NONE",
    "OBS_MONITORING_TYPE_MONITOR_ONLY",
    "OBS_MONITORING_TYPE_MONITOR_AND_OUTPUT",
)
_SPECIAL = {
    "desktop1": "DesktopAudioDevice1",
    "desktop2": "DesktopAudioDevice2",
    **{f"mic{n}": f"AuxAudioDevice{n}" for n in range(1, 5)},
}
"""Inputs of every scene: obs-websocket's name of their place, and the file's."""

_HAS_SOUND = 0xFF
"""Mixers of a source that has sound; OBS writes 0 for one that has none."""

Json = dict[str, Any]


class NotACollection(ValueError):
    """The file is not a scene collection."""


def studio_of(data: object) -> Json:
    """The collection's content. NotACollection when it is something else."""
    if not isinstance(data, dict) or not isinstance(data.get("sources"), list):
        raise NotACollection("not a scene collection: it has no sources")
    try:
        return _studio(data)
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as fault:
        raise NotACollection(f"not a scene collection that OBS 28 or later wrote: {fault!r}") from fault


def _studio(data: Mapping[str, Any]) -> Json:
    scenes = {s["name"]: _scene(s) for s in data["sources"] if s["id"] == "scene"}
    special = {place: data[key] for place, key in _SPECIAL.items() if data.get(key)}
    sources = [s for s in data["sources"] if s["id"] not in ("scene", "group")]
    order = [row["name"] for row in data.get("scene_order", []) if row["name"] in scenes]
    inputs = {s["name"]: _input(s) for s in (*sources, *special.values())}
    groups = {g["name"]: _scene(g) for g in data.get("groups", [])}
    for content in (*scenes.values(), *groups.values()):
        # OBS shows none of a source that is not there either
        content["items"] = [i for i in content["items"] if i["source"] in {*scenes, *inputs, *groups}]
    program = data.get("current_program_scene")
    return {
        "scenes": {name: scenes[name] for name in dict.fromkeys([*order, *scenes])},
        "inputs": inputs,
        "groups": groups,
        "transitions": {
            t["name"]: {"kind": t["id"], "settings": t.get("settings") or {}} for t in data.get("transitions", [])
        },
        "transition": data.get("current_transition"),
        "transition_ms": data.get("transition_duration"),
        "program": program if program in scenes else None,
        "special": {place: source["name"] for place, source in special.items()},
    }


def _scene(source: Mapping[str, Any]) -> Json:
    rows = (source.get("settings") or {}).get("items", [])
    private = source.get("private_settings") or {}
    # OBS keeps a scene's own transition in its private settings (UI/window-basic-main-transitions.cpp).
    return {
        "items": [_item(row) for row in rows if not row.get("group_item_backup")],
        "filters": _filters(source),
        "transition": private.get("transition") or None,
        "transition_ms": private.get("transition_duration") if private.get("transition") else None,
    }


def _input(source: Mapping[str, Any]) -> Json:
    return {
        "kind": source.get("versioned_id") or source["id"],
        "settings": source.get("settings") or {},
        "audio": _audio(source),
        "filters": _filters(source),
    }


def _audio(source: Mapping[str, Any]) -> Json | None:
    mixers = int(source.get("mixers", _HAS_SOUND))
    if not mixers and source.get("volume", 1.0) == 1.0:
        return None
    volume = float(source.get("volume", 1.0))
    return {
        "volume_db": 20 * math.log10(volume) if volume > 1e-5 else -100.0,
        "muted": bool(source.get("muted")),
        "balance": float(source.get("balance", 0.5)),
        "sync_ms": round(int(source.get("sync", 0)) / 1_000_000),
        "monitor": _MONITORING[int(source.get("monitoring_type", 0))],
        "tracks": [track for track in range(1, 7) if mixers >> (track - 1) & 1],
    }


def _filters(source: Mapping[str, Any]) -> list[Json]:
    return [
        {
            "name": f["name"],
            "kind": f.get("versioned_id") or f["id"],
            "settings": f.get("settings") or {},
            "enabled": f.get("enabled", True),
        }
        for f in source.get("filters", [])
    ]


def _item(row: Mapping[str, Any]) -> Json:
    bounds = int(row.get("bounds_type", 0))
    position, scale, box = (row.get(k) or {} for k in ("pos", "scale", "bounds"))
    return {
        "source": row["name"],
        "enabled": row.get("visible", True),
        "locked": row.get("locked", False),
        "blend": f"OBS_BLEND_{row.get('blend_type', 'normal').upper()}",
        "transform": {
            "x": float(position.get("x", 0.0)),
            "y": float(position.get("y", 0.0)),
            "scale_x": float(scale.get("x", 1.0)),
            "scale_y": float(scale.get("y", 1.0)),
            "rotation": float(row.get("rot", 0.0)),
            "alignment": int(row.get("align", 5)),
            "bounds_type": _BOUNDS[bounds],
            "bounds_width": float(box.get("x", 0.0)),
            "bounds_height": float(box.get("y", 0.0)),
            "bounds_alignment": int(row.get("bounds_align", 0)),
            **{f"crop_{side}": int(row.get(f"crop_{side}", 0)) for side in ("left", "right", "top", "bottom")},
        },
    }
