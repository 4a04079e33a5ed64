"""What operators can ask of a director, over its control socket."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from streamsd.core.diagnostics import name_hint
from streamsd.core.report import JsonValue
from streamsd.programs.director.client import Client, ConnectionLost, Request, RequestFault
from streamsd.programs.director.control import refusal
from streamsd.programs.director.model import Desired, Studio
from streamsd.programs.director.overrides import OUTPUTS, Overrides
from streamsd.programs.director.readback import ReadFault

Answer = dict[str, JsonValue]

PAUSED_WITHIN = 2.0
"""Seconds that OBS may take to pause a recording, or to go on with it."""

OUTPUT_NOT_RUNNING, NOT_FOUND, NOT_AVAILABLE = 501, 600, 604
"""obs-websocket's RequestStatus."""

REPLAY_WITHIN = 10.0


class Refusal(Exception):
    """Asked for something that cannot be: `reason` for programs."""

    def __init__(self, reason: str, message: str, hint: str = "") -> None:
        self.reason = reason
        self.hint = hint
        super().__init__(message)


class Stage(Protocol):
    """What commands need of the director."""

    def document(self) -> Desired:
        """The document without overrides, in the collection that is to be loaded; Refusal when there is none yet."""
        ...

    def client(self) -> Client:
        """Refusal when there is no connection."""
        ...

    def read(self) -> Studio: ...

    def inventory(self, parameters: Sequence[tuple[str, str]]) -> Answer:
        """All that OBS holds, for an import: see streamsd.programs.director.inventory."""
        ...

    def overrides(self) -> Overrides: ...

    def override(self, overrides: Overrides, *, interrupt: bool = False) -> Answer:
        """Take these from now on, converge, and say how it went. `interrupt`: as for `take_document`."""
        ...

    def show_texts(self, texts: Mapping[str, str]) -> None:
        """Have these inputs show these texts, now and until they are given others."""
        ...

    def take_document(self, *, interrupt: bool) -> Answer:
        """Read the desired file anew and converge. `interrupt`: this once, running outputs may be interrupted."""
        ...

    def reset(self) -> Answer:
        """Without overrides and texts from elsewhere from now on, converged."""
        ...

    def look_at_windows(self) -> Answer:
        """The follower has found captured windows elsewhere: read where, and converge."""
        ...

    def on_air(self) -> str:
        """The outputs that run, in words; empty: none."""
        ...

    def status(self) -> Answer: ...

    def lost(self, lost: ConnectionLost) -> None:
        """The connection is gone."""
        ...


class Commands:
    """One method a command; `answer` finds it by the question's `do`."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._known: dict[str, Callable[[dict[str, Any]], Answer]] = {
            "desired": lambda q: stage.take_document(interrupt=q.get("interrupt") is True),
            "status": lambda q: {"ok": True, **stage.status()},
            "reset": lambda q: stage.reset(),
            "read": self._read,
            "switch": self._switch,
            "collection": self._collection,
            "transition": self._transition,
            "output": self._output,
            "pause": self._pause,
            "show": self._show,
            "mute": self._mute,
            "screenshot": self._screenshot,
            "save-replay": self._save_replay,
            "text": self._say,
            "windows": lambda q: stage.look_at_windows(),
        }

    def answer(self, question: dict[str, Any]) -> Answer:
        """Whatever goes wrong becomes an answer."""
        command = self._known.get(str(question.get("do")))
        if command is None:
            return refusal("UnknownCommand", f"known: {', '.join(sorted(self._known))}")
        try:
            return command(question)
        except Refusal as fault:
            return refusal(fault.reason, str(fault), fault.hint)
        except RequestFault as fault:
            return refusal("Refused", str(fault))
        except ReadFault as fault:
            return refusal("NotSettled", str(fault))
        except ConnectionLost as lost:
            self._stage.lost(lost)
            return refusal("ConnectionLost", str(lost))

    def _read(self, question: dict[str, Any]) -> Answer:
        rows = question.get("parameters", [])
        if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == 2 for row in rows):
            raise Refusal("BadRequest", "parameters is a list of [section, name]")
        return {"ok": True, **self._stage.inventory([(str(section), str(name)) for section, name in rows])}

    def _switch(self, question: dict[str, Any]) -> Answer:
        scene = _text(question, "scene")
        desired = self._stage.document()
        if scene not in desired.studio.scenes:
            raise _unknown("Scene", scene, desired.studio.scenes)
        if desired.studio.program is None:
            # No scene is declared to be on air, so there is nothing to lay over.
            self._stage.client().call("SetCurrentProgramScene", {"sceneName": scene})
            return self._stage.override(self._stage.overrides())
        return self._stage.override(replace(self._stage.overrides(), program=scene))

    def _collection(self, question: dict[str, Any]) -> Answer:
        """OBS would switch while an output runs, and what is on air would change for a moment: only when asked for."""
        name = _text(question, "collection")
        desired = self._stage.document()
        if name not in desired.collections:
            raise _unknown("Collection", name, desired.collections)
        on_air, interrupt = self._stage.on_air(), question.get("interrupt") is True
        if on_air and not interrupt and name != desired.collection:
            hint = "--allow-interrupt does it all the same, or do it when that is off the air"
            raise Refusal("WouldInterrupt", f"loading {name} would interrupt what runs ({on_air})", hint)
        overrides = replace(self._stage.overrides(), collection=name, program=None)
        return self._stage.override(overrides, interrupt=interrupt)

    def _transition(self, question: dict[str, Any]) -> Answer:
        """Studio mode: what is in preview goes on air."""
        found = self._stage.read()
        if not found.studio_mode or found.preview is None:
            hint = "studio_mode: true in the profile; without it, `scene switch` puts a scene on air"
            raise Refusal("NoStudioMode", "studio mode is off: there is no preview to go on air", hint)
        return self._switch({"scene": found.preview})

    def _output(self, question: dict[str, Any]) -> Answer:
        name = _text(question, "name")
        if name not in OUTPUTS:
            raise Refusal("UnknownOutput", f"known: {', '.join(OUTPUTS)}")
        overrides = self._stage.overrides()
        return self._stage.override(replace(overrides, outputs={**overrides.outputs, name: _flag(question)}))

    def _pause(self, question: dict[str, Any]) -> Answer:
        """OBS says yes and does nothing when the recording is what is streamed."""
        client, wanted = self._stage.client(), _flag(question)
        status = client.call("GetRecordStatus")
        if not status.get("outputActive"):
            raise Refusal("NotRecording", "nothing is recorded", "`streamsd obs record start` begins a recording")
        if bool(status.get("outputPaused")) == wanted:
            reason, words = ("AlreadyPaused", "paused already") if wanted else ("NotPaused", "not paused")
            raise Refusal(reason, f"the recording is {words}")
        client.call("PauseRecord" if wanted else "ResumeRecord")
        deadline = time.monotonic() + PAUSED_WITHIN
        while bool(client.call("GetRecordStatus").get("outputPaused")) != wanted:
            if time.monotonic() > deadline:
                hint = "OBS can pause only a recording with an encoder of its own: record: {quality: high}"
                raise Refusal("DidNotTake", "OBS did not", hint)
            time.sleep(0.02)
        return self._stage.override(self._stage.overrides())

    def _show(self, question: dict[str, Any]) -> Answer:
        scene, source = _text(question, "scene"), _text(question, "source")
        studio = self._stage.document().studio
        owner = studio.scenes.get(scene) or studio.groups.get(scene)
        if owner is None:
            raise _unknown("Scene", scene, [*studio.scenes, *studio.groups])
        if not any(item.source == source for item in owner.items):
            raise _unknown("Source", source, [item.source for item in owner.items], f"in {scene}")
        overrides = self._stage.overrides()
        items = {**overrides.items, (scene, source): _flag(question)}
        return self._stage.override(replace(overrides, items=items))

    def _mute(self, question: dict[str, Any]) -> Answer:
        name = _text(question, "input")
        inputs = self._stage.document().studio.inputs
        if name not in inputs:
            raise _unknown("Source", name, inputs)
        overrides = self._stage.overrides()
        return self._stage.override(replace(overrides, muted={**overrides.muted, name: _flag(question)}))

    def _say(self, question: dict[str, Any]) -> Answer:
        """`texts`: by the name of an input that shows a text. What a data flow draws is no operator's override.
        `refused`: why, for those that cannot be shown."""
        texts = question.get("texts")
        if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
            raise Refusal("BadRequest", "texts is missing: a text for each input")
        inputs = self._stage.document().studio.inputs
        refused: dict[str, JsonValue] = {}
        for name in texts:
            if name not in inputs:
                refused[name] = f"there is no source {name!r}"
            elif not inputs[name].kind.startswith("text_"):
                refused[name] = f"the source {name!r} shows no text"
        self._stage.show_texts({name: text for name, text in texts.items() if name not in refused})
        return {"ok": True, "refused": refused}

    def _screenshot(self, question: dict[str, Any]) -> Answer:
        """`image`: a data URL. Of a source, or of what is on air."""
        client = self._stage.client()
        source = question.get("source") or client.call("GetCurrentProgramScene")["currentProgramSceneName"]
        form = str(question.get("format", "png")).lower()
        formats = client.call("GetVersion").get("supportedImageFormats")
        if isinstance(formats, list) and form not in formats:
            known = [str(each) for each in formats]
            raise Refusal(
                "UnknownFormat", f"OBS makes no pictures of the format {form!r}", name_hint(form, known, "it makes")
            )
        data: dict[str, JsonValue] = {"sourceName": source, "imageFormat": form}
        for key, name in (("width", "imageWidth"), ("height", "imageHeight")):
            if isinstance(question.get(key), int):
                data[name] = question[key]
        try:
            image = client.call("GetSourceScreenshot", data)["imageData"]
        except RequestFault as fault:
            if fault.code != NOT_FOUND:
                raise
            found = self._stage.read()
            raise _unknown("Source", str(source), [*found.scenes, *found.groups, *found.inputs]) from None
        return {"ok": True, "source": source, "image": image}

    def _save_replay(self, question: dict[str, Any]) -> Answer:
        """`path`: the file that OBS wrote. It is told by an event only, and the newest can be asked for: a new one is
        one of another name."""
        client = self._stage.client()
        before = self._newest_replay(client)
        try:
            client.call("SaveReplayBuffer")
        except RequestFault as fault:
            if fault.code in (OUTPUT_NOT_RUNNING, NOT_AVAILABLE):
                words = "the replay buffer does not run"
                raise Refusal("NoReplayBuffer", words, 'replay_buffer: {state: "on"} in the profile') from None
            raise
        deadline = time.monotonic() + REPLAY_WITHIN
        while time.monotonic() < deadline:
            path = self._newest_replay(client)
            if path and path != before:
                return {"ok": True, "path": path}
            time.sleep(0.05)
        raise Refusal("NotSaved", f"OBS wrote no replay within {REPLAY_WITHIN:g} s")

    def _newest_replay(self, client: Client) -> str:
        answer = client.batch([Request("GetLastReplayBufferReplay")])[0]
        return str(answer.data.get("savedReplayPath") or "")


def _unknown(what: str, name: str, known: Iterable[str], where: str = "declared") -> Refusal:
    return Refusal(f"Unknown{what}", f"there is no {what.lower()} {name!r}", name_hint(name, known, where))


def _text(question: Mapping[str, Any], key: str) -> str:
    value = question.get(key)
    if not isinstance(value, str) or not value:
        raise Refusal("BadRequest", f"{key} is missing")
    return value


def _flag(question: Mapping[str, Any]) -> bool:
    value = question.get("on")
    if not isinstance(value, bool):
        raise Refusal("BadRequest", "on is missing: true or false")
    return value
