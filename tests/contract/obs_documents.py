"""Desired documents for tests, in the director's own form."""

from __future__ import annotations

from typing import Any

from streamsd.programs.director.model import Desired
from streamsd.programs.director.parse import parse_desired


def color(number: int, width: int = 100, height: int = 100, **more: Any) -> dict[str, Any]:
    return {"kind": "color_source_v3", "settings": {"color": number, "width": width, "height": height}, **more}


def item(source: str, **more: Any) -> dict[str, Any]:
    transform = {k: more.pop(k) for k in list(more) if k not in ("enabled", "locked", "blend")}
    return {"source": source, "transform": transform, **more}


def document(**parts: Any) -> dict[str, Any]:
    """A whole document of these parts."""
    return {
        "version": 1,
        "digests": {"scenes": "a", "structure": "b", "profile": "c"},
        "profile": "streamsd",
        "collection": "streamsd",
        "collections": ["streamsd"],
        "prune": True,
        "interrupt": False,
        "answer_within": 30.0,
        "outputs": {},
        "scenes": [{"name": "main", "items": []}],
        "inputs": {},
        "groups": {},
        "special": {},
        "transitions": {},
        "transition": "Fade",
        "transition_ms": 300,
        "program": None,
        "preview": None,
        "studio_mode": False,
        "video": None,
        "service": None,
        "parameters": [],
        "encoders": {},
        **parts,
    }


def desired(**parts: Any) -> Desired:
    return parse_desired(document(**parts))


VIDEO = {
    "base_width": 640,
    "base_height": 360,
    "output_width": 320,
    "output_height": 180,
    "fps_numerator": 30,
    "fps_denominator": 1,
}


def show(**more: Any) -> dict[str, Any]:
    """Three scenes with all that a collection can hold."""
    cc = {"name": "cc", "kind": "color_filter_v2", "settings": {"brightness": 0.1}, "enabled": True}
    crop = {"name": "crop", "kind": "crop_filter", "settings": {"left": 10}, "enabled": False}
    gain = {"name": "gain", "kind": "gain_filter", "settings": {"db": -3.0}, "enabled": True}
    parts: dict[str, Any] = {
        "scenes": [
            {
                "name": "main",
                "items": [
                    item("bg"),
                    item("pair", x=200.0, y=100.0),
                    item("inner", x=320.0, scale_x=0.5, scale_y=0.5, blend="OBS_BLEND_ADDITIVE"),
                    item("title", x=20.0, y=20.0, rotation=10.0, locked=True),
                ],
            },
            {
                "name": "inner",
                "items": [item("red"), item("red", x=150.0, enabled=False), item("sound")],
                "filters": [cc],
                "transition": "sweep",
                "transition_ms": 700,
            },
            {
                "name": "pause",
                "items": [
                    item("bg"),
                    item(
                        "red",
                        bounds_type="OBS_BOUNDS_SCALE_INNER",
                        bounds_width=320.0,
                        bounds_height=180.0,
                        crop_left=5,
                    ),
                ],
            },
        ],
        "inputs": {
            "bg": color(0xFF333333, 640, 360),
            "red": color(0xFF0000FF, filters=[crop, cc]),
            "green": color(0xFF00FF00, 50, 50),
            "blue": color(0xFFFF0000, 50, 50),
            "title": {
                "kind": "text_ft2_source_v2",
                "settings": {
                    "text": "hello",
                    "font": {"face": "Sans Serif", "size": 32, "style": "", "flags": 0},
                },
            },
            "sound": {
                "kind": "ffmpeg_source",
                "settings": {"local_file": "/nowhere.wav", "looping": True},
                "audio": {"volume_db": -6.0, "muted": True, "balance": 0.25, "sync_ms": 120, "tracks": [1, 3]},
                "filters": [gain],
            },
        },
        "groups": {"pair": {"items": [item("green", x=10.0, y=10.0), item("blue", x=70.0, y=30.0)]}},
        "transitions": {"sweep": {"kind": "wipe_transition", "settings": {"luma_softness": 0.25}}},
        "transition": "Fade",
        "transition_ms": 400,
        "program": "main",
        "video": VIDEO,
        "service": {"type": "rtmp_custom", "settings": {"server": "rtmp://127.0.0.1:1/live", "key": "k"}},
        "parameters": [["SimpleOutput", "VBitrate", "900"], ["Output", "RetryDelay", "3"]],
    }
    return document(**{**parts, **more})
