"""What to send to make one thing of another, once it is known that they differ. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from streamsd.core.report import JsonValue
from streamsd.programs.director.client import Request
from streamsd.programs.director.model import Audio, Settings
from streamsd.programs.director.same import near


def only(settings: Settings, keys: Sequence[str]) -> dict[str, JsonValue]:
    """These of the settings."""
    return {key: settings[key] for key in keys}


def replacing(wanted: Settings, found: Settings, kept: set[str]) -> dict[str, JsonValue]:
    """All settings anew, which is the only way to be rid of a key, with those the source wrote itself."""
    return {key: value for key, value in found.items() if key in kept} | dict(wanted)


def filter_request(type: str, source: str, name: str, **more: JsonValue) -> Request:
    """A request about one filter of a source."""
    return Request(type, {"sourceName": source, "filterName": name, **more})


def audio_requests(name: str, wanted: Audio, found: Audio) -> Iterator[Request]:
    """One for each way in which an input's sound differs."""

    def request(type: str, **data: JsonValue) -> Request:
        return Request(type, {"inputName": name, **data})

    if not near(wanted.volume_db, found.volume_db, 0.01):
        yield request("SetInputVolume", inputVolumeDb=wanted.volume_db)
    if wanted.muted != found.muted:
        yield request("SetInputMute", inputMuted=wanted.muted)
    if not near(wanted.balance, found.balance):
        yield request("SetInputAudioBalance", inputAudioBalance=wanted.balance)
    if wanted.sync_ms != found.sync_ms:
        yield request("SetInputAudioSyncOffset", inputAudioSyncOffset=wanted.sync_ms)
    if wanted.monitor != found.monitor:
        yield request("SetInputAudioMonitorType", monitorType=wanted.monitor)
    if wanted.tracks != found.tracks:
        tracks: Mapping[str, JsonValue] = {str(t): t in wanted.tracks for t in range(1, 7)}
        yield request("SetInputAudioTracks", inputAudioTracks=dict(tracks))


T = TypeVar("T")


def moves_to(have: Sequence[T], want: Sequence[T]) -> list[tuple[T, int]]:
    """Single moves (which, to which index) that bring one order into the other, from the front."""
    order = list(have)
    moves = []
    for index, which in enumerate(want):
        if order[index] != which:
            order.remove(which)
            order.insert(index, which)
            moves.append((which, index))
    return moves
