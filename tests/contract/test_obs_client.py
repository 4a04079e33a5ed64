"""The client against a server at fault: it says what is wrong, and never takes one answer for another."""

from __future__ import annotations

import logging
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest

from streamsd.programs.director.client import Client, ConnectFault, ConnectionLost, Request, RequestFault
from tests.contract.obs_rig import free_port
from tests.contract.websocket_server import HELLO, Peer, serving

PATIENT = 30.0


def _ok(message: dict[str, Any], **data: Any) -> dict[str, Any]:
    body = message["d"]
    status = {"result": True, "code": 100}
    return {"op": 7, "d": {"requestId": body["requestId"], "requestStatus": status, "responseData": data}}


def test_nobody_listens() -> None:
    with pytest.raises(ConnectFault) as fault:
        Client.connect("127.0.0.1", free_port(), "secret")
    assert fault.value.reason == "NotListening"


@pytest.mark.parametrize("host", ["no-such-host.invalid", "255.255.255.255"])  # RFC 2606: never resolved
def test_why_a_host_cannot_be_reached_is_told(host: str) -> None:
    with pytest.raises(ConnectFault) as fault:
        Client.connect(host, free_port(), "secret", timeout=PATIENT)
    assert fault.value.reason == "Unreachable"
    assert "cannot be reached" in str(fault.value)
    assert "nobody listens" not in str(fault.value)


def test_a_connection_that_ends_at_once_is_told_so() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def reset() -> None:
        peer, _ = listener.accept()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()

    thread = threading.Thread(target=reset, daemon=True)
    thread.start()
    with listener, pytest.raises(ConnectFault) as fault:
        Client.connect("127.0.0.1", listener.getsockname()[1], "secret", timeout=PATIENT)
    thread.join(PATIENT)
    assert fault.value.reason == "ConnectionLost"
    assert "ended the connection" in str(fault.value)


def test_a_wrong_password_is_told_and_the_password_is_not(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(peer: Peer) -> None:
        peer.send({"op": 0, "d": {**HELLO["d"], "authentication": {"salt": "s", "challenge": "c"}}})
        peer.receive()
        peer.raw((4009).to_bytes(2, "big"), opcode=8)

    with caplog.at_level(logging.DEBUG), serving(refuse) as port, pytest.raises(ConnectFault) as fault:
        Client.connect("127.0.0.1", port, "geheim-4711")
    assert fault.value.reason == "WrongPassword"
    assert "geheim-4711" not in caplog.text + str(fault.value)


@pytest.mark.parametrize("hello", [b"SSH-2.0", b"[]", b"{}", b'{"op": 0}', b'{"op": 0, "d": 3}'])
def test_something_else_than_obs_listens(hello: bytes) -> None:
    with serving(lambda peer: peer.send(hello)) as port, pytest.raises(ConnectFault) as fault:
        Client.connect("127.0.0.1", port, "secret")
    assert fault.value.reason in ("NotObs", "WrongPassword")


def test_events_between_a_question_and_its_answer_are_kept() -> None:
    def serve(peer: Peer) -> None:
        peer.identify()
        question = peer.receive()
        peer.send({"op": 5, "d": {"eventType": "SceneCreated", "eventData": {"sceneName": "x"}}})
        peer.send(_ok(question, answer=1))
        peer.receive()

    with serving(serve) as port:
        client = Client.connect("127.0.0.1", port, "", timeout=PATIENT)
        assert client.call("Anything") == {"answer": 1}
        assert [e.type for e in client.events()] == ["SceneCreated"]
        assert client.events() == []
        client.close()


def test_a_refusal_is_a_fault_and_the_connection_goes_on() -> None:
    def serve(peer: Peer) -> None:
        peer.identify()
        question = peer.receive()["d"]
        status = {"result": False, "code": 604, "comment": "no audio"}
        peer.send({"op": 7, "d": {"requestId": question["requestId"], "requestStatus": status}})
        peer.send(_ok(peer.receive()))
        peer.receive()

    with serving(serve) as port:
        client = Client.connect("127.0.0.1", port, "", timeout=PATIENT)
        with pytest.raises(RequestFault) as fault:
            client.call("GetInputVolume")
        assert fault.value.code == 604
        assert client.call("Again") == {}
        client.close()


def _another_id(peer: Peer) -> None:
    question = peer.receive()
    question["d"]["requestId"] = "r999"
    peer.send(_ok(question, stale=True))


def _batch_in_part(peer: Peer) -> None:
    question = peer.receive()["d"]
    peer.send({"op": 9, "d": {"requestId": question["requestId"], "results": []}})


def _no_status(peer: Peer) -> None:
    question = peer.receive()["d"]
    results = [{"requestType": "A"}, {"requestType": "B"}]
    peer.send({"op": 9, "d": {"requestId": question["requestId"], "results": results}})


def _garbage(peer: Peer) -> None:
    peer.receive()
    peer.send(b"{not json")


def _half_a_frame(peer: Peer) -> None:
    peer.receive()
    peer.socket.sendall(b"\x81\x7e\x01\x00half")


@pytest.mark.parametrize("fault", [_another_id, _batch_in_part, _no_status, _garbage, _half_a_frame])
def test_nonsense_ends_the_connection(fault: Callable[[Peer], None]) -> None:
    def serve(peer: Peer) -> None:
        peer.identify()
        fault(peer)

    with serving(serve) as port:
        client = Client.connect("127.0.0.1", port, "", timeout=PATIENT)
        with pytest.raises(ConnectionLost):
            client.batch([Request("A"), Request("B")])
        with pytest.raises(ConnectionLost):
            client.call("Again")


def test_no_answer_in_time_ends_the_connection() -> None:
    silent = threading.Event()

    def serve(peer: Peer) -> None:
        peer.identify()
        peer.receive()
        silent.wait(60)

    with serving(serve) as port:
        client = Client.connect("127.0.0.1", port, "", timeout=0.3)
        with pytest.raises(ConnectionLost, match="did not answer within"):
            client.call("Anything")
        with pytest.raises(ConnectionLost):
            client.events()
        silent.set()
