"""NUT as we write it is NUT as we read it, however it is cut into pieces."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamsd.programs.relay import nut
from streamsd.programs.relay.nut import Frame, NutFault, StreamClass, StreamHeader
from streamsd.programs.relay.reader import NutReader

VIDEO = StreamHeader(
    StreamClass.VIDEO, b"H264", 1, 90_000, 2, b"\0\0\0\1gB", width=320, height=240, aspect=(1, 1), frame_rate="30/1"
)
AUDIO = StreamHeader(StreamClass.AUDIO, b"\xff\0\0\0", 1, 48_000, 0, b"\x11\x88", rate=48_000, channels=2)

frames = st.lists(
    st.builds(
        Frame,
        stream=st.integers(0, 1),
        pts=st.integers(0, 2**50),
        key=st.booleans(),
        payload=st.binary(max_size=300),
    ),
    max_size=20,
)


@settings(deadline=None, max_examples=50)
@given(frames, st.integers(1, 64))
def test_frames_come_back_whole_however_they_are_cut(sent: list[Frame], size: int) -> None:
    data = nut.preamble([VIDEO, AUDIO]) + b"".join(nut.frame(f.stream, f.pts, f.key, f.payload) for f in sent)
    reader = NutReader()
    got = [frame for at in range(0, len(data), size) for frame in reader.feed(data[at : at + size])]
    assert got == sent
    assert reader.streams == [VIDEO, AUDIO]


def test_a_long_header_has_a_checksum_of_its_own() -> None:
    long = StreamHeader(StreamClass.VIDEO, b"H264", 1, 25, extradata=bytes(5000), width=2, height=2)
    reader = NutReader()
    reader.feed(nut.preamble([long]))
    assert reader.streams == [long]


def test_the_checksum_is_that_of_the_specification() -> None:
    # CRC-32/MPEG-2 without its initial value: the check word of "123456789", computed bit by bit.
    crc = 0
    for byte in b"123456789":
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ 0x104C11DB7 if crc & 0x80000000 else crc << 1
    assert nut.checksum(b"123456789") == crc.to_bytes(4, "big")


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n", bytes(100), nut.ID_STRING + b"N" * 40, nut.ID_STRING + b"\x01"]
)
def test_what_is_not_nut_is_refused(data: bytes) -> None:
    with pytest.raises(NutFault):
        NutReader().feed(data)


def test_a_damaged_header_is_refused() -> None:
    data = bytearray(nut.preamble([VIDEO]))
    data[40] ^= 1
    with pytest.raises(NutFault):
        NutReader().feed(bytes(data))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 400), st.integers(1, 255))
def test_damage_never_does_more_than_refuse(at: int, change: int) -> None:
    data = bytearray(nut.preamble([VIDEO, AUDIO]) + nut.frame(0, 5, True, b"abc") * 3)
    data[at % len(data)] ^= change
    with contextlib.suppress(NutFault):
        NutReader().feed(bytes(data))
