"""A server's stream of events, cut anywhere, and events that are longer than a message may be."""

from __future__ import annotations

import pytest

from streamsd.programs.flow.sources.sse import Events

MOST = 20


def events(data: bytes, at_once: int) -> tuple[list[bytes], bytes]:
    made = Events(MOST)
    found = [found for at in range(0, len(data), at_once) for _, found in made.feed(data[at : at + at_once])]
    return found, made.last_id


@pytest.mark.parametrize("at_once", [1, 7, 4096])
def test_events_however_they_are_cut(at_once: int) -> None:
    stream = b"id: 1\r\ndata: a\r\ndata: b\r\n\r\n: still here\n\nevent: x\nid: 2\ndata: c\n\ndata:\n\ndata: not whole"
    assert events(stream, at_once) == ([b"a\nb", b"c", b""], b"2")


@pytest.mark.parametrize("at_once", [1, 7, 4096, 1 << 20])
@pytest.mark.parametrize(
    "long",
    [
        b"data: " + b"x" * (MOST + 1),
        b"data: " + b"x" * 50_000,
        b"data: xx\n" * 50,
        b"data:\n" * 200,
        b"data: " + b"x" * MOST + b"\ndata:",
    ],
    ids=["a byte", "a line without end", "many lines", "many empty ones", "the line's end"],
)
def test_one_that_is_too_long_is_cut_and_what_comes_then_is_whole(long: bytes, at_once: int) -> None:
    found, last = events(b"id: 1\n" + long + b"\n\nid: 2\ndata: " + b"y" * MOST + b"\n\n", at_once)
    assert found[1:] == [b"y" * MOST]
    assert len(found[0]) == MOST + 1, "one byte too long, so that it becomes a dead letter"
    assert last == b"2"
