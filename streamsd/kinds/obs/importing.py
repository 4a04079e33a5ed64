"""From what an OBS holds beside its scenes to an instance that declares it: video, outputs, sound, transitions.

What the running profile declares, and OBS holds, stays as it is written there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from streamsd.drivers.obs.importing import Scenes, filters_of, reached, sound_of
from streamsd.drivers.obs.recognize import Surroundings
from streamsd.kinds.obs.document import CHANNELS, SPECIAL
from streamsd.kinds.obs.held import Held, Json
from streamsd.kinds.obs.importing_outputs import add_outputs
from streamsd.kinds.obs.spec import is_file_name

_OF_OUTPUTS = ("profile ", "stream encoder", "recording's encoder")
"""What the director calls whatever `add_outputs` writes."""


def instance_of(
    held: Held,
    scenes: Scenes,
    around: Surroundings,
    secret: Callable[[str], str],
    said: Json | None = None,
    differing: frozenset[str] = frozenset(),
) -> Json:
    """`said`: what the running profile says of the instance, None where there is none: then everything is written.
    `differing`: what the director finds not to be so. `secret`: the reference that stands for the key, or password, of
    the stream."""
    found = dict(said or {})
    studio = held.studio

    def is_new(about: str) -> bool:
        return said is None or about in differing

    if studio.get("video") and is_new("video"):
        found.pop("output", None)
        found |= _video(studio["video"])
    if said is None:
        found |= _sound_of_all(held)
        for what, name in (("profile", held.profile), ("collection", held.collection)):
            if is_file_name(name):
                found[what] = name
    _list_scenes(found, held, scenes, said, differing)
    found.pop("sources", None)
    if scenes.sources:
        found["sources"] = dict(scenes.sources)
    _show(found, studio, scenes.names, is_new)
    _special(found, studio, around, differing)
    _transitions(found, studio, is_new)
    _stream(found, held, secret, is_new)
    add_outputs(found, held, said is None or any(about.startswith(_OF_OUTPUTS) for about in differing))
    return found


def _list_scenes(found: Json, held: Held, scenes: Scenes, said: Json | None, differing: frozenset[str]) -> None:
    names = list(scenes.names.values())
    if said is None or "collections" not in said:
        given = (said or {}).get("scenes", [])
        if said is None or reached(given, scenes.scenes) != set(names) or "scene order" in differing:
            found["scenes"] = names
        return
    given = said["collections"].get(held.collection, [])
    if held.collection != said.get("collection", next(iter(said["collections"]))):
        found["collection"] = held.collection
    if reached(given, scenes.scenes) != set(names) or "scene order" in differing:
        found["collections"] = said["collections"] | {held.collection: names}


def _video(video: Mapping[str, int]) -> Json:
    found: Json = {"canvas": f"{video['base_width']}x{video['base_height']}"}
    if (video["output_width"], video["output_height"]) != (video["base_width"], video["base_height"]):
        found["output"] = f"{video['output_width']}x{video['output_height']}"
    rate = Fraction(video["fps_numerator"], video["fps_denominator"])
    found["fps"] = int(rate) if rate.denominator == 1 else round(float(rate), 3 if rate.denominator == 1001 else 6)
    return found


def _sound_of_all(held: Held) -> Json:
    found: Json = {}
    rate, setup = held.value("Audio", "SampleRate"), held.value("Audio", "ChannelSetup")
    if rate in ("44100", "48000"):
        found["sample_rate"] = int(rate)
    for channels, name in CHANNELS.items():
        if name == setup:
            found["channels"] = channels
    return found


def _show(found: Json, studio: Mapping[str, Any], names: Mapping[str, str], is_new: Callable[[str], bool]) -> None:
    if studio.get("program") and is_new("program"):
        found["program"] = names[studio["program"]]
    if is_new("studio mode"):
        found.pop("studio_mode", None)
        if studio.get("studio_mode"):
            found["studio_mode"] = True
        else:
            found.pop("preview", None)
    if studio.get("studio_mode") and studio.get("preview") and is_new("preview"):
        found["preview"] = names[studio["preview"]]


def _special(found: Json, studio: Mapping[str, Any], around: Surroundings, differing: frozenset[str]) -> None:
    special = dict(found.get("special", {}))
    for where, name in studio.get("special", {}).items():
        place = f"{where[:-1]}_{where[-1]}"
        changed = {f"special input {where}", f"input {name}"} & differing
        if place in special and not changed and not any(a.startswith(f"input {name}, filter") for a in differing):
            continue
        source = studio["inputs"][name]
        kind = "pulse_output_capture" if place.startswith("desktop") else "pulse_input_capture"
        if source["kind"] != kind or not source["settings"].keys() <= {"device_id"}:
            continue  # nothing that a profile could declare: left alone
        device = source["settings"].get("device_id", "default")
        heard: Json = {"device": around.devices[device]} if device in around.devices else {"source": device}
        if name != SPECIAL[place]:
            heard["name"] = name
        if sound := sound_of(source.get("audio")):
            heard["sound"] = sound
        if source["filters"]:
            heard["filters"] = filters_of(source["filters"])
        if heard != {"source": "default"} or place in special:  # else it is as OBS makes it by itself
            special[place] = heard
    if special:
        found["special"] = {place: special[place] for place in SPECIAL if place in special}


def _transitions(found: Json, studio: Mapping[str, Any], is_new: Callable[[str], bool]) -> None:
    if studio.get("transition") and is_new("transition"):
        found["transition"] = {"name": studio["transition"]}
        if studio.get("transition_ms") is not None:
            found["transition"]["duration"] = f"{studio['transition_ms']}ms"
    said: Json = found.get("transitions", {})
    there = {name: t for name, t in studio.get("transitions", {}).items() if name not in ("Cut", "Fade")}
    transitions = {
        name: said[name]
        if name in said and not is_new(f"transition {name}")
        else {"kind": t["kind"]} | ({"settings": t["settings"]} if t["settings"] else {})
        for name, t in there.items()
    }
    found.pop("transitions", None)
    if transitions:
        found["transitions"] = {name: transitions[name] for name in (*said, *transitions) if name in transitions}


def _stream(found: Json, held: Held, secret: Callable[[str], str], is_new: Callable[[str], bool]) -> None:
    service = held.service or {}
    settings: Json = service.get("settings", {})
    known = service.get("type") == "rtmp_custom" and settings.get("server")
    if known and ("stream" not in found or is_new("stream service")):
        stream: Json = {"server": settings["server"]}
        if "key" in service["secrets"]:
            stream["key"] = secret("key")
        if settings.get("use_auth") and settings.get("username"):
            stream["user"] = settings["username"]
            if "password" in service["secrets"]:
                stream["password"] = secret("password")
        state = {key: value for key, value in found.get("stream", {}).items() if key == "state"}
        found["stream"] = stream | state
    if "stream" in found and "stream" in held.active:
        found["stream"] = {**found["stream"], "state": "on"}
