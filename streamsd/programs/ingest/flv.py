"""What a publisher sends, as FLV (Adobe Flash Video File Format 10.1, annex E). Pure."""

from __future__ import annotations

import struct

from streamsd.programs.ingest.chunks import AUDIO, VIDEO, Message

_H264, _AAC = 7, 10


class MediaFault(Exception):
    """Pictures or sound that the relay cannot take, in words."""


def header(*, sound: bool) -> bytes:
    """What a file begins with; pictures are always in it."""
    return b"FLV\x01" + bytes((5 if sound else 1,)) + struct.pack(">II", 9, 0)


def tag(message: Message) -> bytes:
    """One message as a tag, with the length behind it."""
    data, time = message.payload, message.time
    head = struct.pack(">B", message.type) + len(data).to_bytes(3, "big")
    head += (time & 0xFFFFFF).to_bytes(3, "big") + bytes((time >> 24 & 0xFF,)) + b"\0\0\0"
    return head + data + struct.pack(">I", len(data) + 11)


def check(message: Message) -> None:
    """MediaFault unless it is H.264 or AAC."""
    first = message.payload[0]
    if message.type == VIDEO and (first & 0x80 or first & 0x0F != _H264):
        raise MediaFault("the pictures are not H.264")
    if message.type == AUDIO and first >> 4 != _AAC:
        raise MediaFault("the sound is not AAC")


def is_config(message: Message) -> bool:
    """Whether it tells how to decode what follows, and is no frame."""
    return len(message.payload) > 1 and message.payload[1] == 0


def is_key(message: Message) -> bool:
    """Whether it is a picture that a decoder can begin with."""
    return message.type == VIDEO and message.payload[0] >> 4 & 0x07 == 1 and not is_config(message)
