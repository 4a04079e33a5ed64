"""Sources on their own: what one flow takes in."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.figures import Figure
from bench.flows.latency import connected, cpu_seconds
from bench.flows.messages import SCHEMA, make
from streamsd.programs.flow import mqtt_packets as mqtt
from tests.e2e.flow import brokers
from tests.e2e.flow.processes import Flow, free_port


def figures(directory: Path, quick: bool) -> Iterator[Figure]:
    count = 50_000 if quick else 500_000
    messages = make(count)
    yield from _websocket(directory, messages)
    if shutil.which("mosquitto"):
        with brokers.mosquitto(directory) as broker:
            config = directory / "mosquitto.conf"
            config.write_text(config.read_text() + "max_inflight_messages 2000\n")
            broker.stop()
            broker.start()
            for qos, reach in ((0, ">= 60k/s"), (1, ">= 35k/s")):
                yield from _mqtt(directory, messages[: count // 5], broker.port, qos, reach)


def _measure(one: Flow, count: int, began: float, before: float) -> tuple[float, float]:
    """(messages a second, messages a CPU second) until all have come."""
    assert one.process is not None
    while one.observed()["sources"]["in"]["messages"] < count:
        time.sleep(0.02)
        if time.monotonic() - began > 120:
            break
    passed = time.monotonic() - began
    came = one.observed()["sources"]["in"]["messages"]
    return came / passed, came / max(0.01, cpu_seconds(one.process.pid) - before)


def _websocket(directory: Path, messages: list[bytes]) -> Iterator[Figure]:
    port = free_port()
    spec: dict[str, Any] = {
        "source": {"websocket": {"listen": f"127.0.0.1:{port}"}},
        "schema": SCHEMA,
        "steps": [{"filter": "temp_c > 1000"}],
        "sink": {"discard": {}},
    }
    one = Flow(directory / "websocket", spec).start().ready()
    frames = b"".join(_frame(message) for message in messages)
    with connected(port) as client:
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        client.recv(4096)
        assert one.process is not None
        began, before = time.monotonic(), cpu_seconds(one.process.pid)
        sender = threading.Thread(target=client.sendall, args=(frames,), daemon=True)
        sender.start()
        _, per_core = _measure(one, len(messages), began, before)
        sender.join()
    one.close()
    yield Figure("WebSocket in, decoded and filtered", per_core / 1e3, "k/s/core", ">= 500k")


def _frame(message: bytes) -> bytes:
    """A masked text frame; the mask is zero, so that masking costs the sender nothing."""
    size = len(message)
    head = bytes((0x81, 0x80 | size)) if size < 126 else bytes((0x81, 0xFE)) + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + message


def _mqtt(directory: Path, messages: list[bytes], port: int, qos: int, reach: str) -> Iterator[Figure]:
    spec: dict[str, Any] = {
        "source": {"mqtt": {"port": port, "topics": ["bench"], "qos": qos}},
        "schema": SCHEMA,
        "sink": {"discard": {}},
    }
    one = Flow(directory / f"mqtt-{qos}", spec).start()
    one.until(lambda seen: seen["sources"]["in"]["connected"], "a session")
    assert one.process is not None
    began, before = time.monotonic(), cpu_seconds(one.process.pid)
    sender = threading.Thread(target=_publish, args=(port, messages, qos), daemon=True)
    sender.start()
    rate, _ = _measure(one, len(messages), began, before)
    came = one.observed()["sources"]["in"]["messages"]
    one.close()
    lost = f"{len(messages) - came} of {len(messages)} dropped by the broker" if came < len(messages) else ""
    yield Figure(f"MQTT QoS {qos} through mosquitto", rate / 1e3, "k/s", reach, lost)
    yield Figure(f"mosquitto alone at QoS {qos}", _broker_alone(port, messages, qos) / 1e3, "k/s")


def _broker_alone(port: int, messages: list[bytes], qos: int) -> float:
    """Messages a second to a subscriber that does nothing but acknowledge: the limit of the broker and this reader."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(mqtt.connect(4, f"alone-{os.getpid()}", 60, True, 0, None, None))
        client.recv(4)
        client.sendall(mqtt.subscribe(4, 1, ["bench"], qos))
        client.recv(5)
        client.settimeout(2)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = last = time.monotonic()
        sender = threading.Thread(target=_publish, args=(port, messages, qos), daemon=True)
        sender.start()
        reader, came = mqtt.Reader(1 << 20), 0
        with contextlib.suppress(TimeoutError):
            while came < len(messages):
                packets = list(reader.feed(client.recv(1 << 16)))
                came += len(packets)
                last = time.monotonic()
                if qos:
                    ids = [mqtt.publish(packet, 4).packet_id for packet in packets]
                    client.sendall(mqtt.acknowledgement(mqtt.PUBACK, ids))
        sender.join()
    return came / (last - began)


def _publish(port: int, messages: list[bytes], qos: int) -> None:
    """Packets made beforehand, over one connection; acknowledgements are read and thrown away."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(mqtt.connect(4, f"bench-{os.getpid()}", 60, True, 0, None, None))
        client.recv(4)
        reader = threading.Thread(target=_swallow, args=(client,), daemon=True)
        reader.start()
        topic = b"\x00\x05bench"
        block = bytearray()
        for number, message in enumerate(messages):
            body = topic + ((number % 65535 + 1).to_bytes(2, "big") if qos else b"") + message
            block += bytes((0x30 | qos << 1,)) + mqtt._length(len(body)) + body
            if len(block) > 65536:
                client.sendall(block)
                block.clear()
        client.sendall(block)
        time.sleep(3)


def _swallow(client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while client.recv(1 << 16):
            pass
