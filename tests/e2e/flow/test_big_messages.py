"""Messages of almost a megabyte, and somebody who takes none of them: a flow holds a few, and loses none."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.flow import brokers
from tests.e2e.flow.processes import Flow, free_port, until
from tests.e2e.flow.valve import Valve
from tests.programs_needed import need_module

FAST = {"epoch": "150ms"}
COUNT = 500
PAD = 900_000
MOST = 320 * 1024 * 1024
"""Bytes that a flow may come to: some 100 MB are its libraries'. The messages are 450 MB."""


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file of big messages."""
    path = tmp_path_factory.mktemp("big") / "in.ndjson"
    with path.open("w") as out:
        for i in range(COUNT):
            out.write(json.dumps({"i": i, "pad": "x" * PAD}) + "\n")
    yield path
    path.unlink()


def peak(one: Flow) -> int:
    """The most memory that it had, in bytes."""
    assert one.process is not None
    status = Path(f"/proc/{one.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]) * 1024


def still(figure: Callable[[], Any], what: str) -> Any:
    """Wait until a figure does not move any more, and return it."""
    seen: list[Any] = []

    def stands() -> bool:
        seen.append(figure())
        time.sleep(0.3)
        return len(seen) > 6 and bool(seen[-1]) and len(set(map(str, seen[-6:]))) == 1

    until(stands, what)
    return seen[-1]


def taken_in(one: Flow) -> int:
    return int(one.observed().get("sources", {}).get("in", {}).get("messages", 0))


def held_up(one: Flow) -> None:
    """Wait until the flow takes nothing in any more: it has not taken in everything, and is not large."""
    count = still(lambda: taken_in(one), "a flow that is held up")
    assert peak(one) < MOST, f"{peak(one) >> 20} MB, {count} messages taken in"
    assert count < COUNT


def out_of(big: Path, sink: dict[str, Any]) -> dict[str, Any]:
    """A flow from the file into a sink."""
    return {"source": {"file": {"path": str(big)}}, "sink": sink, "recovery": FAST}


def out_of_late(big: Path, sink: dict[str, Any]) -> dict[str, Any]:
    """The same for a file that is not there yet. Before it comes a small message: that has the sink connect."""
    big.with_name("late").unlink(missing_ok=True)
    spec = out_of(big.with_name("late"), sink)
    small = {"generator": {"fields": {"i": "-1", "pad": "''"}, "count": 1}}
    return {"sources": {"in": spec.pop("source"), "small": small}, **spec}


# --- sinks


class Stalling(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        server.go.wait(120)
        body = self.rfile.read(int(self.headers["content-length"]))
        server.seen += [json.loads(line)["i"] for line in body.splitlines()]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


def test_a_webhook_that_does_not_answer(flow, big):
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Stalling)
    server.go, server.seen = threading.Event(), []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        sink = {"http": {"url": f"http://127.0.0.1:{server.server_port}/", "batch": 500, "timeout": "2m"}}
        one = flow(out_of(big, sink)).start()
        held_up(one)
        server.go.set()
        one.complete()
        assert server.seen == list(range(COUNT))
        assert peak(one) < MOST
    finally:
        server.go.set()
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_grpc_server_that_reads_nothing(flow, big):
    need_module("grpc")
    import grpc

    from streamsd.programs.flow import grpc_frames

    go, seen = threading.Event(), []

    def publish(batches: Iterator[tuple[int, list[bytes]]], context: Any) -> Iterator[int]:
        go.wait(120)
        for id, messages in batches:
            seen.extend(json.loads(message)["i"] for message in messages)
            yield id

    handler = grpc.stream_stream_rpc_method_handler(publish, grpc_frames.read_batch, grpc_frames.ack)
    server = grpc.server(ThreadPoolExecutor(2))
    methods = {grpc_frames.PUBLISH: handler}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(grpc_frames.SERVICE, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        one = flow(out_of(big, {"grpc": {"target": f"127.0.0.1:{port}"}})).start()
        held_up(one)
        assert 0 < one.observed()["sinks"]["out"]["unconfirmed_bytes"] <= 16 * 1024 * 1024
        go.set()
        one.complete()
        assert seen == list(range(COUNT))
        assert peak(one) < MOST
    finally:
        go.set()
        server.stop(0).wait()


def test_a_tcp_server_that_reads_nothing_and_then_slowly(flow, tmp_path):
    """What it is sent at once takes it fifteen seconds."""
    count = 30_000
    lines = [json.dumps({"i": i, "pad": "x" * 1000}) for i in range(count)]
    (tmp_path / "in.ndjson").write_text("\n".join(lines) + "\n")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        spec = out_of(tmp_path / "in.ndjson", {"tcp": {"host": "127.0.0.1", "port": server.getsockname()[1]}})
        spec["steps"] = [{"batch": {"count": count}}]
        one = flow(spec).start()
        client, _ = server.accept()
        with client:
            until(lambda: "takes nothing" in (((found := one.report()) and found.message) or ""), "a report of it")
            got = 0
            begin = time.monotonic()
            while got < count * 1000:
                data = client.recv(1 << 20)
                assert data, "the connection is kept"
                got += len(data)
                # Two megabytes a second.
                time.sleep(max(0.0, begin + got / 2e6 - time.monotonic()))
            one.complete()
            server.settimeout(0.2)
            with pytest.raises(TimeoutError):
                server.accept()


def test_a_websocket_server_that_reads_nothing(flow, big):
    port = free_port()
    taker = flow(
        {
            "source": {"websocket": {"listen": f"127.0.0.1:{port}"}},
            "steps": [{"map": {"i": "i"}}],
            "sink": {"file": {"path": "out.ndjson"}},
            "recovery": FAST,
        },
        "taker",
    ).start()
    taker.ready()
    valve = Valve(port)
    try:
        one = flow(out_of_late(big, {"websocket": {"url": f"ws://127.0.0.1:{valve.port}/"}})).start()
        until(lambda: numbers(taker) == [-1], "the first message")
        valve.shut()
        appear(big, one)
        held_up(one)
        valve.open()
        until(lambda: len(numbers(taker)) == COUNT + 1, "every message")
        assert numbers(taker) == list(range(-1, COUNT))
        assert max(peak(one), peak(taker)) < MOST
    finally:
        valve.close()


def appear(big: Path, one: Flow) -> None:
    """The file that the flow waits for."""
    Path(one.spec.all_sources["in"].file.path).hardlink_to(big)


@pytest.mark.parametrize("kind", ["websocket", "sse", "grpc"])
def test_readers_who_read_nothing(flow, big, kind):
    port = free_port()
    big.with_name("late").unlink(missing_ok=True)
    spec = out_of(big.with_name("late"), {kind: {"listen": f"127.0.0.1:{port}"}})
    spec["source"]["file"]["follow"] = True
    one = flow(spec).start()
    one.ready()
    early = [reader_of(kind, port) for _ in range(10)]
    appear(big, one)
    one.until(lambda seen: seen["sinks"]["out"]["results"] == COUNT, "all results")
    late = [reader_of(kind, port) for _ in range(30)]
    one.until(lambda seen: seen["sinks"]["out"]["readers"] == 40, "all readers")
    assert one.observed()["sinks"]["out"]["lost"] > COUNT
    assert peak(one) < MOST, f"{peak(one) >> 20} MB"
    for end in (*early, *late):
        end()


def reader_of(kind: str, port: int) -> Callable[[], None]:
    """Somebody who is connected and reads nothing. Returns what ends it."""
    if kind == "grpc":
        need_module("grpc")
        import grpc

        from streamsd.programs.flow import grpc_frames

        channel = grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)])
        call = channel.unary_stream(f"/{grpc_frames.SERVICE}/{grpc_frames.SUBSCRIBE}")(b"", wait_for_ready=True)
        call.initial_metadata()

        def end() -> None:
            call.cancel()
            channel.close()

        return end
    made = until(lambda: _connected(port), "a port that listens")
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    if kind == "websocket":
        more = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        more += b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    else:
        more = b"Accept: text/event-stream\r\n"
    made.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n" + more + b"\r\n")
    return made.close


def _connected(port: int) -> socket.socket | None:
    try:
        return socket.create_connection(("127.0.0.1", port), timeout=10)
    except OSError:
        return None


# --- brokers, both ways: what they hold is taken by a flow whose own sink is held up


def numbers(one: Flow) -> list[int]:
    return [row["i"] for row in one.lines("out.ndjson")]


def through_a_broker(
    flow: Callable[..., Flow], big: Path, port: int, sink: Callable[[int], Any], source: Callable[[int], Any]
) -> None:
    """A flow publishes to a broker that takes nothing for a while; another one takes it out for somebody who takes
    nothing for a while."""
    valve = Valve(port)
    hook: Any = ThreadingHTTPServer(("127.0.0.1", 0), Stalling)
    hook.go, hook.seen = threading.Event(), []
    thread = threading.Thread(target=hook.serve_forever, daemon=True)
    thread.start()
    try:
        url = f"http://127.0.0.1:{hook.server_port}/"
        spec = {"source": source(port), "sink": {"http": {"url": url, "timeout": "2m"}}, "recovery": FAST}
        taker = flow(spec, "taker").start()
        taker.until(lambda seen: seen["sources"]["in"]["connected"], "a connection")
        maker = flow(out_of_late(big, sink(valve.port)), "maker").start()
        maker.until(lambda seen: seen["sinks"]["out"]["results"] == 1 and taken_in(taker) == 1, "the first message")
        valve.shut()
        appear(big, maker)
        held_up(maker)
        valve.open()
        until(lambda: taken_in(maker) == COUNT, "every message is on its way", within=120)
        maker.complete()
        assert peak(maker) < MOST, f"{peak(maker) >> 20} MB"
        held_up(taker)
        hook.go.set()
        until(lambda: set(hook.seen) == set(range(-1, COUNT)), f"every message\n{taker.log()}", within=120)
        assert peak(taker) < MOST, f"{peak(taker) >> 20} MB"
    finally:
        hook.go.set()
        valve.close()
        hook.shutdown()
        hook.server_close()
        thread.join()


@pytest.mark.slow
def test_mqtt(flow, big, tmp_path):
    need_module("paho.mqtt")
    with brokers.mosquitto(tmp_path) as broker:
        through_a_broker(
            flow,
            big,
            broker.port,
            lambda port: {"mqtt": {"port": port, "topic": "big"}},
            lambda port: {"mqtt": {"port": port, "topics": ["big"], "qos": 1}},
        )


@pytest.mark.slow
def test_jetstream(flow, big, tmp_path):
    need_module("nats")
    import nats

    with brokers.nats_server(tmp_path) as broker:

        async def make() -> None:
            client = await nats.connect(f"nats://127.0.0.1:{broker.port}")
            await client.jetstream().add_stream(name="big", subjects=["big"])
            await client.close()

        asyncio.run(make())
        through_a_broker(
            flow,
            big,
            broker.port,
            lambda port: {"nats": {"servers": [f"nats://127.0.0.1:{port}"], "subject": "big", "stream": True}},
            lambda port: {"nats": {"servers": [f"nats://127.0.0.1:{port}"], "subject": "big", "stream": "big"}},
        )


@pytest.mark.slow
def test_rabbitmq(flow, big, tmp_path):
    need_module("pika")
    with brokers.rabbitmq(tmp_path) as broker:
        through_a_broker(
            flow,
            big,
            broker.port,
            lambda port: {"amqp": {"port": port, "routing_key": "big"}},
            lambda port: {"amqp": {"port": port, "queue": "big"}},
        )


# --- sources


def test_requests_that_are_never_finished(flow):
    port = free_port()
    one = flow(
        {
            "source": {"http": {"listen": f"127.0.0.1:{port}"}},
            "sink": {"file": {"path": "out.ndjson"}},
            "recovery": FAST,
        }
    ).start()
    one.ready()
    part, whole = b"x" * 8_000_000, 16_000_000
    senders = [until(lambda: _connected(port), "a port that listens") for _ in range(60)]

    def send(sender: socket.socket) -> None:
        sender.settimeout(3)
        sender.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % whole)
        with contextlib.suppress(TimeoutError):  # it is not read: that is the point
            sender.sendall(part)

    with ThreadPoolExecutor(60) as pool:
        list(pool.map(send, senders))
    one.until(lambda seen: seen["sources"]["in"]["connections"] == 60, "all connections")
    assert peak(one) < MOST, f"{peak(one) >> 20} MB"
    small = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    small.request("POST", "/", b'{"i": 1}')
    assert small.getresponse().status == 200
    for sender in senders:
        sender.close()
    large = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    large.request("POST", "/", json.dumps({"i": 2, "pad": "x" * 500_000}))
    assert large.getresponse().status == 200
    assert numbers(one) == [1, 2]
