"""RTMP's pieces: what is written is read back, and what is cut or made up is a fault and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamsd.programs.ingest import amf, chunks, flv
from streamsd.programs.ingest.amf import AmfFault
from streamsd.programs.ingest.chunks import AUDIO, SET_CHUNK_SIZE, VIDEO, Message, Messages, RtmpFault
from streamsd.programs.ingest.flv import MediaFault

VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.lists(VALUES, max_size=4))
def test_amf_is_read_as_it_was_written(values: list[object]) -> None:
    assert amf.decode(amf.encode(*values)) == values  # type: ignore[arg-type]  # they are values


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.binary(max_size=60))
def test_other_bytes_are_a_fault_or_values(data: bytes) -> None:
    with contextlib.suppress(AmfFault):
        amf.decode(data)


def test_objects_do_not_nest_for_ever() -> None:
    with pytest.raises(AmfFault):
        amf.decode(b"\x03\0\x01a" * 100)


class _Sink:
    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data


async def read(data: bytes, longest: int = chunks.LONGEST) -> list[Message]:
    reader = asyncio.StreamReader(limit=1 << 22)
    reader.feed_data(data)
    reader.feed_eof()
    messages = Messages(reader, _Sink())  # type: ignore[arg-type]  # only written to
    messages.longest = longest
    found = []
    try:
        while True:
            found.append(await messages.next())
    except asyncio.IncompleteReadError:
        return found


async def test_messages_come_through_in_chunks() -> None:
    sink = _Sink()
    sent = [Message(VIDEO, 40, 1, bytes(range(256)) * 100), Message(AUDIO, 41, 1, b"x"), Message(VIDEO, 80, 1, b"")]
    ours = struct.pack(">I", chunks.OUR_CHUNKS)
    chunks.send(sink, 2, Message(SET_CHUNK_SIZE, 0, 0, ours))  # type: ignore[arg-type]  # only written to
    for number, message in enumerate(sent):
        chunks.send(sink, 4 + number % 2, message)  # type: ignore[arg-type]  # only written to
    assert await read(sink.data) == sent


async def test_times_are_deltas_and_long_ones_are_extended() -> None:
    long = 0x01000000
    first = b"\x04" + b"\xff\xff\xff" + b"\0\0\x01\x09" + struct.pack("<I", 1) + struct.pack(">I", long) + b"a"
    delta = b"\x44" + b"\0\0\x28" + b"\0\0\x01\x09" + b"b"
    same = b"\xc4" + b"c"
    assert [(m.time, m.payload) for m in await read(first + delta + same)] == [
        (long, b"a"),
        (long + 40, b"b"),
        (long + 80, b"c"),
    ]


@pytest.mark.parametrize(
    "data",
    [b"\xc4", b"\x04\0\0\0\xff\xff\xff\x09\0\0\0\0", b"\x02" + b"\0\0\0\0\0\x04\x01" + b"\0\0\0\0" + b"\0\0\0\0"],
    ids=["continues nothing", "too long", "chunks of no bytes"],
)
async def test_what_is_no_publisher_is_a_fault(data: bytes) -> None:
    with pytest.raises(RtmpFault):
        await read(data)


def test_only_what_the_relay_takes_is_taken() -> None:
    flv.check(Message(VIDEO, 0, 1, b"\x17\x01\0\0\0"))
    flv.check(Message(AUDIO, 0, 1, b"\xaf\x01"))
    for message in (
        Message(VIDEO, 0, 1, b"\x12\x01"),
        Message(VIDEO, 0, 1, b"\x90hvc1"),
        Message(AUDIO, 0, 1, b"\x2f\0"),
    ):
        with pytest.raises(MediaFault):
            flv.check(message)
    assert flv.is_key(Message(VIDEO, 0, 1, b"\x17\x01"))
    assert not flv.is_key(Message(VIDEO, 0, 1, b"\x17\x00"))
    assert not flv.is_key(Message(VIDEO, 0, 1, b"\x27\x01"))


async def test_nobody_has_us_keep_megabytes_before_it_is_known_who_sends() -> None:
    size = chunks.LONGEST_OF_STRANGERS
    head = b"\x04\0\0\0" + (size + 1).to_bytes(3, "big") + b"\x09\0\0\0\0"
    with pytest.raises(RtmpFault, match=f"a message of {size + 1} bytes"):
        await read(head, size)
    assert await read(head) == [], "from one whose key was right it is the beginning of a message"
    assert Messages(asyncio.StreamReader(), _Sink()).longest == size  # type: ignore[arg-type]  # only written to
