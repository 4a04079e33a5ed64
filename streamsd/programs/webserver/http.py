"""HTTP/1.1, as much as a read-only file server needs (RFC 9112): requests read within bounds, responses written."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

LIMIT = 16 * 1024
"""Bytes a request's head may have."""

_HEAD_SECONDS = 30.0


class BadRequest(Exception):
    """What came is not a request that is answered here; the connection ends after `status`."""

    def __init__(self, status: HTTPStatus) -> None:
        self.status = status
        super().__init__(status.phrase)


@dataclass(frozen=True, slots=True)
class Request:
    """`names` are the decoded parts of the path, the last one empty when it ends with a slash. Header names are in
    lower case."""

    method: str
    names: tuple[str, ...]
    headers: Mapping[str, str]
    keep_alive: bool


@dataclass(frozen=True, slots=True)
class Response:
    """A small response, whole in memory."""

    status: HTTPStatus
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request, or None at the end of the connection or when none comes in time. BadRequest."""
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _HEAD_SECONDS)
    except asyncio.LimitOverrunError:
        raise BadRequest(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE) from None
    except (asyncio.IncompleteReadError, TimeoutError, ConnectionError):
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    words = first.split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.0", "HTTP/1.1"):
        raise BadRequest(HTTPStatus.BAD_REQUEST)
    method, target, version = words
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequest(HTTPStatus.BAD_REQUEST)
        headers[name.lower()] = value.strip()
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        raise BadRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    wants = headers.get("connection", "").lower()
    keep = wants != "close" and (version == "HTTP/1.1" or wants == "keep-alive")
    return Request(method, _names(target), headers, keep)


def _names(target: str) -> tuple[str, ...]:
    path = target.partition("?")[0].partition("#")[0]
    if not path.startswith("/"):
        raise BadRequest(HTTPStatus.BAD_REQUEST)
    try:
        return tuple(unquote_to_bytes(part).decode() for part in path[1:].split("/"))
    except UnicodeDecodeError:
        raise BadRequest(HTTPStatus.BAD_REQUEST) from None


def head(status: HTTPStatus, headers: Mapping[str, str], length: int, keep_alive: bool) -> bytes:
    """A response's head."""
    lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
    every = {
        "Date": formatdate(usegmt=True),
        "Server": "streamsd",
        "Content-Length": str(length),
        "Connection": "keep-alive" if keep_alive else "close",
        "X-Content-Type-Options": "nosniff",
        **headers,
    }
    lines += [f"{name}: {value}" for name, value in every.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
