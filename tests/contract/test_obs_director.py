"""The director as a process: it keeps an OBS as declared by itself, and takes orders over its socket."""

from __future__ import annotations

import copy
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamsd.core.report import read_report
from tests.contract.obs_documents import show
from tests.contract.obs_rig import Director, Studio, studio, unless_it_may_wedge, until

pytestmark = pytest.mark.xdist_group("obs-director")


@pytest.fixture(scope="module")
def obs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with studio(tmp_path_factory.mktemp("obs")) as made:
        made.connect().close()
        yield made


@pytest.fixture
def director(obs: Studio, tmp_path: Path) -> Iterator[Director]:
    made = Director(obs, tmp_path, show())
    yield made
    if made.process.poll() is None:
        made.process.kill()
        made.process.wait()


def colour(obs: Studio, name: str) -> int:
    client = obs.connect()
    try:
        found: Any = client.call("GetInputSettings", {"inputName": name})["inputSettings"]
        return int(found["color"])
    finally:
        client.close()


def test_it_repairs_what_it_is_told_of_and_what_it_is_not(obs: Studio, director: Director) -> None:
    other = obs.connect()
    try:
        other.call("SetInputMute", {"inputName": "sound", "inputMuted": False})
        other.call("SetInputSettings", {"inputName": "bg", "inputSettings": {"color": 0xFF000001}})
        mute = {"inputName": "sound"}
        until(lambda: other.call("GetInputMute", mute)["inputMuted"], "what has an event is repaired")
        until(lambda: colour(obs, "bg") == 0xFF333333, "what has none is repaired")
    finally:
        other.close()


def test_a_new_document_is_taken_and_a_bad_one_is_refused(obs: Studio, director: Director) -> None:
    edited = copy.deepcopy(show())
    edited["inputs"]["bg"]["settings"]["color"] = 0xFF445566
    edited["digests"]["scenes"] = "another"
    director.write(edited)
    answer = director.ask(do="desired")
    assert (answer["converged"], answer["changed"]) == (True, ["input bg: set color"])
    assert director.status()["parts"]["scenes"] == "another"
    director.write({"version": 1, "key": "geheim"})
    refused = director.ask(do="desired")
    assert (refused["ok"], refused["reason"]) == (False, "BadDocument")
    assert "geheim" not in json.dumps(refused)
    assert colour(obs, "bg") == 0xFF445566


def test_a_director_that_starts_anew_sends_nothing(director: Director) -> None:
    assert director.stop() == 0
    director.start()
    assert director.status()["requests_sent"] == 0


def test_a_text_of_a_flow_stays_until_it_is_given_another(obs: Studio, director: Director) -> None:
    def shown() -> str:
        client = obs.connect()
        try:
            settings: Any = client.call("GetInputSettings", {"inputName": "title"})["inputSettings"]
            return str(settings["text"])
        finally:
            client.close()

    declared = shown()
    answer = director.ask(do="text", texts={"title": "Grüße\n2 : 1", "bg": "x", "nope": "x"})
    assert answer["ok"]
    assert set(answer["refused"]) == {"bg", "nope"}
    assert shown() == "Grüße\n2 : 1"
    # It is no drift, and no operator's override: a comparison leaves it alone.
    sent = director.status()["requests_sent"]
    assert director.ask(do="desired")["converged"]
    assert (director.status()["requests_sent"], director.status()["overrides"]) == (sent, {})
    client = obs.connect()
    client.call("SetInputSettings", {"inputName": "title", "inputSettings": {"text": "somebody"}})
    client.close()
    until(lambda: shown() == "Grüße\n2 : 1", "what somebody else wrote is undone")
    assert director.ask(do="reset")["converged"]
    assert shown() == declared


def test_overrides_outlive_the_director_and_are_reset(obs: Studio, director: Director) -> None:
    assert director.ask(do="switch", scene="pause")["overrides"] == {"program": "pause"}
    director.ask(do="show", scene="main", source="title", on=False)
    os.kill(director.process.pid, signal.SIGKILL)
    director.process.wait()
    director.start()
    status = director.status()
    assert status["program"] == "pause"
    assert status["overrides"] == {"program": "pause", "items": [["main", "title", False]]}
    assert director.ask(do="switch", scene="nowhere")["reason"] == "UnknownScene"
    answer = director.ask(do="reset")
    assert (answer["converged"], answer["overrides"]) == (True, {})
    assert director.status()["program"] == "main"


def test_a_recording_of_the_streams_encoder_says_that_it_cannot_be_paused(director: Director) -> None:
    director.ask(do="output", name="record", on=True)
    until(lambda: director.status()["outputs"]["record"]["active"], "it records")
    refused = director.ask(do="pause", on=True)
    assert (refused["ok"], refused["reason"]) == (False, "DidNotTake")
    assert director.ask(do="output", name="record", on=False)["ok"]
    until(lambda: not director.status()["outputs"]["record"]["active"], "it records no more")


def test_it_finds_obs_again_after_it_was_killed(obs: Studio, director: Director, tmp_path: Path) -> None:
    pid = obs.obs_pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: not director.status()["connected"], "the loss is seen")
    report = read_report(tmp_path / "report.json")
    assert report is not None
    assert not report.ready
    assert director.ask(do="screenshot")["ok"] is False
    assert obs.launcher is not None
    obs.launcher.wait(60)
    obs.start()
    until(lambda: director.status().get("converged"), "it has converged again")
    assert colour(obs, "bg") == 0xFF333333


def test_obs_ends_at_once_though_a_director_is_connected(obs: Studio, director: Director) -> None:
    assert obs.stop() == 0
    assert "did not end" not in obs.log.read_text(errors="replace")
    until(lambda: not director.status()["connected"], "the end is seen")
    obs.start()
    obs.connect().close()


def test_thirty_switches_of_collection_and_profile_crash_nothing(obs: Studio, director: Director) -> None:
    """By turns, with an operator's switches in between, while another client listens to the events; everybody still
    gets the answers to his own questions."""
    count = 30
    unless_it_may_wedge()
    pid = obs.obs_pid
    told: list[str] = []
    over = threading.Event()

    def listen() -> None:
        client = obs.connect()
        while not over.is_set():
            told.extend(event.type for event in client.events(0.2))
        client.close()

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    for n in range(count):
        director.write({**show(), "collection": f"other{n % 2}", "profile": f"other{n // 2 % 2}"})
        answer = director.ask(do="desired")
        assert answer["converged"], answer
        assert director.ask(do="switch", scene="pause")["overrides"] == {"program": "pause"}
        assert director.ask(do="reset")["converged"]
    director.write(show())
    assert director.ask(do="desired")["converged"]
    over.set()
    listener.join(60)
    assert told.count("CurrentSceneCollectionChanged") >= count
    assert "CurrentProfileChanged" in told
    assert obs.obs_pid == pid
    assert director.status()["connected"]
    assert colour(obs, "bg") == 0xFF333333
    assert director.ask(do="desired")["requests"] == 0
