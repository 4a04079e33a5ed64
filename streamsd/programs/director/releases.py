"""What differs between releases of OBS, where its answers do not tell."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from streamsd.core.report import JsonValue
from streamsd.programs.director.client import Client

_YOUNG = 300
"""Frames that OBS has drawn by when it is surely past its start: ten seconds at thirty a second."""


def release(text: str) -> tuple[int, ...]:
    """The number in what OBS calls its version; empty where there is none."""
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", text)
    return tuple(map(int, found.groups())) if found else ()


def may_wedge(version: tuple[int, ...]) -> bool:
    """Whether leaving a collection may end in a dialog, "some sources could not be unloaded", that waits for somebody
    to end OBS (measured: every third time after sources were made over the websocket, with 32.2.2; never with 29.0.2
    and 30.2.3. 31 is counted in because it was not tried)."""
    return version >= (31,)


def in_its_words(parameters: Mapping[tuple[str, str], str], version: tuple[int, ...]) -> Mapping[tuple[str, str], str]:
    """The profile's parameters as this release has them: 30 has the containers of recordings under another name. What
    is declared for an OBS of somebody else's is declared for none in particular."""
    if not version:
        return parameters
    old, new = ("RecFormat", "RecFormat2") if version >= (30,) else ("RecFormat2", "RecFormat")
    return {
        (section, new if name == old and (section, new) not in parameters else name): value
        for (section, name), value in parameters.items()
    }


def await_started(client: Client, version: tuple[int, ...]) -> None:
    """Return once a young OBS's main thread is done with starting. From 31 on OBS says that it is ready before that,
    and a scene that is made meanwhile blocks both threads for ever (measured with 32.2.2: every fourth start). The
    request is one that the main thread answers and that changes nothing: the scene that is on air goes on air."""
    if version < (31,) or _frames(client.call("GetStats").get("renderTotalFrames")) > _YOUNG:
        return
    current = client.call("GetCurrentProgramScene").get("currentProgramSceneName")
    if current:
        client.call("SetCurrentProgramScene", {"sceneName": current})
        time.sleep(0.1)  # what the start has left for its event loop to do


def _frames(value: JsonValue) -> float:
    return value if isinstance(value, int | float) else 0.0
