"""The parts of the runner that need no process: queues, lines, limits, the spool, and protocols taken apart."""

from __future__ import annotations

import base64
import random
from pathlib import Path
from typing import Any

import pytest

from streamsd.flow.faults import Dead
from streamsd.flow.outputs import Batch, address_check
from streamsd.flow.pipeline import Chunk
from streamsd.flow.seals import KeyFault, Opener, Sealer
from streamsd.flow.spec.seals import Seal, Sealed
from streamsd.flow.spec.words import RateLimit
from streamsd.programs.flow import mqtt_packets as mqtt
from streamsd.programs.flow.figures import Backlog
from streamsd.programs.flow.intake import Inbox, Lines
from streamsd.programs.flow.letters import Cabinet, as_batch, raw_of
from streamsd.programs.flow.life import Life
from streamsd.programs.flow.limits import Bucket, Shares
from streamsd.programs.flow.sinks.file import FileOutlet
from streamsd.programs.flow.sources.sse import Events
from streamsd.programs.flow.spool import Spool


def test_lines_are_the_same_however_the_stream_is_cut():
    chance = random.Random(3)
    lines = [bytes(chance.choices(b"abc", k=chance.choice([1, 5, 40, 120]))) for _ in range(300)]
    data = b"".join(line + chance.choice([b"\n", b"\r\n", b"\n\n"]) for line in lines)
    wanted = [line if len(line) <= 100 else line[:101] for line in lines]
    for _ in range(20):
        reader, found, at = Lines(100), [], 0
        while at < len(data):
            size = chance.choice([1, 3, 50, 500])
            found += reader.feed(data[at : at + size])
            at += size
        found += reader.end()
        # A long line that comes whole is left whole: whoever counts its bytes sees that it is too long.
        assert [line[:101] for line in found] == wanted


def test_an_inbox_is_bounded_and_gives_tokens_back_when_they_are_stored():
    inbox, room = Inbox(messages=10, size=1000), []
    inbox.on_room = lambda: room.append(1)
    assert inbox.put([b"x"] * 4, token="first")
    assert not inbox.put([b"y"] * 8, ["m"] * 8, token="second")
    assert inbox.full
    assert [len(chunk.messages) for chunk in inbox.take(6)] == [4, 2]
    inbox.mark()
    assert inbox.stored() == ["first"], "of the second, messages are left"
    assert room == []
    assert [len(chunk.messages) for chunk in inbox.take(100)] == [6]
    assert room == [1]
    assert inbox.stored() == []
    inbox.mark()
    assert inbox.stored() == ["second"]
    assert not inbox.put([b"z" * 1000])


def test_a_bucket_lets_so_many_through_and_changes():
    bucket = Bucket(RateLimit(messages=100))
    taken = 0
    for step in range(1, 2001):
        now = 1000 + step / 100
        found = bucket.allowance(50, now)
        bucket.spend(found, 0)
        taken += found
    assert 1990 <= taken <= 2020
    bucket.change(None)
    assert bucket.allowance(5000, 2000) == 5000
    bucket.change(RateLimit(bytes=1000))
    assert bucket.allowance(5000, 2001) == 5000
    bucket.spend(1, 5000)
    assert bucket.allowance(5000, 2002) == 0, "in debt"
    assert bucket.allowance(5000, 2010) == 5000


def test_what_is_left_takes_as_long_as_it_went_so_far():
    backlog = Backlog()
    assert backlog.seconds(1000, 0.0) is None
    assert backlog.seconds(900, 0.1) is None, "too soon to say"
    assert backlog.seconds(600, 4.0) == 6.0
    assert backlog.seconds(2000, 5.0) is None, "it grows"
    assert backlog.seconds(500, 10.0) == 10.0


def test_a_spool_gives_everything_once_from_its_position(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("streamsd.programs.flow.spool._SEGMENT", 5000)
    spool = Spool(tmp_path / "s", sync=False)
    batches = [([f"{i}-{j}".encode() for j in range(5)], [{"t": str(i)}] * 5) for i in range(400)]
    for batch in batches[:300]:
        spool.write(*batch)
    found: list[Any] = []
    while len(found) < 120:
        found += spool.read(7)
    place = spool.position()
    for _ in range(3):
        spool.read(7)
    spool.forget(place)
    assert len(list((tmp_path / "s").glob("*.spool"))) < 10, "what is stored is removed"
    spool.close()
    # The process died in the middle of a record, and comes again.
    newest = max((tmp_path / "s").glob("*.spool"))
    newest.write_bytes(newest.read_bytes() + b"\x50\x00\x00\x00half")
    again = Spool(tmp_path / "s", sync=True)
    again.seek(place)
    for batch in batches[300:]:
        again.write(*batch)
    while more := again.read(50):
        found += more
    assert found == batches
    again.forget(again.position())
    assert again.waiting() == 0
    again.close()


def test_a_spool_without_a_position_begins_with_what_is_kept(tmp_path: Path):
    spool = Spool(tmp_path, sync=False)
    spool.write([b"a"], None)
    spool.close()
    again = Spool(tmp_path, sync=False)
    again.seek(None)
    assert again.read(10) == [([b"a"], None)]
    again.close()


@pytest.mark.parametrize("version", [4, 5])
def test_mqtt_packets_are_the_same_however_they_are_cut(version: int):
    def packet(topic: bytes, payload: bytes, qos: int, number: int) -> bytes:
        body = len(topic).to_bytes(2, "big") + topic
        if qos:
            body += number.to_bytes(2, "big")
        if version == 5:
            body += b"\x02\x01\x01"  # one property: the payload is UTF-8
        body += payload
        return bytes((0x30 | qos << 1,)) + mqtt._length(len(body)) + body

    chance = random.Random(version)
    wanted = [
        (b"t/%d" % (i % 3), bytes(chance.choices(b"xyz", k=chance.choice([0, 1, 200, 20_000]))), i % 3, i + 1)
        for i in range(60)
    ]
    data = b"".join(packet(*w) for w in wanted)
    for _ in range(5):
        reader, found, at = mqtt.Reader(1 << 20), [], 0
        while at < len(data):
            size = chance.choice([1, 7, 1000, 60_000])
            for one in reader.feed(data[at : at + size]):
                told = mqtt.publish(one, version)
                found.append((told.topic, told.payload, told.qos, told.packet_id))
            at += size
        assert found == [(t, p, q, n if q else 0) for t, p, q, n in wanted]


@pytest.mark.parametrize("data", [b"\x30\xff\xff\xff\xff\x01", b"\x30\xff\xff\xff\x7f"])
def test_mqtt_lengths_that_are_none_are_faults(data: bytes):
    with pytest.raises(mqtt.MqttFault):
        list(mqtt.Reader(1000).feed(data))


@pytest.mark.parametrize("body", [b"", b"\x00", b"\x00\x05ab", b"\x00\x01a", b"\x00\x01a\x00\x01\xff\xff\xff\xff\xff"])
def test_mqtt_messages_that_are_cut_are_faults(body: bytes):
    with pytest.raises(mqtt.MqttFault):
        mqtt.publish(mqtt.Packet(mqtt.PUBLISH, 2, body), 5)


def test_server_sent_events_are_the_same_however_they_are_cut():
    text = b"\xef\xbb\xbf: hello\nretry: 2000\n\ndata: one\n\nevent: add\nid: 7\ndata: a\ndata:  b\n\n"
    text += b"data\n\nid: 8\n\ndata: x\r\n\r\nother: y\ndata: z\n\ndata: unfinished"
    wanted = [("message", b"one"), ("add", b"a\n b"), ("message", b""), ("message", b"x"), ("message", b"z")]
    for size in (1, 2, 5, 1000):
        events, found = Events(1000), []
        for at in range(0, len(text), size):
            found += list(events.feed(text[at : at + size]))
        assert found == wanted
        assert events.last_id == b"8"
    for size in (1, 7, 5000):
        events, text = Events(10), b"data: " + b"x" * 2000 + b"\n\ndata: y\n\n"
        found = [event for at in range(0, len(text), size) for event in events.feed(text[at : at + size])]
        assert found == [("message", b"x" * 11), ("message", b"y")], "one that is too long is seen to be so"


@pytest.mark.parametrize(
    ("transport", "name", "good", "bad"),
    [
        ("mqtt", "topic", ["a", "a/b c"], ["", "a/+", "#", "a\0"]),
        ("nats", "subject", ["a.b", "a"], ["", "a..b", "a.*", ">", "a b"]),
        ("kafka", "topic", ["a-b_c.1"], ["", "a/b", "a" * 250]),
    ],
)
def test_addresses_made_of_messages_are_checked(transport, name, good, bad):
    check = address_check(transport, name)
    assert [check(text) for text in good] == good
    for text in bad:
        with pytest.raises(Exception, match=f"not a {name}"):
            check(text)


def test_a_file_is_cut_to_its_position_and_a_rotation_taken_back(tmp_path: Path):
    path = tmp_path / "out"

    def outlet() -> FileOutlet:
        return FileOutlet(path, 30, 2, Life())

    def write(one: FileOutlet, text: str) -> None:
        one.write(Batch(1, text.encode()))

    first = outlet()
    first.start(None)
    write(first, "aaaaaaaaa\n")
    place = first.flush()
    write(first, "lost\n")
    first.flush()
    second = outlet()
    second.start(place)
    write(second, "bbbbbbbbb\n")
    before = second.flush()
    write(second, "ccccccccc\n")
    after = second.flush()  # this turns the file
    assert (path.read_text(), (tmp_path / "out.1").read_text()) == ("", "aaaaaaaaa\nbbbbbbbbb\nccccccccc\n")
    third = outlet()
    third.start(before)
    assert path.read_text() == "aaaaaaaaa\nbbbbbbbbb\n"
    write(third, "ddddddddd\n")
    third.flush()
    assert (tmp_path / "out.1").read_text() == "aaaaaaaaa\nbbbbbbbbb\nddddddddd\n"
    fourth = outlet()
    fourth.start(after)
    for one in (first, second, third, fourth):
        one.close()


def test_dead_letters_keep_the_bytes_and_remember_what_was_replayed(tmp_path: Path):
    path = tmp_path / "dead.ndjson"
    letters = [
        Dead("malformed", "m", b"{", "in"),
        Dead("wrong-type", "w", b"\xff\x00", "in"),
        Dead("late", "l", b"x" * 300_000),
    ]
    block = as_batch(letters).block
    assert [raw_of(line)[1] for line in block.splitlines()][:2] == [b"{", b"\xff\x00"]
    assert raw_of(block.splitlines()[2])[0]["cut_from"] == 300_000
    path.write_bytes(block)
    cabinet = Cabinet(path, tmp_path / "replayed.json")
    assert cabinet.summary(2)["reasons"] == {"malformed": 1, "wrong-type": 1, "late": 1}
    assert [entry["reason"] for entry in cabinet.summary(2)["newest"]] == ["wrong-type", "late"]
    places = [place for place, _, _ in cabinet.open_letters()]
    cabinet.set_mark(places[1])
    assert [found["reason"] for _, found, _ in cabinet.open_letters()] == ["late"]
    path.rename(tmp_path / "dead.ndjson.1")
    path.write_bytes(as_batch(letters[:1]).block)
    assert [found["reason"] for _, found, _ in cabinet.open_letters()] == ["late", "malformed"]
    cabinet.set_mark([place for place, _, _ in cabinet.open_letters()][-1])
    assert list(cabinet.open_letters()) == []


def test_each_sender_has_a_share_of_its_own() -> None:
    limit = RateLimit.model_validate({"each": {"by": "peer", "messages": 2, "excess": "dead_letter"}})
    shares = Shares(limit)
    metas = [{"peer": "10.0.0.1:5000"}, {"peer": "10.0.0.1:6000"}, {"peer": "10.0.0.1:7000"}, {"peer": "10.0.0.2:5000"}]
    chunk = Chunk("", [b"a", b"b", b"c", b"d"], metas)
    passed, excess = shares.admit(chunk, 100.0)
    assert (passed.messages, excess) == ([b"a", b"b", b"d"], [b"c"])
    assert passed.metas == [metas[0], metas[1], metas[3]]
    assert shares.dead
    assert shares.admit(chunk, 100.5)[0].messages == [b"a", b"d"], "half a second is one message more"
    octets = Shares(RateLimit.model_validate({"each": {"by": "topic", "bytes": 10}}))
    big = Chunk("", [b"x" * 25, b"y"], [{"topic": "t"}] * 2)
    assert octets.admit(big, 1.0)[1] == [b"y"], "the first passes, and is a debt"
    assert octets.admit(big, 2.0)[1] == [b"x" * 25, b"y"]
    assert octets.admit(Chunk("", [b"y"], [{"topic": "t"}]), 4.0)[1] == []
    octets.change(None)
    assert octets.admit(big, 4.0)[1] == []


@pytest.mark.parametrize("method", ["blake2b", "hmac-sha256", "aes-gcm"])
def test_what_is_sealed_is_opened_alone_together_as_text_and_with_an_older_key(method: str) -> None:
    keys = {"a": "11" * 32, "b": base64.b64encode(b"2" * 32).decode()}
    opener = Opener(Sealed.model_validate({"method": method, "keys": keys}))
    messages = [b"", b"x", b"\x00" * 1000, '{"ü": 1}'.encode()]
    for key_id, key in keys.items():
        for batch in (1, 3, 100):
            for text in (False, True):
                seal = Seal.model_validate({"method": method, "key_id": key_id, "key": key, "batch": batch})
                closed = Sealer(seal, text).close(messages)
                assert len(closed) == -(-len(messages) // batch)
                assert [m for one in closed for m in opener.open(one)] == messages
                assert all(one.isascii() and b"\n" not in one for one in closed) or not text
    for short in ("11" * 31, "  " + "11" * 31):
        with pytest.raises(KeyFault):
            Opener(Sealed.model_validate({"method": method, "keys": {"a": short}}))
