"""From a declared source to OBS's input: its kind and its settings by OBS's own names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from streamsd.core.report import JsonValue
from streamsd.drivers.obs.content import Json
from streamsd.drivers.obs.source import FilterSpec, SoundSpec, SourceSpec, SpecialInput
from streamsd.drivers.obs.sources import (
    AudioSource,
    ColorSource,
    ImageSource,
    MediaSource,
    NetworkSource,
    ScreenSource,
    SlideshowSource,
    TextSource,
)
from streamsd.drivers.obs.values import abgr
from streamsd.drivers.pulse import PulseDevice
from streamsd.drivers.x11 import XDisplay

NOWHERE = "none"
"""The server of a captured window until the director knows where that is (streamsd.programs.director.windows)."""

_WINDOW = "window"

Displays = Callable[[str], XDisplay]
Devices = Callable[[str], PulseDevice]

_MONITOR = {
    "none": "OBS_MONITORING_TYPE_NONE",
    "monitor_only": "OBS_MONITORING_TYPE_MONITOR_ONLY",
    "monitor_and_output": "OBS_MONITORING_TYPE_MONITOR_AND_OUTPUT",
}


def input_of(spec: SourceSpec, base: Path, displays: Displays, devices: Devices) -> Json:
    """The input as the director's document has it. `base`: what relative paths are relative to."""
    kind, settings = _form(spec, base, displays, devices)
    found: Json = {"kind": kind, "settings": dict(settings)}
    if spec.screen is not None and spec.screen.window is not None:
        window, cut = spec.screen.window, spec.screen.cut
        edges: list[JsonValue] = [cut.left, cut.right, cut.top, cut.bottom]
        display = displays(spec.screen.display).name
        found[_WINDOW] = {"display": display, "title": window.title, "class": window.class_, "cut": edges}
    if spec.sound is not None:
        found["audio"] = sound_of(spec.sound)
    if spec.filters:
        found["filters"] = [filter_of(f) for f in spec.filters]
    return found


def windows_of(inputs: Mapping[str, Json]) -> Json:
    """The captured windows among them, by input, as their follower is told (streamsd.programs.windows.place)."""
    return {name: found[_WINDOW] for name, found in inputs.items() if _WINDOW in found}


def without_windows(inputs: Mapping[str, Json]) -> Json:
    """The inputs as the director's document has them."""
    return {name: {key: value for key, value in found.items() if key != _WINDOW} for name, found in inputs.items()}


def special_of(spec: SpecialInput, place: str, devices: Devices) -> Json:
    """An input of every scene: what desktops play, or what microphones hear."""
    found: Json = {
        "kind": "pulse_output_capture" if place.startswith("desktop") else "pulse_input_capture",
        "settings": _audio(spec, devices),
    }
    if spec.sound is not None:
        found["audio"] = sound_of(spec.sound)
    if spec.filters:
        found["filters"] = [filter_of(f) for f in spec.filters]
    return found


def filter_of(spec: FilterSpec) -> Json:
    return {"name": spec.name, "kind": spec.kind, "settings": dict(spec.settings), "enabled": spec.enabled}


def sound_of(spec: SoundSpec) -> Json:
    return {
        "volume_db": spec.volume_db,
        "muted": spec.muted,
        "balance": spec.balance,
        "sync_ms": spec.sync_ms,
        "monitor": _MONITOR[spec.monitor],
        "tracks": [*sorted(set(spec.tracks))],
    }


def kind_of(spec: SourceSpec) -> str:
    """OBS's kind of a declared source."""
    for form, kind in _KINDS.items():
        if getattr(spec, form) is not None:
            return kind
    if spec.audio is not None:
        return "pulse_output_capture" if spec.audio.device else "pulse_input_capture"
    assert spec.input is not None
    return spec.input.kind


_KINDS = {
    "color": "color_source_v3",
    "image": "image_source",
    "slideshow": "slideshow",
    "text": "text_ft2_source_v2",
    "media": "ffmpeg_source",
    "network": "ffmpeg_source",
    "screen": "xshm_input",
}


def _form(spec: SourceSpec, base: Path, displays: Displays, devices: Devices) -> tuple[str, Mapping[str, JsonValue]]:
    kind = kind_of(spec)
    if spec.color is not None:
        return kind, _color(spec.color)
    if spec.image is not None:
        return kind, _image(spec.image, base)
    if spec.slideshow is not None:
        return kind, _slideshow(spec.slideshow, base)
    if spec.text is not None:
        return kind, _text(spec.text, base)
    if spec.media is not None:
        return kind, _media(spec.media, base)
    if spec.network is not None:
        return kind, _network(spec.network)
    if spec.screen is not None:
        return kind, _screen(spec.screen, displays)
    if spec.audio is not None:
        return kind, _audio(spec.audio, devices)
    assert spec.input is not None
    return kind, spec.input.settings


def _color(spec: ColorSource) -> Json:
    return {"color": abgr(spec.color), "width": spec.size.width, "height": spec.size.height}


def _image(spec: ImageSource, base: Path) -> Json:
    return {"file": str(base / spec.file), "unload": spec.unload}


def _slideshow(spec: SlideshowSource, base: Path) -> Json:
    files: list[JsonValue] = [{"value": str(base / file), "selected": False, "hidden": False} for file in spec.files]
    settings: Json = {
        "files": files,
        "slide_time": round(spec.every.seconds * 1000),
        "transition": spec.transition,
        "transition_speed": round(spec.transition_time.seconds * 1000),
        "loop": spec.loop,
        "randomize": spec.random,
    }
    return settings | ({"use_custom_size": str(spec.size)} if spec.size is not None else {})


def _text(spec: TextSource, base: Path) -> Json:
    settings: Json = {
        "font": {"face": spec.font.face, "size": spec.font.size, "style": spec.font.style, "flags": 0},
        "color1": abgr(spec.color),
        "color2": abgr(spec.color2 or spec.color),
        "outline": spec.outline,
        "drop_shadow": spec.shadow,
    }
    if spec.width is not None:
        settings |= {"custom_width": spec.width, "word_wrap": True}
    if spec.file is not None:
        return settings | {"from_file": True, "text_file": str(base / spec.file)}
    return settings | {"text": spec.text}


def _media(spec: MediaSource, base: Path) -> Json:
    return {
        "is_local_file": True,
        "local_file": str(base / spec.file),
        "looping": spec.loop,
        "restart_on_activate": spec.restart,
        "speed_percent": spec.speed_percent,
        "hw_decode": spec.hardware,
    }


def _network(spec: NetworkSource) -> Json:
    settings: Json = {
        "is_local_file": False,
        "input": spec.url,
        "buffering_mb": spec.buffer_mb,
        "reconnect_delay_sec": max(1, round(spec.reconnect.seconds)),
        "hw_decode": spec.hardware,
    }
    return settings | ({"input_format": spec.format} if spec.format else {})


def _screen(spec: ScreenSource, displays: Displays) -> Json:
    display, cut = displays(spec.display).name, spec.cut
    settings: Json = {"advanced": True, "server": display, "screen": 0, "show_cursor": spec.cursor}
    edges: Json = {"cut_left": cut.left, "cut_right": cut.right, "cut_top": cut.top, "cut_bot": cut.bottom}
    if spec.window is not None:
        return settings | {"server": NOWHERE} | dict.fromkeys(edges, 0)
    return settings | edges


def _audio(spec: AudioSource, devices: Devices) -> Json:
    return {"device_id": devices(spec.device).monitor if spec.device else spec.source or "default"}
