"""From an OBS profile's parameters to encoders, recording, replay buffer and whatever else it sets.

What no field says goes into `parameters`: the spec is compiled, and where it would set something else than what is
there, that is added.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from streamsd.kinds.obs.document import QUALITY, parameters
from streamsd.kinds.obs.held import TRACKS, Held, Json, Parameter
from streamsd.kinds.obs.spec import ObsSpec

_RECORDING: Mapping[str, tuple[Parameter, ...]] = {
    section: (*((section, name) for name in names), ("Output", "FilenameFormatting"))
    for section, names in {
        "SimpleOutput": ("FilePath", "RecFormat", "RecFormat2", "RecQuality"),
        "AdvOut": ("RecFilePath", "RecFormat", "RecFormat2", "RecTracks"),
    }.items()
}

_MORE = re.compile(r"^(Output|SimpleOutput|AdvOut)/(?!FF)|^Video/(Scale|Color|Sdr|Hdr)")
"""Of what a basic.ini sets, what belongs to an instance: not windows, hotkeys, tokens, nor FFmpeg's own output, whose
URL may hold a key."""


def add_outputs(found: Json, held: Held, new: bool) -> None:
    """Encoders, recording, replay buffer and reconnecting; then whatever else the profile sets."""
    section = held.section
    if new:
        for name in ("encoder", "advanced", "record", "replay_buffer", "parameters"):
            found.pop(name, None)
        found |= _encoders(held, cast("float", found.get("fps", 30)))
        found["reconnect"] = _reconnect(held)
    recorded = "record" in held.active or any(held.is_set(parameter) for parameter in _RECORDING[section])
    if recorded and "record" not in found:
        found |= _record(held, section)
    if held.value(section, "RecRB") == "true" and "replay_buffer" not in found:
        found["replay_buffer"] = {"length": f"{_whole(held.value(section, 'RecRBTime')) or 20}s"}
    for name, output in (("record", "record"), ("replay_buffer", "replay_buffer")):
        if name in found and output in held.active:
            found[name] = {**found[name], "state": "on"}
    if "virtual_camera" in held.active:
        found["virtual_camera"] = "on"
    _add_parameters(found, held, section, new)


def _add_parameters(found: Json, held: Held, section: str, new: bool) -> None:
    made = {
        (where, name): value
        for where, name, value in parameters(ObsSpec.model_validate(found), Path("/"), held.version)
    }
    others: dict[str, dict[str, str]] = {where: dict(rows) for where, rows in found.get("parameters", {}).items()}
    there = {parameter: value for parameter, (value, _) in held.parameters.items() if value is not None}
    more = {(s, n): v for (s, n), v in held.more.items() if _MORE.match(f"{s}/{n}")}
    for (where, name), value in {**more, **there}.items():
        if where in ("Audio", "SimpleOutput" if section == "AdvOut" else "AdvOut"):
            continue
        differs = (where, name) in made and made[where, name] != value
        unsaid = (where, name) not in made and ((where, name) in more or held.is_set((where, name)))
        if (differs and new) or unsaid:
            others.setdefault(where, {})[name] = value
    found.pop("parameters", None)
    if others:
        found["parameters"] = others


def _encoders(held: Held, fps: float) -> Json:
    if held.section == "AdvOut":
        return {"advanced": _advanced(held)}
    found: Json = {}
    for name, parameter in (("bitrate", "VBitrate"), ("audio_bitrate", "ABitrate")):
        rate = _whole(held.value("SimpleOutput", parameter))
        if rate:
            found[name] = f"{rate}k"
    encoder = held.value("SimpleOutput", "StreamEncoder")
    if encoder in ("x264", "nvenc", "qsv", "amd"):
        found["encoder"] = encoder
    if encoder == "x264" and held.value("SimpleOutput", "Preset"):
        found["preset"] = held.value("SimpleOutput", "Preset")
    own = re.fullmatch(r"keyint=(\d+)", held.value("SimpleOutput", "x264Settings") or "")
    if own and held.value("SimpleOutput", "UseAdvanced") == "true":
        found["keyframes"] = f"{round(int(own[1]) * 1000 / fps)}ms"
    return {"encoder": found} if found else {}


def _advanced(held: Held) -> Json:
    found: Json = {}
    for name, parameter in (("encoder", "Encoder"), ("recording_encoder", "RecEncoder")):
        if held.value("AdvOut", parameter):
            found[name] = held.value("AdvOut", parameter)
    for name, file in (("settings", "streamEncoder"), ("recording_settings", "recordEncoder")):
        if held.encoders.get(file):
            found[name] = held.encoders[file]
    last = max(
        (n for n in TRACKS for what in ("Bitrate", "Name") if held.is_set(("AdvOut", f"Track{n}{what}"))), default=0
    )
    if last:
        found["tracks"] = [_track(held, number) for number in range(1, last + 1)]
    track = _whole(held.value("AdvOut", "TrackIndex"))
    if track in TRACKS:
        found["stream_track"] = track
    return found


def _track(held: Held, number: int) -> Json:
    rate = _whole(held.value("AdvOut", f"Track{number}Bitrate"))
    name = held.value("AdvOut", f"Track{number}Name")
    return ({"name": name} if name else {}) | {"bitrate": f"{rate or 160}k"}


def _record(held: Held, section: str) -> Json:
    simple = section == "SimpleOutput"
    path = held.value(section, "FilePath" if simple else "RecFilePath")
    if not path:
        return {}
    found: Json = {"path": path}
    form = held.value(section, "RecFormat2" if held.version >= (30,) else "RecFormat")
    if form in ("mkv", "mp4", "mov", "flv", "ts", "hybrid_mp4"):
        found["format"] = form
    if name := held.value("Output", "FilenameFormatting"):
        found["filename"] = name
    if simple:
        qualities = {obs: quality for quality, obs in QUALITY.items()}
        if quality := qualities.get(held.value(section, "RecQuality") or ""):
            found["quality"] = quality
    else:
        bits = _whole(held.value(section, "RecTracks")) or 1
        found["tracks"] = [track for track in TRACKS if bits >> track - 1 & 1]
    return {"record": found}


def _reconnect(held: Held) -> Json:
    found: Json = {"enabled": held.value("Output", "Reconnect") != "false"}
    if delay := _whole(held.value("Output", "RetryDelay")):
        found["delay"] = f"{delay}s"
    retries = _whole(held.value("Output", "MaxRetries"))
    if retries is not None and retries <= 10_000:
        found["retries"] = retries
    return found


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
