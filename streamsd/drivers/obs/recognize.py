"""From an input as OBS holds it to a source as people write it.

A typed form (`text`, `screen`) is taken where it says exactly what is there, which is tried out: it is compiled as a
profile's would be, and compared. All else is written by OBS's own names (`input`), which say everything.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from streamsd.core.secret import Secret
from streamsd.core.units import Resolution
from streamsd.drivers.obs import catalog
from streamsd.drivers.obs.check import files_of
from streamsd.drivers.obs.inputs import input_of
from streamsd.drivers.obs.source import SourceSpec
from streamsd.drivers.pulse import PulseDevice
from streamsd.drivers.x11 import XDisplay

Json = dict[str, Any]

_CUTS = {"left": "cut_left", "right": "cut_right", "top": "cut_top", "bottom": "cut_bot"}
_FONT: Json = {"face": "Sans Serif", "flags": 0, "size": 256, "style": ""}
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "image_source": {"linear_alpha": False, "unload": False},
    "slideshow": {
        "loop": True,
        "playback_behavior": "always_play",
        "slide_mode": "mode_auto",
        "slide_time": 8000,
        "transition": "fade",
        "transition_speed": 700,
        "use_custom_size": "Automatic",
    },
    "text_ft2_source_v2": {
        "antialiasing": True,
        "color1": 0xFFFFFFFF,
        "color2": 0xFFFFFFFF,
        "drop_shadow": False,
        "font": _FONT,
        "log_lines": 6,
        "outline": False,
        "word_wrap": False,
    },
    "ffmpeg_source": {
        "buffering_mb": 2,
        "clear_on_media_end": True,
        "is_local_file": True,
        "linear_alpha": False,
        "looping": False,
        "reconnect_delay_sec": 10,
        "restart_on_activate": True,
        "speed_percent": 100,
    },
    "xshm_input": {
        "advanced": False,
        "cut_bot": 0,
        "cut_left": 0,
        "cut_right": 0,
        "cut_top": 0,
        "screen": 0,
        "show_cursor": True,
    },
    "slideshow_v2": {
        "playback_behavior": "always_play",
        "playback_mode": "loop",
        "slide_mode": "mode_auto",
        "slide_time": 2000,
        "transition": "fade",
        "transition_speed": 700,
        "use_custom_size": "1920x1080",
    },
    "xshm_input_v2": {
        "advanced": False,
        "cut_bot": 0,
        "cut_left": 0,
        "cut_right": 0,
        "cut_top": 0,
        "screen": -1,
        "show_cursor": True,
    },
    "color_source_v3": {"color": 0xFFD1D1D1, "height": 1080, "width": 1920},
    "pulse_output_capture": {"device_id": "default"},
    "pulse_input_capture": {"device_id": "default"},
}
"""GetInputDefaultSettings of OBS 29.0.2, and of 32.2.2 where its kind is a newer one, for a collection of which only
the file is there."""


@dataclass(frozen=True)
class Surroundings:
    """What the profile calls what OBS captures: displays by their X name (`:101`), devices by their monitor; and what
    the OBS at hand says its defaults are, by kind."""

    displays: Mapping[str, str] = field(default_factory=dict)
    devices: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: _DEFAULTS)


def source_form(kind: str, settings: Mapping[str, Any], around: Surroundings) -> Json:
    """What the source is: one of the forms, with its value."""
    first, said = _first_version(kind, settings)
    _, defaults = _first_version(kind, around.defaults.get(kind, {}))
    for form in _candidates(first, {**defaults, **said}, around):
        if _says(form, first, said, defaults, around):
            return form
    free: Json = {"kind": kind}
    if settings:
        free["settings"] = dict(settings)
    return {"input": free | plugin_mark(kind, settings, catalog.INPUTS)}


def _first_version(kind: str, settings: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """What OBS has under a newer kind since 30, in the words of the older one, which the forms are compiled to. The
    director says it to an OBS in those that it has."""
    match kind:
        case "xshm_input_v2":
            return "xshm_input", settings
        case "slideshow_v2" if "playback_mode" in settings:
            said = {key: value for key, value in settings.items() if key != "playback_mode"}
            mode = settings["playback_mode"]
            return "slideshow", said | {"loop": mode != "once", "randomize": mode == "random"}
        case "slideshow_v2":
            return "slideshow", settings
        case _:
            return kind, settings


def plugin_mark(kind: str, settings: Iterable[str], known: Mapping[str, catalog.Keys]) -> Json:
    """`plugin: true` where the kind, or a setting of it, is none that is known here: OBS has it, so it is one."""
    keys = known.get(kind)
    fits = kind in known and (keys is None or keys.issuperset(settings))
    return {} if fits else {"plugin": True}


def _says(
    form: Json, kind: str, settings: Mapping[str, Any], defaults: Mapping[str, Any], around: Surroundings
) -> bool:
    """Whether the form comes to just these settings, and could be applied here: its files are there."""
    displays = {name: server for server, name in around.displays.items()}
    devices = {name: monitor for monitor, name in around.devices.items()}

    def display(name: str) -> XDisplay:
        return XDisplay(displays[name], Path(), Resolution(1, 1), Resolution(1, 1), Secret(""))

    def device(name: str) -> PulseDevice:
        return PulseDevice("", "", devices[name], Path(), 48000, 2, Path())

    try:
        spec = SourceSpec.model_validate(form)
    except ValidationError:
        return False
    if not all(Path(file).is_absolute() and Path(file).exists() for _, file in files_of(spec)):
        return False
    made = input_of(spec, Path("/"), display, device)
    wanted = made["settings"]
    assert isinstance(wanted, dict)
    return made["kind"] == kind and all(
        _same(wanted.get(key, defaults.get(key)), settings.get(key, defaults.get(key))) for key in {*wanted, *settings}
    )


def _same(a: object, b: object) -> bool:
    """As the director compares. What is not set reads as nothing of its type (libobs, obs_data_get_*)."""
    if a is None or b is None:
        given = b if a is None else a
        return not given and not isinstance(given, list | dict)
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, int) and isinstance(b, int):
        return a == b
    if isinstance(a, int | float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-5)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def _candidates(kind: str, values: Mapping[str, Any], around: Surroundings) -> Iterator[Json]:
    """Forms that may say it. `values`: the settings with OBS's defaults filled in."""
    try:
        match kind:
            case "color_source_v3":
                color, size = _color(values["color"]), f"{values['width']}x{values['height']}"
                yield {"color": {"color": color, "size": size}}
            case "image_source":
                yield {"image": _without_defaults({"file": values["file"], "unload": values["unload"]}, unload=False)}
            case "slideshow":
                yield {"slideshow": _slideshow(values)}
            case "text_ft2_source_v2":
                yield {"text": _text(values)}
            case "ffmpeg_source":
                yield {"media": _media(values)} if values["is_local_file"] else {"network": _network(values)}
            case "xshm_input":
                if values["advanced"] and values.get("server") in around.displays:
                    yield {"screen": _screen(values, around.displays[values["server"]])}
            case "pulse_output_capture":
                if values["device_id"] in around.devices:
                    yield {"audio": {"device": around.devices[values["device_id"]]}}
            case "pulse_input_capture":
                yield {"audio": {"source": values["device_id"]}}
            case _:
                pass
    except (KeyError, TypeError, AttributeError):
        return  # settings that OBS itself would not write


def _color(number: int) -> str:
    red, green, blue, alpha = (number >> shift & 255 for shift in (0, 8, 16, 24))
    return f"#{red:02x}{green:02x}{blue:02x}" + (f"{alpha:02x}" if alpha != 255 else "")


def _milliseconds(value: int) -> str:
    return f"{value // 1000}s" if value % 1000 == 0 else f"{value}ms"


def _slideshow(values: Mapping[str, Any]) -> Json:
    found = {
        "files": [row["value"] for row in values["files"]],
        "every": _milliseconds(values["slide_time"]),
        "transition": values["transition"],
        "transition_time": _milliseconds(values["transition_speed"]),
        "loop": values["loop"],
        "random": values.get("randomize", False),
        "size": size if (size := values["use_custom_size"]) != "Automatic" else None,
    }
    defaults = {"every": "8s", "transition": "fade", "transition_time": "700ms", "loop": True, "random": False}
    return _without_defaults(found, **defaults, size=None)


def _text(values: Mapping[str, Any]) -> Json:
    font = values["font"]
    upper, lower = _color(values["color1"]), _color(values["color2"])
    found: Json = {"file": values["text_file"]} if values.get("from_file") else {"text": values.get("text", "")}
    found["font"] = _without_defaults(
        {n: font.get(n, "") for n in ("face", "size", "style")}, face="Sans Serif", style=""
    )
    found |= {"color": upper, "color2": lower if lower != upper else None}
    found |= {"outline": values["outline"], "shadow": values["drop_shadow"]}
    found["width"] = values.get("custom_width") if values["word_wrap"] else None
    return _without_defaults(found, color="#ffffff", color2=None, outline=False, shadow=False, width=None)


def _media(values: Mapping[str, Any]) -> Json:
    found = {
        "file": values["local_file"],
        "loop": values["looping"],
        "restart": values["restart_on_activate"],
        "speed_percent": values["speed_percent"],
        "hardware": values.get("hw_decode", False),
    }
    return _without_defaults(found, loop=False, restart=True, speed_percent=100, hardware=False)


def _network(values: Mapping[str, Any]) -> Json:
    found = {
        "url": values["input"],
        "format": values.get("input_format") or None,
        "buffer_mb": values["buffering_mb"],
        "reconnect": f"{values['reconnect_delay_sec']}s",
        "hardware": values.get("hw_decode", False),
    }
    return _without_defaults(found, format=None, buffer_mb=2, reconnect="10s", hardware=False)


def _screen(values: Mapping[str, Any], display: str) -> Json:
    cut = {side: values[key] for side, key in _CUTS.items() if values[key]}
    return _without_defaults({"display": display, "cursor": values["show_cursor"], "cut": cut}, cursor=True, cut={})


def _without_defaults(found: Mapping[str, Any], **defaults: object) -> Json:
    nothing = object()
    return {key: value for key, value in found.items() if value != defaults.get(key, nothing)}
