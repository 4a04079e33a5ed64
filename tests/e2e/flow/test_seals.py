"""Signed and encrypted messages: whatever is wrong with one, it is a dead letter, counted, and the flow goes on."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import os
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.flow import brokers
from tests.e2e.flow.processes import free_port, until
from tests.programs_needed import need_module

FAST = {"epoch": "100ms"}
OLD, NEW, FUTURE = (bytes([n]) * 32 for n in (1, 2, 3))
CODES = {"blake2b": 1, "hmac-sha256": 2, "aes-gcm": 3}


def seal(method: str, key_id: str, key: bytes, payload: bytes, batch: bool = False) -> bytes:
    """By hand, as docs/flows.md says it: not with the code that is tested."""
    head = bytes([CODES[method] | (0x80 if batch else 0), len(key_id)]) + key_id.encode()
    if method == "aes-gcm":
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(12)
        return head + nonce + AESGCM(key).encrypt(nonce, payload, head)
    if method == "blake2b":
        return head + payload + hashlib.blake2b(head + payload, key=key, digest_size=32).digest()
    return head + payload + hmac.new(key, head + payload, hashlib.sha256).digest()


def together(*messages: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(message)) + message for message in messages)


def post(port: int, body: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/", body)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    connection.close()


def source(port: int, method: str, **keys: bytes) -> dict[str, Any]:
    sealed = {"method": method, "keys": {name: key.hex() for name, key in keys.items()}}
    return {"http": {"listen": f"127.0.0.1:{port}"}, "sealed": sealed}


@pytest.mark.parametrize("method", ["blake2b", "hmac-sha256", "aes-gcm"])
def test_bad_messages_are_dead_letters_and_keys_are_changed_without_a_loss(flow, method):
    need_module("cryptography")
    port = free_port()
    one = flow(
        {
            "source": source(port, method, old=OLD, new=NEW),
            "schema": {"i": "int"},
            "sink": {"file": {"path": "out.ndjson"}},
            "recovery": FAST,
        }
    ).start()
    until(lambda: _listens(port), "a port that listens")
    good = seal(method, "old", OLD, b'{"i": 0}')
    post(port, good)
    post(port, base64.b64encode(seal(method, "new", NEW, b'{"i": 1}')))
    post(port, seal(method, "new", NEW, together(b'{"i": 2}', b'{"i": 3}'), batch=True))
    malformed = seal(method, "new", NEW, b"{")
    bad = [
        good[:-1] + bytes([good[-1] ^ 1]),
        good[:10] + bytes([good[10] ^ 1]) + good[11:],
        seal(method, "old", NEW, b'{"i": 9}'),
        good[:7],
        b'{"i": 9}',
        malformed,
        seal(method, "future", FUTURE, b'{"i": 4}'),
    ]
    for message in bad:
        post(port, message)
    forged = "bad-ciphertext" if method == "aes-gcm" else "bad-signature"
    wanted = {forged: 4, "not-sealed": 1, "malformed": 1, "unknown-key": 1}
    one.until(lambda seen: seen["dead_reasons"] == wanted, "every bad message, counted")
    letters = one.lines("state/dead.ndjson")
    assert Counter(letter["reason"] for letter in letters) == wanted
    assert [row["i"] for row in one.lines("out.ndjson")] == [0, 1, 2, 3]
    kept = {
        base64.b64decode(letter["raw_base64"]) if "raw_base64" in letter else letter["raw"].encode()
        for letter in letters
    }
    assert set(bad) - {malformed} <= kept, "the original bytes"
    assert (one.directory / "state/dead.ndjson").stat().st_mode & 0o077 == 0
    if method == "aes-gcm":
        assert b"{" not in kept, "what came encrypted is kept encrypted"

    # A key that is added live opens what was refused before.
    held = source(port, method, old=OLD, new=NEW, future=FUTURE)
    answer = one.ask(do="patch", live={"steps": [], "sources": {"source": {"sealed": held["sealed"]}}, "sinks": {}})
    assert answer.get("ok"), answer
    assert one.ask(do="replay")["replayed"] == len(bad)
    until(lambda: [row["i"] for row in one.lines("out.ndjson")] == [0, 1, 2, 3, 4], "the replayed message")
    assert one.stop() == 0
    for key in (OLD, NEW, FUTURE):
        assert key.hex() not in one.log() + json.dumps(one.report().observed)


def _listens(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/")
        return connection.getresponse().status == 405
    except OSError:
        return False


def test_sealed_from_flow_to_flow_over_mqtt_and_in_a_file(flow, tmp_path: Path):
    need_module("cryptography")
    with brokers.mosquitto(tmp_path) as broker:
        taker = flow(
            {
                "sources": {
                    "mqtt": {
                        "mqtt": {"port": broker.port, "topics": ["sealed/+"], "qos": 1},
                        "sealed": {"method": "aes-gcm", "keys": {"k": NEW.hex()}},
                        "schema": {"i": "int"},
                    },
                    "file": {
                        "file": {"path": "../maker/sealed.txt", "follow": True},
                        "sealed": {"method": "blake2b", "keys": {"k": OLD.hex()}},
                        "schema": {"i": "int"},
                    },
                },
                "sink": {"file": {"path": "out.ndjson"}},
                "recovery": FAST,
            },
            "taker",
        ).start()
        taker.until(lambda seen: seen["sources"]["mqtt"]["connected"], "a session")
        maker = flow(
            {
                "source": {"generator": {"fields": {"i": "n"}, "count": 5000}},
                "schema": {"i": "int"},
                "sinks": {
                    "mqtt": {
                        "mqtt": {"port": broker.port, "topic": "sealed/{str(i % 2)}"},
                        "seal": {"method": "aes-gcm", "key_id": "k", "key": NEW.hex(), "batch": 200},
                    },
                    "file": {
                        "file": {"path": "sealed.txt"},
                        "seal": {"method": "blake2b", "key_id": "k", "key": OLD.hex()},
                    },
                },
                "recovery": FAST,
            },
            "maker",
        ).start()
        maker.complete()
        assert b'"i"' not in (maker.directory / "sealed.txt").read_bytes()
        until(lambda: len(taker.lines("out.ndjson")) == 10_000, f"all of both\n{taker.log()}")
        assert sorted(row["i"] for row in taker.lines("out.ndjson")) == sorted([*range(5000)] * 2)
        assert taker.observed()["sources"]["mqtt"]["messages"] < 200, "many results are one message"
