"""Clients that err, and clients that mean no good: bodies, parameters, and connections without end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from streamsd.api import bodies, peer
from streamsd.api.server import Server
from streamsd.core.unix_socket import within_reach
from tests.unit.api.fake_service import FakeService

HEAD = "HTTP/1.1\r\nHost: streamsd\r\n"


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """Status and body of an answer that tells its length."""
        async with asyncio.timeout(20):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].split("\r\n")[0])
            return int(head.split()[1]), json.loads(await self.reader.readexactly(length))

    async def ended(self) -> bool:
        """Wait until the other end closes; whether it had said nothing."""
        async with asyncio.timeout(20):
            try:
                return await self.reader.read() == b""
            except ConnectionResetError:
                return True

    def close(self) -> None:
        self._writer.close()


@pytest.fixture
async def clients(server: Server, service: FakeService) -> AsyncIterator[Any]:
    made: list[Client] = []

    async def connect() -> Client:
        with within_reach(service.settings.api_socket) as near:
            made.append(Client(*await asyncio.open_unix_connection(near)))
        return made[-1]

    yield connect
    for client in made:
        client.close()


async def asked(connect: Any, line: str, body: object = None) -> tuple[int, dict[str, Any]]:
    client = await connect()
    content = b"" if body is None else json.dumps(body).encode()
    said = f"content-type: application/json\r\ncontent-length: {len(content)}\r\n" if content else ""
    client.send(f"{line} {HEAD}{said}\r\n".encode() + content)
    found: tuple[int, dict[str, Any]] = await client.answer()
    return found


@pytest.mark.parametrize(
    ("line", "body", "words"),
    [
        ("POST /v1/apply", {"allow_interupt": True}, "body.allow_interupt: Extra inputs are not permitted"),
        ("POST /v1/destroy", {"addresses": [], "force": True}, "body.force: Extra inputs are not permitted"),
        ("POST /v1/resources/Stream/desktop/restart?rol=encoder", None, "there is no parameter 'rol' here"),
        ("POST /v1/down?really=no", None, "there is no parameter 'really' here"),
        ("GET /v1/events?since=9223372036854775808", None, "query.since: "),
    ],
)
async def test_a_slip_is_refused_and_never_passed_over(
    clients: Any, service: FakeService, line: str, body: object, words: str
) -> None:
    status, answer = await asked(clients, line, body)
    assert (status, answer["error"]) == (400, "bad-request")
    assert answer["message"].startswith(words)
    assert service.asked == []


async def test_a_body_that_is_too_large_is_not_read(clients: Any, service: FakeService) -> None:
    told = await clients()
    told.send(f"POST /v1/apply {HEAD}content-type: application/json\r\ncontent-length: 9999999999\r\n\r\n".encode())
    status, answer = await told.answer()
    assert (status, answer["message"]) == (413, f"the body has more than {bodies.MOST} bytes")
    untold = await clients()
    untold.send(f"POST /v1/apply {HEAD}content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n".encode())
    for _ in range(bodies.MOST // 0x100000 + 1):
        untold.send(b"100000\r\n" + b" " * 0x100000 + b"\r\n")
    assert (await untold.answer())[0] == 413
    assert service.asked == []


async def test_a_body_that_stops_coming_is_not_waited_for(
    clients: Any, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "_WITHIN", 0.05)
    client = await clients()
    client.send(f'POST /v1/apply {HEAD}content-type: application/json\r\ncontent-length: 20\r\n\r\n{{"holder'.encode())
    status, answer = await client.answer()
    assert (status, answer["message"]) == (408, "POST /v1/apply: no more of the body came within 0.05 s")
    assert service.asked == []


async def test_a_silent_connection_is_closed_and_a_follower_is_not(
    clients: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "_SILENT", 0.05)
    silent, half, follower = await clients(), await clients(), await clients()
    half.send(b"GET /v1/status HTTP/1.1\r\nHost: st")
    follower.send(f"GET /v1/events?follow=true {HEAD}\r\n".encode())
    assert b"200 OK" in await follower.reader.readline()
    assert await silent.ended()
    assert await half.ended()
    assert not follower.reader.at_eof()


async def test_one_connection_too_many_takes_a_silent_ones_place(clients: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "_MOST", 3)
    silent = [await clients() for _ in range(3)]
    assert (await asked(clients, "GET /v1/health"))[0] == 200
    assert await silent[0].ended()


async def test_one_connection_too_many_is_told_so(clients: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer, "_MOST", 3)
    followers = [await clients() for _ in range(3)]
    for follower in followers:
        follower.send(f"GET /v1/events?follow=true {HEAD}\r\n".encode())
        assert b"200 OK" in await follower.reader.readline()
    status, answer = await asked(clients, "GET /v1/status")
    assert (status, answer["error"]) == (503, "too-many-connections")
    followers[0].close()
    async with asyncio.timeout(20):
        while (await asked(clients, "GET /v1/health"))[0] != 200:  # the server sees it go
            await asyncio.sleep(0.01)
