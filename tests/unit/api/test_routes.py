"""The API over a real socket, with a stand-in for the daemon behind it."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from streamsd.api.app import create_app
from streamsd.api.peer import Peer
from streamsd.api.server import Server, serve
from streamsd.core.service import Refused
from streamsd.core.settings import Settings
from streamsd.core.unix_socket import answers
from tests.unit.api.fake_service import FakeService


@pytest.fixture
async def client(server: Server, service: FakeService) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.AsyncHTTPTransport(uds=_short(service.settings.api_socket))
    async with httpx.AsyncClient(transport=transport, base_url="http://streamsd", timeout=60) as client:
        yield client


def _short(path: Path) -> str:
    return os.path.relpath(path) if len(str(path)) > 100 else str(path)


async def test_every_state_route_answers_what_the_service_says(client: httpx.AsyncClient, service: FakeService) -> None:
    assert (await client.get("/v1/health")).json()["pid"] == os.getpid()
    assert (await client.get("/v1/status")).json() == service.statuses[0]
    assert (await client.get("/v1/plan")).json()["changes"] == 0
    assert (await client.get("/v1/graph")).json()["edges"] == [["Stream/desktop", "Display/desk"]]
    assert (await client.get("/v1/export")).json()[0]["name"] == "desk"
    assert (await client.get("/v1/resources/Display/desk")).json()["address"] == "Display/desk"


async def test_every_change_route_reaches_the_service(client: httpx.AsyncClient, service: FakeService) -> None:
    assert (await client.post("/v1/apply", json={"rollback_on_failure": True})).json()["generation"] == 3
    await client.post("/v1/apply")
    await client.post("/v1/resources/Stream/desktop/restart", params={"role": "encoder"})
    await client.post("/v1/destroy", json={"addresses": ["Stream/desktop"]})
    operations = "/v1/resources/Obs/studio/operations"
    assert (await client.post(f"{operations}/switch", json={"scene": "live"})).json() == {"scene": "live"}
    await client.post("/v1/down")
    assert service.asked == [
        ("apply", {"rollback_on_failure": True}),
        ("apply", {}),
        ("restart", "Stream/desktop", "encoder"),
        ("destroy", ["Stream/desktop"]),
        ("operate", "Obs/studio", "switch", {"scene": "live"}),
        ("down",),
    ]


async def test_every_error_is_an_error_answer(client: httpx.AsyncClient, service: FakeService) -> None:
    async def error(method: str, path: str, body: Any = None) -> tuple[int, str]:
        answer = await client.request(method, path, json=body)
        assert answer.json()["message"]
        return answer.status_code, answer.json()["error"]

    assert await error("GET", "/v1/nothing") == (404, "not-found")
    assert await error("DELETE", "/v1/status") == (405, "bad-request")
    assert await error("GET", "/v1/resources/stream/desktop") == (400, "bad-request")
    assert await error("POST", "/v1/destroy", {"addresses": ["desktop"]}) == (400, "bad-address")
    assert await error("POST", "/v1/apply", {"rollback_on_failure": "perhaps"}) == (400, "bad-request")
    service.refuses = Refused(409, {"error": "conflict", "message": "ann applies", "hint": "wait"})
    assert await error("POST", "/v1/apply") == (409, "conflict")


async def test_openapi_describes_the_answers(client: httpx.AsyncClient) -> None:
    document = (await client.get("/v1/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert {"StatusAnswer", "PlanAnswer", "ApplyBody", "ErrorAnswer"} <= set(document["components"]["schemas"])


async def test_events_carry_their_number_and_end_when_not_following(
    client: httpx.AsyncClient, service: FakeService
) -> None:
    service.past = [(n, {"event": "ready", "address": f"App/a{n}"}) for n in (1, 2, 3)]
    lines = (await client.get("/v1/events", params={"since": 1})).text.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [2, 3]
    lines = (await client.get("/v1/events", params={"address": "App/a3"})).text.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [3]


async def test_a_followed_stream_ends_with_its_client(client: httpx.AsyncClient, service: FakeService) -> None:
    async with client.stream("GET", "/v1/events", params={"follow": "1"}) as answer:
        service.coming.put_nowait((7, {"event": "ready"}))
        first = await anext(answer.aiter_lines())
        assert json.loads(first) == {"seq": 7, "event": "ready"}
        assert service.followers == 1
    await asyncio.wait_for(service.nobody_follows.wait(), 30)


async def test_a_followed_stream_ends_with_the_server(
    client: httpx.AsyncClient, service: FakeService, server: Server
) -> None:
    async with client.stream("GET", "/v1/events", params={"follow": "1"}) as answer:
        service.coming.put_nowait((7, {"event": "ready"}))
        lines = answer.aiter_lines()
        await anext(lines)
        await server.stop()
        assert [line async for line in lines] == []
    assert service.followers == 0
    assert not service.settings.api_socket.exists()


async def test_logs_are_read_and_followed_over_a_rotation(
    client: httpx.AsyncClient, service: FakeService, tmp_path: Path
) -> None:
    log = tmp_path / "Stream.desktop.encoder.log"
    log.write_text("one\ntwo\nthree\n")
    service.logs = [("encoder", log), ("relay", tmp_path / "not-yet.log")]
    lines = (await client.get("/v1/logs/Stream/desktop", params={"lines": 2})).text.splitlines()
    assert [json.loads(line) for line in lines] == [
        {"role": "encoder", "line": "two"},
        {"role": "encoder", "line": "three"},
    ]
    async with client.stream("GET", "/v1/logs/Stream/desktop", params={"lines": 1, "follow": "1"}) as answer:
        found = answer.aiter_lines()
        assert json.loads(await anext(found))["line"] == "three"
        with log.open("a") as out:
            out.write("four\n")
        assert json.loads(await anext(found))["line"] == "four"
        log.rename(tmp_path / "Stream.desktop.encoder.log.1")
        log.write_text("five\n")
        assert json.loads(await anext(found))["line"] == "five"
        (tmp_path / "not-yet.log").write_text("six\n")
        assert json.loads(await anext(found)) == {"role": "relay", "line": "six"}


def test_another_user_and_a_nameless_one_are_refused(service: FakeService) -> None:
    async def ask(state: dict[str, object]) -> int:
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "GET",
            "path": "/v1/status",
            "raw_path": b"/v1/status",
            "query_string": b"",
            "headers": [],
            "state": state,
        }
        await create_app(service, asyncio.Event())(scope, receive, send)
        return int(sent[0]["status"])

    me = os.geteuid()
    assert asyncio.run(ask({"peer": Peer(1, me, 0)})) == 200
    assert asyncio.run(ask({"peer": Peer(1, 0, 0)})) == 200
    assert asyncio.run(ask({"peer": Peer(1, me + 65534, 0)})) == 403
    assert asyncio.run(ask({})) == 403


async def test_the_socket_is_private_and_taken_once(server: Server, service: FakeService) -> None:
    assert stat.S_IMODE(service.settings.api_socket.stat().st_mode) == 0o600
    with pytest.raises(OSError, match="already listens"):
        await serve(service, service.settings)


async def test_a_socket_nobody_serves_is_replaced_and_long_paths_work(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / "run"
    service = FakeService(Settings.resolve(run_dir=str(deep)))
    deep.mkdir(parents=True)
    service.settings.api_socket.touch()
    server = await serve(service, service.settings)

    assert await asyncio.to_thread(answers, service.settings.api_socket)
    await server.stop()
