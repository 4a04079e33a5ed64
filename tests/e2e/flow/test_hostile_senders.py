"""Senders that lie, never end, never read, or say one word and go: each costs itself, and nobody else."""

from __future__ import annotations

import gzip
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.flow import certificates
from tests.e2e.flow.processes import Flow, free_port, until
from tests.programs_needed import need_module

Make = Callable[..., Flow]


def running(flow: Make, source: dict[str, Any]) -> Flow:
    spec = {"source": source, "sink": {"file": {"path": "out.ndjson"}}, "recovery": {"epoch": "150ms"}}
    return flow(spec).start().ready()


def connected(port: int, data: bytes = b"") -> socket.socket:
    made: list[socket.socket] = []

    def tried() -> bool:
        with suppress(OSError):
            made.append(socket.create_connection(("127.0.0.1", port), timeout=20))
        return bool(made)

    until(tried, f"a listener on port {port}")
    made[0].sendall(data)
    return made[0]


def memory(one: Flow) -> int:
    """MiB that it holds."""
    assert one.process is not None
    lines = Path(f"/proc/{one.process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) // 1024


@pytest.mark.parametrize(
    ("head", "body", "status"),
    [
        (b"Content-Encoding: gzip", gzip.compress(b'{"i":1}'), b"415"),
        (b"Transfer-Encoding: chunked", b'7\r\n{"i":1}\r\n0\r\n\r\n', b"400"),
        (b"Content-Length: 9", b'{"i":1}', b"400"),
    ],
    ids=["gzip", "two lengths", "two lengths of one kind"],
)
def test_http_requests_that_can_be_read_two_ways_are_refused(flow: Make, head: bytes, body: bytes, status: bytes):
    port = free_port()
    one = running(flow, {"http": {"listen": f"127.0.0.1:{port}", "path": "/in"}})
    begin = b"POST /in HTTP/1.1\r\nHost: x\r\n"
    with connected(port, begin + head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body) as client:
        assert client.recv(100).split()[1] == status
    with connected(port, b"HEAD /in HTTP/1.1\r\nHost: x\r\n\r\n") as client:
        assert client.recv(100).split()[1] == b"405"
    with connected(port, begin + b'Content-Length: 7\r\n\r\n{"i":2}') as client:
        assert client.recv(100).split()[1] == b"200"
    assert one.lines("out.ndjson") == [{"i": 2}]
    assert one.observed()["dead"] == 0


def upgraded(port: int) -> socket.socket:
    client = connected(
        port,
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    )
    assert b" 101 " in client.recv(4096)
    return client


def frame(code: int, payload: bytes, last: bool = True) -> bytes:
    """A short one, its mask all zero."""
    return bytes([last << 7 | code, 0x80 | len(payload), 0, 0, 0, 0]) + payload


def test_websocket_clients_that_never_end_or_never_read_cost_no_memory(flow: Make):
    need_module("picows")
    port = free_port()
    one = running(flow, {"websocket": {"listen": f"127.0.0.1:{port}"}})
    for wrong in (frame(0, b'{"i":1}'), frame(1, b'{"i"', False) + frame(1, b'{"i":2}')):
        with upgraded(port) as client:
            client.sendall(wrong)
            assert client.recv(100)[2:4] == (1002).to_bytes(2, "big"), "a protocol error"
    with upgraded(port) as client:
        client.sendall(frame(1, b'{"i"', False) + frame(9, b"there?") + frame(0, b":3}"))
        until(lambda: one.lines("out.ndjson") == [{"i": 3}], f"a message in two pieces\n{one.log()}")
    before = memory(one)
    with upgraded(port) as endless, upgraded(port) as deaf:
        endless.sendall(frame(1, b"", False))
        for _ in range(100):
            endless.sendall(frame(0, b"", False) * 30_000)
        deaf.settimeout(3)
        with pytest.raises(TimeoutError):  # it is not read any more
            deaf.sendall(frame(9, b"x" * 100) * 600_000)
        endless.sendall(frame(0, b'{"i":4}'))
        until(lambda: one.lines("out.ndjson")[1:] == [{"i": 4}], f"a message in three million pieces\n{one.log()}")
        assert memory(one) - before < 40
    assert one.alive()


def test_a_port_scan_of_tls_is_told_in_a_line_each(flow: Make, tmp_path: Path):
    need_module("picows")
    made = certificates.make(tmp_path)
    port = free_port()
    tls = {"cert": str(made.cert), "key": str(made.key)}
    one = running(flow, {"websocket": {"listen": f"127.0.0.1:{port}", "tls": tls}})
    for _ in range(5):
        with connected(port, b"\x16\x03\x01\x40\x00" + os.urandom(50)):
            pass
    until(lambda: "network-fault" in one.log(), f"a word of it\n{one.log()}")
    assert all(line.startswith("{") for line in one.log().splitlines()), one.log()


def test_an_event_that_is_too_long_is_a_dead_letter_and_is_not_asked_for_again(flow: Make):
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    with client, suppress(OSError):
                        asked.append(client.recv(4096))
                        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
                        if len(asked) == 1:
                            client.sendall(b'id: 5\ndata: {"i":1}\n\nid: 6\ndata: ')
                            for _ in range(30):
                                client.sendall(b"x" * 65536)
                            client.sendall(b'\n\nid: 7\ndata: {"i":2}\n\n')
                        else:
                            client.sendall(b": a word\n\n")

        threading.Thread(target=serve, daemon=True).start()
        one = running(flow, {"sse": {"url": f"http://127.0.0.1:{listener.getsockname()[1]}/"}})
        until(lambda: one.lines("out.ndjson") == [{"i": 1}, {"i": 2}], f"what was behind it\n{one.log()}")
        one.until(lambda seen: seen["dead_reasons"] == {"too-long": 1}, "the dead letter")
        began, before = time.monotonic(), len(asked)
        until(lambda: len(asked) >= before + 4, "more connections")
        assert b"last-event-id: 7" in asked[-1].lower()
        assert time.monotonic() - began > 1.0, "a server that says one word is not asked without end"
        assert one.stop() == 0
