"""One slow reader is its own trouble."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from streamsd.programs.relay import fanout, nut
from streamsd.programs.relay.fanout import Cache, Client, Coded
from streamsd.programs.relay.nut import StreamClass, StreamHeader
from streamsd.programs.relay.reader import NutReader

VIDEO = StreamHeader(StreamClass.VIDEO, b"H264", 1, 90_000, width=320, height=240)
HEAD = nut.preamble([VIDEO])
SIZE = 64 * 1024


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def picture(number: int, key: bool = False) -> Coded:
    return Coded(nut.frame(0, number, key, number.to_bytes(4) * (SIZE // 4)), key, 1)


def received(sock: socket.socket, client: Client) -> list[tuple[int, bool]]:
    """Everything the client still has for us, as (number, key)."""
    reader = NutReader()
    found = []
    sock.setblocking(False)
    while True:
        try:
            data = sock.recv(1 << 20)
        except BlockingIOError:
            if not client.behind:
                return found
            client.drain()
            continue
        for frame in reader.feed(data):
            assert frame.payload == frame.pts.to_bytes(4) * (SIZE // 4)
            found.append((frame.pts, frame.key))


def test_a_joiner_gets_the_group_of_pictures_that_runs(pair: tuple[socket.socket, socket.socket]) -> None:
    cache, client = Cache(), Client(pair[0])
    for number in range(10):
        cache.add(picture(number, key=number % 4 == 0))
    client.greet(HEAD, cache)
    client.offer(picture(10))
    assert received(pair[1], client) == [(8, True), (9, False), (10, False)]


def test_a_joiner_without_a_keyframe_waits_for_one(pair: tuple[socket.socket, socket.socket]) -> None:
    client = Client(pair[0])
    client.greet(HEAD, Cache())
    for number in range(4):
        client.offer(picture(number, key=number == 2))
    assert received(pair[1], client) == [(2, True), (3, False)]
    assert client.dropped == 0


def test_a_stalled_reader_loses_frames_and_resumes_on_a_keyframe(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, "QUEUE_BYTES", 10 * SIZE)
    client = Client(pair[0])
    client.greet(HEAD, Cache())
    client.drain()
    for number in range(100):
        client.offer(picture(number, key=number % 5 == 0))
    got = received(pair[1], client)
    numbers = [number for number, _ in got]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 0
    jumps = [here for before, here in zip(numbers, got[1:], strict=False) if here[0] != before + 1]
    assert jumps, "nothing was lost: the test is too small"
    assert all(key for _, key in jumps)
    assert client.dropped == 100 - len(got)


def test_headers_are_never_dropped(pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "QUEUE_BYTES", 2 * SIZE)
    client = Client(pair[0])
    client.greet(HEAD, Cache())
    for number in range(20):
        client.offer(picture(number, key=True))
    got = received(pair[1], client)
    assert got[-1] == (19, True)


def test_a_group_of_pictures_that_is_too_long_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fanout, "CACHE_BYTES", 5 * SIZE)
    cache = Cache()
    for number in range(20):
        cache.add(picture(number, key=number in (0, 18)))
    assert [part.start for part in cache.parts] == [True, False]
