"""Sources and sinks that need no broker, each against a real client or server."""

from __future__ import annotations

import http.client
import json
import socket
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from typing import Any

import pytest
import websocket

from tests.e2e.flow.processes import free_port, until

FAST = {"epoch": "100ms"}


def rows(one: Any, count: int, name: str = "out.ndjson") -> list[dict[str, Any]]:
    until(lambda: len(one.lines(name)) >= count, f"{count} results\n{one.log()}")
    return one.lines(name)


def connect(port: int) -> socket.socket:
    def attempt() -> socket.socket | None:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=10)
        except OSError:
            return None

    found = until(attempt, "a port that listens")
    assert isinstance(found, socket.socket)
    return found


def test_tcp_lines_whole_cut_and_without_an_end(flow):
    port = free_port()
    one = flow(
        {
            "source": {"tcp": {"listen": f"127.0.0.1:{port}", "max_connections": 2}, "max_message": 2000},
            "steps": [{"set": {"from": "coalesce(meta('peer'), '?')"}}],
            "sink": {"file": {"path": "out.ndjson"}},
            "recovery": FAST,
        }
    ).start()
    first, second = connect(port), connect(port)
    first.sendall(b'{"i": 1}\r\n{"i"')
    second.sendall(b'{"i": 2}\n\n' + b"x" * 50_000 + b'\n{"i": 4}')
    first.sendall(b": 3}\n")
    second.close()
    found = rows(one, 4)
    assert sorted(row["i"] for row in found) == [1, 2, 3, 4]
    assert all(row["from"].startswith("127.0.0.1:") for row in found)
    assert [letter["reason"] for letter in one.lines("state/dead.ndjson")] == ["too-long"]
    third, fourth = connect(port), connect(port)
    assert fourth.recv(1) == b"", "one too many is closed"
    one.until(lambda seen: seen["sources"]["in"]["refused"] >= 1, "a refusal that is counted")
    for client in (first, third, fourth):
        client.close()


def test_a_source_that_is_faster_than_the_flow_is_held_back_and_loses_nothing(flow):
    port = free_port()
    one = flow(
        {
            "source": {"tcp": {"listen": f"127.0.0.1:{port}"}, "limit": {"messages": 40_000}},
            "sink": {"file": {"path": "out.ndjson"}},
            "recovery": FAST,
        }
    ).start()
    count = 200_000
    with connect(port) as client:
        client.settimeout(60)
        block = b"".join(b'{"i":%d,"pad":"%s"}\n' % (i, b"x" * 150) for i in range(count))
        client.sendall(block)
    one.until(lambda seen: seen["sources"]["in"]["messages"] == count, "all messages")
    observed = one.observed()
    assert observed["sources"]["in"]["waiting"] == 0
    assert one.stop() == 0
    assert [row["i"] for row in one.lines("out.ndjson")] == list(range(count))


def test_udp_datagrams(flow):
    port = free_port()
    one = (
        flow(
            {
                "source": {"udp": {"listen": f"127.0.0.1:{port}"}},
                "sink": {"file": {"path": "out.ndjson"}},
                "recovery": FAST,
            }
        )
        .start()
        .ready()
    )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:

        def arrived() -> bool:
            sender.sendto(b'{"i": 1}\n{"i": 2}\n', ("127.0.0.1", port))
            return len(one.lines("out.ndjson")) >= 4

        until(arrived, "datagrams in the file")
    assert {row["i"] for row in one.lines("out.ndjson")} == {1, 2}


def post(port: int, body: bytes, path: str = "/in", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def test_http_push_is_answered_when_its_messages_are_stored(flow):
    port = free_port()
    spec = {
        "source": {"http": {"listen": f"127.0.0.1:{port}", "path": "/in", "token": "hush", "max_body": "1M"}},
        "sink": {"file": {"path": "out.ndjson"}},
        "recovery": FAST,
    }
    one = flow(spec).start()
    connect(port).close()
    key = {"Authorization": "Bearer hush"}
    lines = {**key, "Content-Type": "application/x-ndjson"}
    assert post(port, b"{}")[0] == 401
    assert post(port, b"{}", "/elsewhere", **key)[0] == 404
    assert post(port, b"x" * 1_100_000, **key)[0] == 413
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: post(port, b'{"i": %d}' % n, **key), range(40)))
    assert {answer[0] for answer in answers} == {200}
    status, body = post(port, b'{"i": 100}\n\n{"i": 101}\n', **lines)
    assert (status, json.loads(body)) == (200, {"accepted": 2})
    # What was answered outlives the process.
    one.kill()
    assert sorted(row["i"] for row in one.lines("out.ndjson")) == [*range(40), 100, 101]
    one.start()
    connect(port).close()
    assert post(port, b'{"i": 102}', **key)[0] == 200
    assert sorted(row["i"] for row in one.lines("out.ndjson"))[-3:] == [100, 101, 102]


class Hook(BaseHTTPRequestHandler):
    """Refuses the first three requests, and keeps the others."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        server: Any = self.server
        with server.lock:
            server.calls += 1
            refuse = server.calls <= 3
            if not refuse:
                server.kept.append((dict(self.headers), body))
        self.send_response(503 if refuse else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def hook():
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.lock, server.calls, server.kept = threading.Lock(), 0, []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_webhook_is_called_until_it_takes_the_batch(flow, hook):
    one = flow(
        {
            "source": {"generator": {"fields": {"i": "n"}, "count": 1200}},
            "schema": {"i": "int"},
            "sink": {"http": {"url": f"http://127.0.0.1:{hook.server_port}/hook", "batch": 500, "sign": "key"}},
            "recovery": FAST,
        }
    ).start()
    observed = one.complete()
    bodies = [body for _, body in hook.kept]
    assert [json.loads(line)["i"] for body in bodies for line in body.splitlines()] == list(range(1200))
    assert observed["sinks"]["out"]["repeated"] == 3
    headers = {name.lower(): value for name, value in hook.kept[0][0].items()}
    assert headers["x-signature-256"].startswith("sha256=")
    assert headers["content-type"] == "application/x-ndjson"


def test_a_sink_that_is_away_is_named_and_holds_the_flow_until_it_is_back(flow):
    port = free_port()
    one = flow(
        {
            "source": {"generator": {"fields": {"i": "n"}, "count": 3000}},
            "sink": {"tcp": {"host": "127.0.0.1", "port": port}},
            "recovery": FAST,
        }
    ).start()
    until(lambda: (found := one.report()) and found.reason == "SinkUnreachable", "a report that names it")
    assert f"127.0.0.1:{port}" in one.report().message
    before = one.report().beat
    until(lambda: one.report().beat > before, "a beat while it waits")
    with socket.create_server(("127.0.0.1", port)) as server:
        server.settimeout(60)
        client, _ = server.accept()
        client.settimeout(60)
        with client, client.makefile("rb") as lines:
            assert [json.loads(next(lines))["i"] for _ in range(3000)] == list(range(3000))
    one.complete()
    assert not one.report().degraded


def test_websocket_in_and_out_and_events_out(flow):
    into, out, events = free_port(), free_port(), free_port()
    one = flow(
        {
            "source": {"websocket": {"listen": f"127.0.0.1:{into}", "path": "/in", "token": "hush"}},
            "sinks": {
                "all": {"websocket": {"listen": f"127.0.0.1:{out}", "path": "/out", "backlog": 5}},
                "web": {"sse": {"listen": f"127.0.0.1:{events}", "path": "/events", "token": "see"}},
            },
            "recovery": FAST,
        }
    ).start()
    for port in (into, out, events):
        connect(port).close()
    with pytest.raises(websocket.WebSocketBadStatusException):
        websocket.create_connection(f"ws://127.0.0.1:{into}/in", timeout=30)
    reader = websocket.create_connection(f"ws://127.0.0.1:{out}/out", timeout=30)
    page = http.client.HTTPConnection("127.0.0.1", events, timeout=30)
    page.request("GET", "/events")
    assert page.getresponse().status == 401
    for port in (out, events):
        with connect(port) as client:
            client.sendall(
                b"GET //[ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            assert client.recv(64).startswith(b"HTTP/1.1 404 "), "no address at all"
    page = http.client.HTTPConnection("127.0.0.1", events, timeout=30)
    page.request("GET", "/events?token=see")
    stream = page.getresponse()
    assert stream.getheader("content-type") == "text/event-stream"
    one.until(lambda seen: seen["sinks"]["all"]["readers"] == 1 and seen["sinks"]["web"]["readers"] == 1, "two readers")
    writer = websocket.create_connection(f"ws://127.0.0.1:{into}/in", timeout=30, header=["Authorization: Bearer hush"])
    for i in range(300):
        writer.send(json.dumps({"i": i}))
    assert [json.loads(reader.recv())["i"] for _ in range(300)] == list(range(300))
    events_seen = (line for line in iter(stream.readline, b"") if line.startswith(b"data: "))
    data = [json.loads(line[6:])["i"] for line in islice(events_seen, 300)]
    assert data == list(range(300))
    late = websocket.create_connection(f"ws://127.0.0.1:{out}/out", timeout=30)
    assert [json.loads(late.recv())["i"] for _ in range(5)] == list(range(295, 300)), "the newest for who comes late"
    for client in (reader, writer, late):
        client.close()
    page.close()


def test_one_flow_feeds_another_over_websocket_and_events(flow):
    port, events = free_port(), free_port()
    maker = flow(
        {
            "source": {"generator": {"fields": {"i": "n"}, "rate": 200}},
            "sinks": {
                "ws": {"websocket": {"listen": f"127.0.0.1:{port}"}},
                "sse": {"sse": {"listen": f"127.0.0.1:{events}"}},
            },
        },
        "maker",
    ).start()
    taker = flow(
        {
            "sources": {
                "ws": {"websocket": {"url": f"ws://127.0.0.1:{port}/"}, "schema": {"i": "int"}},
                "sse": {"sse": {"url": f"http://127.0.0.1:{events}/"}, "schema": {"i": "int"}},
            },
            "sinks": {"out": {"file": {"path": "out.ndjson"}}},
            "recovery": FAST,
        },
        "taker",
    ).start()
    taker.until(lambda seen: all(seen["sources"][name]["messages"] > 50 for name in ("ws", "sse")), "messages of both")
    maker.kill()
    until(lambda: (found := taker.report()) and found.reason == "SourceUnreachable", "a report that names the source")
    seen = {name: taker.observed()["sources"][name]["messages"] for name in ("ws", "sse")}
    maker.start()
    taker.until(lambda now: all(now["sources"][name]["messages"] > seen[name] + 50 for name in seen), "messages again")
    until(lambda: not taker.report().degraded, "a report without fault")


def test_sqlite_rows_are_there_once_whatever_happens(flow, tmp_path):
    (tmp_path / "flow").mkdir()
    (tmp_path / "flow/in.ndjson").write_text(
        "".join(json.dumps({"i": i, "k": f"k{i % 7}", "tags": [i]}) + "\n" for i in range(12_000))
    )
    one = flow(
        {
            "source": {"file": {"path": "in.ndjson"}, "limit": {"messages": 6000}},
            "schema": {"i": "int", "k": "str", "tags": "list[int]"},
            "sinks": {
                "rows": {"sqlite": {"path": "out.db", "table": "rows"}, "delivery": "exactly_once"},
                "newest": {"sqlite": {"path": "out.db", "table": "newest", "key": ["k"]}},
            },
            "recovery": {"epoch": "200ms"},
        }
    )
    for goal in (2000, 3000):
        one.start()
        one.until(
            lambda seen, goal=goal: (
                seen.get("complete") or seen.get("sources", {}).get("in", {}).get("messages", 0) > goal
            ),
            "progress",
        )
        one.kill()
    one.start()
    one.complete()
    assert one.stop() == 0
    database = sqlite3.connect(tmp_path / "flow/out.db")
    assert database.execute("select i from rows order by streamsd_seq").fetchall() == [(i,) for i in range(12_000)]
    assert database.execute("select tags from rows where i = 5").fetchone() == ("[5]",)
    newest = dict(database.execute("select k, i from newest"))
    assert newest == {f"k{k}": max(i for i in range(12_000) if i % 7 == k) for k in range(7)}
    database.close()


def test_a_websocket_server_gets_results_again_after_it_was_away(flow):
    port = free_port()
    taker = flow(
        {
            "source": {"websocket": {"listen": f"127.0.0.1:{port}", "path": "/in", "token": "t0k3n"}},
            "sink": {"file": {"path": "out.ndjson"}},
            "recovery": FAST,
        },
        "taker",
    )
    maker = flow(
        {
            "source": {"generator": {"fields": {"i": "n"}, "rate": 200}},
            "sink": {"websocket": {"url": f"ws://127.0.0.1:{port}/in", "token": "t0k3n"}},
            "recovery": FAST,
        },
        "maker",
    ).start()
    until(lambda: (found := maker.report()) and found.reason == "SinkUnreachable", "a report that names the sink")
    taker.start()
    first = rows(taker, 50)
    assert [row["i"] for row in first] == list(range(len(first))), "the flow waited: nothing was lost before"
    taker.kill()
    taker.start()
    seen = len(taker.lines("out.ndjson"))
    until(lambda: len(taker.lines("out.ndjson")) > seen + 50, "results again")
    assert maker.stop() == 0
