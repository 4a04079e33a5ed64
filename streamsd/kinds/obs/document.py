"""From an instance's spec and its scenes to the director's document (streamsd.programs.director.parse)."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

from streamsd.core.report import JsonValue
from streamsd.core.secret import Secret
from streamsd.core.units import Seconds
from streamsd.drivers.obs.content import Collection, Json
from streamsd.drivers.obs.inputs import windows_of, without_windows
from streamsd.drivers.relay import RtmpPoint
from streamsd.kinds.obs.spec import ObsSpec, OnOff

VERSION = 1

_FIXED = ("Cut", "Fade")
_SEGMENTED = Seconds(2)
"""Keyframes of what may be cut into segments, as HLS and recordings are."""
SPECIAL = {
    "desktop_1": "Desktop Audio",
    "desktop_2": "Desktop Audio 2",
    "mic_1": "Mic/Aux",
    **{f"mic_{n}": f"Mic/Aux {n}" for n in range(2, 5)},
}
"""What OBS calls the inputs of every scene."""

QUALITY = {"stream": "Stream", "high": "Small", "indistinguishable": "HQ", "lossless": "Lossless"}
CHANNELS = {
    "mono": "Mono",
    "stereo": "Stereo",
    "2.1": "2.1",
    "4.0": "4.0",
    "4.1": "4.1",
    "5.1": "5.1",
    "7.1": "7.1",
}


def document(
    spec: ObsSpec,
    collection: Collection,
    base: Path,
    version: tuple[int, ...],
    key: Secret,
    point: RtmpPoint | None = None,
) -> Json:
    """The whole document. It holds the stream key: it goes into a private file and nowhere else. `point`: what the
    stream that `stream.to` names says of itself.

    `digests` name its three parts; keyed, so that a short stream key cannot be guessed from them.
    """
    frame_rate = spec.frame_rate
    output = spec.output or spec.canvas
    titles: dict[str | None, str] = {content.key: content.name for content in collection.scenes}
    scenes: Json = {
        "scenes": [content.scene for content in collection.scenes],
        "inputs": dict(collection.inputs),
        "program": titles.get(spec.program),
        "preview": titles.get(spec.preview),
        "studio_mode": spec.studio_mode,
        "transition": spec.transition.name,
        "transition_ms": round(spec.transition.duration.seconds * 1000),
        "outputs": _outputs(spec),
        "prune": spec.prunes,
        "collections": [*spec.collections] or [spec.current_collection],
        "interrupt": spec.interrupt == "allow",
        "answer_within": spec.answer_within.seconds,
        "groups": dict(collection.groups),
        "others": {name: _other(spec, other) for name, other in collection.others.items()},
        "special": dict(collection.special),
        "transitions": {name: {"kind": t.kind, "settings": dict(t.settings)} for name, t in spec.transitions.items()},
        "collection": spec.current_collection if spec.external is None or spec.collection else "",
    }
    profile: Json = {
        "profile": spec.profile if spec.external is None else "",
        "video": {
            "base_width": spec.canvas.width,
            "base_height": spec.canvas.height,
            "output_width": output.width,
            "output_height": output.height,
            "fps_numerator": frame_rate.numerator,
            "fps_denominator": frame_rate.denominator,
        },
        "service": _service(spec, point),
        "parameters": [list(parameter) for parameter in parameters(spec, base, version)],
        "encoders": _encoders(spec),
    }
    digests: Json = {
        "scenes": digest(scenes, key),
        "structure": digest(_structure(spec, collection), key),
        "profile": digest(profile, key),
    }
    return {
        "version": VERSION,
        "digests": digests,
        **scenes,
        **profile,
        "inputs": without_windows(collection.inputs),
        "others": {
            name: {**_other(spec, other), "inputs": without_windows(other.inputs)}
            for name, other in collection.others.items()
        },
    }


def _other(spec: ObsSpec, collection: Collection) -> Json:
    """A collection that is not loaded."""
    titles: dict[str | None, str] = {content.key: content.name for content in collection.scenes}
    return {
        "scenes": [content.scene for content in collection.scenes],
        "inputs": dict(collection.inputs),
        "groups": dict(collection.groups),
        "program": titles.get(spec.program),
        "preview": titles.get(spec.preview),
    }


def windows_document(collection: Collection) -> Json | None:
    """What the follower of captured windows is told; None where none is captured."""
    windows = dict(windows_of(collection.inputs))
    for name, other in collection.others.items():
        # Two collections may have other windows by one name; no name holds a line's end.
        windows |= {f"{name}\n{input}": wanted for input, wanted in windows_of(other.inputs).items()}
    return {"version": VERSION, "windows": windows} if windows else None


def digest(part: JsonValue, key: Secret) -> str:
    text = json.dumps(part, sort_keys=True).encode()
    return hmac.new(key.reveal().encode(), text, hashlib.sha256).hexdigest()[:16]


def channels(spec: ObsSpec) -> str:
    return CHANNELS[spec.channels]


def parameters(spec: ObsSpec, base: Path, version: tuple[int, ...]) -> Iterator[tuple[str, str, str]]:
    """The profile's parameters: (section, name, value). What the spec's `parameters` say comes last and wins."""
    found: dict[tuple[str, str], str] = {}
    for section, name, value in _own_parameters(spec, base, version):
        found[section, name] = value
    for section, values in spec.parameters.items():
        for name, value in values.items():
            found[section, name] = value
    return ((section, name, value) for (section, name), value in found.items())


def _own_parameters(spec: ObsSpec, base: Path, version: tuple[int, ...]) -> Iterator[tuple[str, str, str]]:
    if spec.external is None or spec.advanced is not None:
        yield "Output", "Mode", "Simple" if spec.advanced is None else "Advanced"
    yield "Output", "Reconnect", _bool(spec.reconnect.enabled)
    yield "Output", "RetryDelay", str(max(1, round(spec.reconnect.delay.seconds)))
    yield "Output", "MaxRetries", str(spec.reconnect.retries)
    if spec.advanced is None:
        yield "SimpleOutput", "VBitrate", str(round(spec.encoder.bitrate.kbps))
        yield "SimpleOutput", "ABitrate", str(round(spec.encoder.audio_bitrate.kbps))
        yield "SimpleOutput", "StreamEncoder", spec.encoder.encoder
        if spec.encoder.encoder == "x264":
            yield "SimpleOutput", "Preset", spec.encoder.preset
            yield from _keyframes(spec)
    else:
        yield "AdvOut", "Encoder", spec.advanced.encoder
        yield "AdvOut", "RecEncoder", spec.advanced.recording_encoder
        yield "AdvOut", "TrackIndex", str(spec.advanced.stream_track)
        for number, track in enumerate(spec.advanced.tracks, 1):
            yield "AdvOut", f"Track{number}Bitrate", str(round(track.bitrate.kbps))
            yield "AdvOut", f"Track{number}Name", track.name or ""
    if spec.record is not None:
        yield from _recording(spec, base, version)
    if spec.replay_buffer is not None:
        section = "SimpleOutput" if spec.advanced is None else "AdvOut"
        yield section, "RecRB", "true"
        yield section, "RecRBTime", str(max(1, round(spec.replay_buffer.length.seconds)))


def _keyframes(spec: ObsSpec) -> Iterator[tuple[str, str, str]]:
    """The simple mode has no setting for it, but takes x264's own options."""
    seconds = spec.encoder.keyframes
    if seconds is None and spec.stream is not None and spec.stream.to is not None:
        seconds = _SEGMENTED
    if seconds is not None:
        yield "SimpleOutput", "UseAdvanced", "true"
        yield "SimpleOutput", "x264Settings", f"keyint={max(1, round(spec.frame_rate * Fraction(seconds.seconds)))}"


def _recording(spec: ObsSpec, base: Path, version: tuple[int, ...]) -> Iterator[tuple[str, str, str]]:
    record = spec.record
    assert record is not None
    path = str(base / record.path)
    yield "Output", "FilenameFormatting", record.filename
    # OBS 30 put fragmented containers beside the plain ones and keeps its choice under another name.
    name = "RecFormat2" if version >= (30,) else "RecFormat"
    if spec.advanced is None:
        yield "SimpleOutput", "FilePath", path
        yield "SimpleOutput", name, record.format
        yield "SimpleOutput", "RecQuality", QUALITY[record.quality]
    else:
        yield "AdvOut", "RecFilePath", path
        yield "AdvOut", "RecTracks", str(sum(1 << track - 1 for track in set(record.tracks)))
        yield "AdvOut", name, record.format


def _encoders(spec: ObsSpec) -> Json:
    """The advanced mode's encoder settings, by OBS's own names of the files that hold them."""
    advanced = spec.advanced
    if advanced is None:
        return {}
    found: Json = {"streamEncoder": dict(advanced.settings)}
    return found | ({"recordEncoder": dict(advanced.recording_settings)} if advanced.recording_settings else {})


def _outputs(spec: ObsSpec) -> Json:
    def wish(state: OnOff | None) -> bool | None:
        return None if state is None else state == "on"

    return {
        "stream": wish(spec.stream.state if spec.stream else None),
        "record": wish(spec.record.state if spec.record else None),
        "replay_buffer": wish(spec.replay_buffer.state if spec.replay_buffer else None),
        "virtual_camera": wish(spec.virtual_camera),
    }


def _service(spec: ObsSpec, point: RtmpPoint | None) -> JsonValue:
    stream = spec.stream
    if stream is None:
        return None
    secret = point.key if point is not None else stream.key
    settings: Json = {
        "server": point.server if point is not None else stream.server,
        "key": secret.reveal() if secret is not None else "",
        "use_auth": stream.user is not None,
    }
    if stream.user is not None:
        settings |= {"username": stream.user, "password": stream.password.reveal() if stream.password else ""}
    return {"type": "rtmp_custom", "settings": settings}


def _structure(spec: ObsSpec, collection: Collection) -> JsonValue:
    """What takes a collection reload when it changes: members of groups, kinds of transitions, the collection."""
    members: Mapping[str, JsonValue] = {
        name: [*sorted(str(item["source"]) for item in _items(group))] for name, group in collection.groups.items()
    }
    return {
        "groups": dict(members),
        "transitions": {name: t.kind for name, t in spec.transitions.items()},
        "special": dict(collection.special),
        "collection": spec.current_collection,
    }


def _items(group: Json) -> list[Json]:
    items = group["items"]
    assert isinstance(items, list)
    return [item for item in items if isinstance(item, dict)]


def _bool(value: bool) -> str:
    return "true" if value else "false"


def fixed_transitions() -> tuple[str, ...]:
    """The transitions that are always there."""
    return _FIXED
