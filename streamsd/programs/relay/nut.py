"""NUT, the container between our processes: its numbers, checksums and headers.

Source: the NUT specification (nut-english.txt of the FFmpeg and MPlayer projects) and, for version 4's pipe mode, what
ffmpeg 9 writes with `-syncpoints none`: one sync point after the headers and none after it, so that neither side keeps
a table that grows with every frame.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

ID_STRING = b"nut/multimedia container\0"
MAIN = b"NM\x7a\x56\x1f\x5f\x04\xad"
STREAM = b"NS\x11\x40\x5b\xf2\xf9\xdb"
SYNCPOINT = b"NK\xe4\xad\xee\xca\x45\x69"
INDEX = b"NX\xdd\x67\x2f\x23\xe6\x4e"
INFO = b"NI\xab\x68\xb5\x96\xba\x78"

FLAG_KEY = 1
FLAG_CODED_PTS = 8
FLAG_STREAM_ID = 16
FLAG_SIZE_MSB = 32
FLAG_CHECKSUM = 64
FLAG_RESERVED = 128
FLAG_SM_DATA = 256
FLAG_HEADER_IDX = 1024
FLAG_MATCH_TIME = 2048
FLAG_CODED = 4096
FLAG_INVALID = 8192

PIPE = 2
"""Main header flag: no sync points but the first."""


class NutFault(Exception):
    """What came is not NUT, or not a NUT that is read here."""


class StreamClass(IntEnum):
    VIDEO = 0
    AUDIO = 1


@dataclass(frozen=True, slots=True)
class StreamHeader:
    """One elementary stream. A tick is `num / den` seconds. `width` and `height` are of video, `rate` and `channels`
    of audio. `frame_rate` is what the encoder says it is, such as `30/1`, or empty."""

    kind: StreamClass
    fourcc: bytes
    num: int
    den: int
    decode_delay: int = 0
    extradata: bytes = b""
    width: int = 0
    height: int = 0
    aspect: tuple[int, int] = (0, 0)
    rate: int = 0
    channels: int = 0
    frame_rate: str = ""

    def same_program(self, other: StreamHeader) -> bool:
        """Whether a reader that was told of `other` can go on with this one without new headers.

        Parameter sets may differ (they are repeated in band before every keyframe); what a container or a decoder
        fixes once may not.
        """
        return (self.kind, self.fourcc, self.width, self.height, self.rate, self.channels) == (
            other.kind,
            other.fourcc,
            other.width,
            other.height,
            other.rate,
            other.channels,
        ) and (self.kind is StreamClass.VIDEO or self.extradata == other.extradata)

    def __str__(self) -> str:
        name = self.fourcc.decode("latin-1") if self.fourcc.isalnum() else self.fourcc.hex()
        if self.kind is StreamClass.VIDEO:
            return f"{name} {self.width}x{self.height}"
        return f"{name} {self.rate} Hz {self.channels}"


@dataclass(slots=True)
class Frame:
    """A coded frame of stream number `stream` of its input, `pts` in that stream's ticks."""

    stream: int
    pts: int
    key: bool
    payload: bytes


_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def checksum(data: bytes) -> bytes:
    """The four bytes that NUT puts behind `data`: CRC-32 with 0x04C11DB7, most significant bit first, from 0.

    zlib computes the mirrored one, so bits are mirrored on the way in and out: C's speed with no table of ours.
    """
    mirrored = zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return mirrored.to_bytes(4, "little").translate(_REVERSED)


def varint(value: int) -> bytes:
    """NUT's `v`: seven bits a byte, most significant first."""
    if value < 0x80:
        return bytes((value,))
    parts = [value & 0x7F]
    value >>= 7
    while value:
        parts.append(0x80 | (value & 0x7F))
        value >>= 7
    parts.reverse()
    return bytes(parts)


def signed(value: int) -> bytes:
    """NUT's `s`."""
    return varint(2 * abs(value) - (value > 0))


def text(value: bytes) -> bytes:
    """NUT's `vb`: a length and that many bytes."""
    return varint(len(value)) + value


def packet(startcode: bytes, body: bytes) -> bytes:
    """A header packet with its checksums."""
    head = startcode + varint(len(body) + 4)
    if len(body) + 4 > 4096:
        head += checksum(head)
    return head + body + checksum(body)


KEYFRAME_CODE = 1
FRAME_CODE = 2
_KEYFRAME_FLAGS = FLAG_KEY | FLAG_STREAM_ID | FLAG_CODED_PTS | FLAG_SIZE_MSB | FLAG_CHECKSUM
_FRAME_FLAGS = FLAG_STREAM_ID | FLAG_CODED_PTS | FLAG_SIZE_MSB
_MSB_SHIFT = 7
_MAX_PTS_DISTANCE = 0x7FFFFFFF


def preamble(streams: Iterable[StreamHeader]) -> bytes:
    """Everything a reader needs before its first frame, whichever frame that is.

    Every frame says its stream, whole time and size, so the reader keeps no state between them: it may join, lose
    frames and go on. Keyframes carry a checksum, which lets their time be any distance from the one before.
    """
    streams = tuple(streams)
    bases = list(dict.fromkeys((s.num, s.den) for s in streams))
    body = varint(4) + varint(1) + varint(len(streams)) + varint(32767) + varint(len(bases))
    for num, den in bases:
        body += varint(num) + varint(den)
    for flags, count in ((FLAG_INVALID, 1), (_KEYFRAME_FLAGS, 1), (_FRAME_FLAGS, 1), (FLAG_INVALID, 252)):
        # Code 'N' is not counted: 256 codes, one of them the first byte of every startcode.
        body += varint(flags) + varint(6) + signed(0) + varint(1) + varint(0) + varint(0) + varint(0) + varint(count)
    body += varint(0) + varint(PIPE)
    out = ID_STRING + packet(MAIN, body)
    for number, stream in enumerate(streams):
        out += packet(STREAM, _stream_body(number, stream, bases.index((stream.num, stream.den))))
    for number, stream in enumerate(streams):
        if stream.frame_rate:
            info = text(b"r_frame_rate") + signed(-1) + text(stream.frame_rate.encode())
            out += packet(INFO, varint(number + 1) + signed(0) + varint(0) + varint(0) + varint(1) + info)
    return out + packet(SYNCPOINT, varint(0) + varint(0))


def _stream_body(number: int, stream: StreamHeader, base: int) -> bytes:
    body = varint(number) + varint(stream.kind) + text(stream.fourcc) + varint(base) + varint(_MSB_SHIFT)
    body += varint(_MAX_PTS_DISTANCE) + varint(stream.decode_delay) + varint(0) + text(stream.extradata)
    match stream.kind:
        case StreamClass.VIDEO:
            body += varint(stream.width) + varint(stream.height)
            body += varint(stream.aspect[0]) + varint(stream.aspect[1]) + varint(0)
        case StreamClass.AUDIO:
            body += varint(stream.rate) + varint(1) + varint(stream.channels)
    return body


def frame(stream: int, pts: int, key: bool, payload: bytes) -> bytes:
    """A frame as `preamble` announces it."""
    coded = varint(pts + (1 << _MSB_SHIFT)) + varint(len(payload))
    if not key:
        return bytes((FRAME_CODE, stream)) + coded + payload
    head = bytes((KEYFRAME_CODE, stream)) + coded
    return head + checksum(head) + payload
