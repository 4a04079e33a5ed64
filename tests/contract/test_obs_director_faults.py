"""The director before a websocket that is at fault: it says so, goes on asking, and answers whoever asks it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streamsd.core.report import read_report
from tests.contract.obs_documents import show
from tests.contract.obs_rig import Director, Studio, until
from tests.contract.websocket_server import Peer, serving

OVER = threading.Event()
"""Set when a test is over: a server that is silent is silent until then."""


def _answer(peer: Peer, **data: Any) -> None:
    question = peer.receive()["d"]
    status = {"result": True, "code": 100}
    peer.send({"op": 7, "d": {"requestId": question["requestId"], "requestStatus": status, "responseData": data}})


def _begin(peer: Peer) -> dict[str, Any]:
    """As far as OBS is asked for all that it holds; that question."""
    peer.identify()
    _answer(peer, obsVersion="29.0.2")
    _answer(peer, inputKinds=["color_source_v3"])
    _answer(peer, transitionKinds=["fade_transition"])
    question: dict[str, Any] = peer.receive()["d"]
    return question


def _garbage(peer: Peer) -> None:
    _begin(peer)
    peer.send(b"{not json")


def _another_id(peer: Peer) -> None:
    _begin(peer)
    peer.send({"op": 9, "d": {"requestId": "r999", "results": []}})


def _in_part(peer: Peer) -> None:
    peer.send({"op": 9, "d": {"requestId": _begin(peer)["requestId"], "results": []}})


def _hang_up(peer: Peer) -> None:
    _begin(peer)


def _half_a_frame(peer: Peer) -> None:
    _begin(peer)
    peer.socket.sendall(b"\x81\x7e\x01\x00half")
    OVER.wait(120)


def _silence(peer: Peer) -> None:
    _begin(peer)
    OVER.wait(120)


def _no_hello(peer: Peer) -> None:
    OVER.wait(120)


@contextlib.contextmanager
def _facing(script: Callable[[Peer], None], home: Path) -> Iterator[tuple[Director, Studio, list[int]]]:
    """A director before this server, and a list that grows with each connection."""
    connections: list[int] = []

    def counted(peer: Peer) -> None:
        connections.append(1)
        script(peer)

    OVER.clear()
    with serving(counted) as port:
        made = Studio(home / "obs", ":0", port=port)  # never started: the server stands for it
        made.home.mkdir()
        (made.home / "password").write_text("secret")
        director = Director(made, home, {**show(), "answer_within": 2.0}, converged=False)
        try:
            yield director, made, connections
        finally:
            OVER.set()
            director.process.kill()
            director.process.wait()


def _reason(home: Path) -> str:
    report = read_report(home / "report.json")
    assert report is None or not report.ready
    return report.reason if report else ""


@pytest.mark.parametrize("fault", [_garbage, _another_id, _in_part, _hang_up])
def test_nonsense_is_told_and_it_connects_anew(fault: Callable[[Peer], None], tmp_path: Path) -> None:
    with _facing(fault, tmp_path) as (director, made, connections):
        until(lambda: _reason(tmp_path) == "ConnectionLost", "the fault is told")
        until(lambda: len(connections) >= 3, "it tries again")
        assert director.ask(do="switch", scene="pause")["converged"] is False
        assert director.ask(do="screenshot")["ok"] is False
        assert not made.complaint.exists(), "an OBS that speaks does not hang"
        assert director.stop() == 0


@pytest.mark.parametrize("fault", [_half_a_frame, _silence, _no_hello])
def test_silence_is_told_and_becomes_a_complaint(fault: Callable[[Peer], None], tmp_path: Path) -> None:
    with _facing(fault, tmp_path) as (director, made, connections):
        until(lambda: _reason(tmp_path) == "NotAnswering", "the silence is told")
        until(made.complaint.exists, "it is complained of")
        assert "has not answered" in made.complaint.read_text()
        assert len(connections) >= 2
        answer = director.ask(do="switch", scene="pause")
        assert (answer["converged"], answer["overrides"]) == (False, {"program": "pause"})
        assert json.loads((tmp_path / "state.json").read_text())["overrides"] == {"program": "pause"}
