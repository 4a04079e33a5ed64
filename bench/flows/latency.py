"""100,000 messages a second offered over TCP, recovery on: how long after a message was due its result came."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure
from tests.e2e.flow.processes import Flow, free_port

RATE = 100_000
SAMPLE = 100
"""One message in so many comes back, so that what is measured is the flow and not this reader."""


def cpu_seconds(pid: int) -> float:
    parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    """A connection, as soon as somebody listens."""
    end = time.monotonic() + 30
    while True:
        try:
            client = socket.create_connection(("127.0.0.1", port))
            break
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
    with client:
        yield client


def figures(directory: Path, quick: bool) -> Iterator[Figure]:
    seconds = 5 if quick else 60
    into = free_port()
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = Flow(
            directory / "latency",
            {
                "source": {"tcp": {"listen": f"127.0.0.1:{into}"}},
                "schema": {
                    "device": "str",
                    "temp_c": "float",
                    "hum": "float",
                    "due": "float",
                    "room": "str",
                    "seq": "int",
                },
                "steps": [
                    {"filter": f"seq % {SAMPLE} == 0"},
                    {"map": {"due": "due", "temp_f": "temp_c * 1.8 + 32", "seq": "seq"}},
                ],
                "sink": {"tcp": {"host": "127.0.0.1", "port": server.getsockname()[1]}},
            },
        )
        one.start().ready()
        latencies: list[float] = []
        reader = threading.Thread(target=_read, args=(server, latencies, RATE * seconds // SAMPLE), daemon=True)
        reader.start()
        assert one.process is not None
        before = cpu_seconds(one.process.pid)
        late = _offer(into, seconds)
        reader.join(30)
        used = (cpu_seconds(one.process.pid) - before) / seconds
        observed = one.observed()
        one.close()
    received = observed["sources"]["in"]["messages"]
    latencies.sort()
    yield Figure("lost of those offered at 100k/s", RATE * seconds - received, "messages", "0")
    yield Figure("latency from due time, p50", latencies[len(latencies) // 2] * 1000, "ms", "< 2 ms")
    yield Figure("latency from due time, p99", latencies[len(latencies) * 99 // 100] * 1000, "ms", "< 10 ms")
    yield Figure("of a core at 100k/s", used * 100, "%", "< 40 %", f"the sender was late by up to {late * 1000:.1f} ms")


def _offer(port: int, seconds: int) -> float:
    """Send each millisecond what is due. Returns the worst lateness of the sender itself."""
    per_step = RATE // 1000
    worst = 0.0
    with connected(port) as out:
        out.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start = time.time()
        for step in range(seconds * 1000):
            due = start + step / 1000
            wait = due - time.time()
            if wait > 0:
                time.sleep(wait)
            else:
                worst = max(worst, -wait)
            first = step * per_step
            out.sendall(
                b"".join(
                    b'{"device":"dev-%03d","temp_c":21.5,"hum":40.25,"due":%.6f,"room":"r%02d","seq":%d}\n'
                    % (i % 500, due, i % 20, i)
                    for i in range(first, first + per_step)
                )
            )
    return worst


def _read(server: socket.socket, latencies: list[float], count: int) -> None:
    server.settimeout(60)
    client, _ = server.accept()
    with client, client.makefile("rb") as lines:
        for line in lines:
            latencies.append(time.time() - json.loads(line)["due"])
            if len(latencies) >= count:
                return
