"""RTMP's handshake and chunks: messages out of bytes and back (Adobe's RTMP Specification 1.0, chapter 5)."""

from __future__ import annotations

import asyncio
import os
import struct
from dataclasses import dataclass, field

HANDSHAKE = 1536
LONGEST = 8 * 1024 * 1024
"""Bytes of a message: a keyframe of 4K at any sensible bit rate is a tenth of it."""

LONGEST_OF_STRANGERS = 16 * 1024
"""What comes before a key are commands of a few hundred bytes; nobody else may have us keep megabytes."""

OUR_CHUNKS = 4096

SET_CHUNK_SIZE, ABORT, ACKNOWLEDGE, CONTROL, WINDOW, BANDWIDTH = 1, 2, 3, 4, 5, 6
AUDIO, VIDEO, DATA, COMMAND = 8, 9, 18, 20


class RtmpFault(Exception):
    """What came is not RTMP, or not what a publisher sends."""


@dataclass(frozen=True, slots=True)
class Message:
    """`time` in milliseconds, as the publisher counts; `stream` is the message stream's number."""

    type: int
    time: int
    stream: int
    payload: bytes


@dataclass(slots=True)
class _Channel:
    time: int = 0
    delta: int = 0
    length: int = 0
    type: int = 0
    stream: int = 0
    extended: bool = False
    buffer: bytearray = field(default_factory=bytearray)


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The plain handshake, which every publisher speaks. RtmpFault, IncompleteReadError."""
    first = await reader.readexactly(1 + HANDSHAKE)
    if first[0] != 3:
        raise RtmpFault("not RTMP")
    # A server version of zero asks for no digests.
    ours = struct.pack(">II", 0, 0) + os.urandom(HANDSHAKE - 8)
    writer.write(b"\x03" + ours + first[1:])
    await writer.drain()
    await reader.readexactly(HANDSHAKE)


class Messages:
    """Reads messages. What concerns only the chunks themselves (sizes, aborts, acknowledgements) is dealt with here."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._size = 128
        self._window = 0
        self._taken = 0
        self._told = 0
        self._channels: dict[int, _Channel] = {}
        self.longest = LONGEST_OF_STRANGERS
        """Bytes of a message: `LONGEST` once it is known who sends."""

    async def next(self) -> Message:
        """RtmpFault; IncompleteReadError and OSError when the publisher is gone."""
        while True:
            message = await self._chunk()
            if message is None:
                continue
            if message.type == SET_CHUNK_SIZE:
                self._size = _number(message) & 0x7FFFFFFF
                if not 1 <= self._size <= LONGEST:
                    raise RtmpFault(f"chunks of {self._size} bytes")
            elif message.type == ABORT:
                self._channels.pop(_number(message), None)
            elif message.type == WINDOW:
                self._window = _number(message)
            elif message.type not in (ACKNOWLEDGE, CONTROL, BANDWIDTH):
                return message

    async def _read(self, count: int) -> bytes:
        data = await self._reader.readexactly(count)
        self._taken += count
        if self._window and self._taken - self._told >= self._window // 2:
            self._told = self._taken
            send(self._writer, 2, Message(ACKNOWLEDGE, 0, 0, struct.pack(">I", self._taken & 0xFFFFFFFF)))
            await self._writer.drain()  # one that sends and never reads would fill our memory with them
        return data

    async def _chunk(self) -> Message | None:
        first = (await self._read(1))[0]
        number = first & 0x3F
        if number == 0:
            number = 64 + (await self._read(1))[0]
        elif number == 1:
            low, high = await self._read(2)
            number = 64 + low + 256 * high
        form = first >> 6
        channel = self._channels.get(number)
        if channel is None:
            if form == 3 or len(self._channels) >= 64:
                raise RtmpFault("a chunk that continues nothing")
            channel = self._channels[number] = _Channel()
        await self._header(form, channel)
        rest = channel.length - len(channel.buffer)
        channel.buffer += await self._read(min(rest, self._size))
        if len(channel.buffer) < channel.length:
            return None
        payload = bytes(channel.buffer)
        channel.buffer.clear()
        return Message(channel.type, channel.time, channel.stream, payload)

    async def _header(self, form: int, channel: _Channel) -> None:
        begins = not channel.buffer
        if form == 3:
            if channel.extended:
                await self._read(4)
            if begins:
                channel.time = channel.time + channel.delta & 0xFFFFFFFF
            return
        if not begins:
            raise RtmpFault("a message begins within another")
        head = await self._read((11, 7, 3)[form])
        stamp = int.from_bytes(head[:3], "big")
        if form < 2:
            channel.length, channel.type = int.from_bytes(head[3:6], "big"), head[6]
            if channel.length > self.longest:
                raise RtmpFault(f"a message of {channel.length} bytes")
        if form == 0:
            channel.stream = int.from_bytes(head[7:11], "little")
        channel.extended = stamp == 0xFFFFFF
        if channel.extended:
            stamp = int.from_bytes(await self._read(4), "big")
        channel.delta = stamp
        channel.time = stamp if form == 0 else channel.time + stamp & 0xFFFFFFFF


def send(writer: asyncio.StreamWriter, channel: int, message: Message) -> None:
    """Write a message in chunks of OUR_CHUNKS, which the peer was told of. Its time is small: none is extended."""
    head = message.time.to_bytes(3, "big") + len(message.payload).to_bytes(3, "big")
    out = bytes((channel,)) + head + bytes((message.type,)) + message.stream.to_bytes(4, "little")
    for start in range(0, max(1, len(message.payload)), OUR_CHUNKS):
        out += (bytes((0xC0 | channel,)) if start else b"") + message.payload[start : start + OUR_CHUNKS]
    writer.write(out)


def _number(message: Message) -> int:
    if len(message.payload) < 4:
        raise RtmpFault("a control message is cut short")
    return int.from_bytes(message.payload[:4], "big")
