"""The messages of schemas/flow.proto in protobuf's wire format, and what source and sink share of gRPC."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]  # it ships no types

from streamsd.flow.spec.words import Tls

SERVICE = "streamsd.flow.v1.Flow"
PUBLISH, SUBSCRIBE = "Publish", "Subscribe"
MOST_AT_ONCE = 1024 * 1024
"""Bytes in one batch that we send, but for a single result that is longer: gRPC's libraries refuse more than 4 MiB."""

_ID, _MESSAGE, _LOST = 0x08, 0x12, 0x18
_FIXED = {1: 8, 5: 4}


def batch(id: int, messages: Sequence[bytes], lost: int = 0) -> bytes:
    """A Batch."""
    parts = [bytes((_ID,)), _varint(id)]
    for message in messages:
        parts += (bytes((_MESSAGE,)), _varint(len(message)), message)
    if lost:
        parts += (bytes((_LOST,)), _varint(lost))
    return b"".join(parts)


def read_batch(data: bytes) -> tuple[int, list[bytes]]:
    """The reverse. ValueError. Fields that are not known are passed over."""
    id, messages, at, end = 0, [], 0, len(data)
    try:
        while at < end:
            tag = data[at]
            if tag == _MESSAGE:
                size = data[at + 1]
                at += 2
                if size >= 0x80:
                    size, at = _read_varint(data, at - 1)
                at += size
                if at > end:
                    raise ValueError("a batch that is cut")
                messages.append(data[at - size : at])
                continue
            tag, at = _read_varint(data, at)
            if tag == _ID:
                id, at = _read_varint(data, at)
            else:
                at = _past(tag & 7, data, at)
    except IndexError:
        raise ValueError("a batch that is cut") from None
    if at > end:
        raise ValueError("a batch that is cut")
    return id, messages


def ack(id: int) -> bytes:
    """An Ack."""
    return bytes((_ID,)) + _varint(id)


def read_ack(data: bytes) -> int:
    """The reverse. ValueError."""
    return read_batch(data)[0]


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _past(kind: int, data: bytes, at: int) -> int:
    """Where the next field begins."""
    if kind == 0:
        return _read_varint(data, at)[1]
    if kind == 2:
        size, at = _read_varint(data, at)
        return at + size
    if kind not in _FIXED:
        raise ValueError("not a batch")
    return at + _FIXED[kind]


def server_credentials(tls: Tls, base: Path) -> Any:
    """OSError when a file cannot be read."""
    if not tls.cert:
        raise OSError("a server's tls needs a cert")
    ca = (base / tls.ca).read_bytes() if tls.ca else None
    pair = (base / (tls.key or tls.cert)).read_bytes(), (base / tls.cert).read_bytes()
    return grpc.ssl_server_credentials([pair], ca, require_client_auth=ca is not None)


def channel_credentials(tls: Tls, base: Path) -> Any:
    """OSError when a file cannot be read."""
    ca = (base / tls.ca).read_bytes() if tls.ca else None
    cert = (base / tls.cert).read_bytes() if tls.cert else None
    key = (base / (tls.key or tls.cert)).read_bytes() if tls.cert else None
    return grpc.ssl_channel_credentials(ca, key, cert)
