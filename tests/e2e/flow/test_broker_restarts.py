"""A broker that is restarted under load, twice: nothing that was confirmed is missing."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.flow import brokers
from tests.e2e.flow.processes import until
from tests.e2e.flow.test_brokers import make_stream
from tests.programs_needed import need_module

FAST = {"epoch": "150ms"}
COUNT = 12_000


def restarted(
    flow: Any, broker: brokers.Broker, sink: dict[str, Any], source: dict[str, Any], how: signal.Signals
) -> None:
    """Numbers go through a broker from one flow to another while it is restarted: each arrives, at least once."""
    generator = {"generator": {"fields": {"i": "n"}, "count": COUNT, "rate": 3000}}
    maker = flow({"source": generator, "schema": {"i": "int"}, "sink": sink, "recovery": FAST}, "maker")
    taker = flow({"source": source, "sink": {"file": {"path": "out.ndjson"}}, "recovery": FAST}, "taker").start()
    taker.until(lambda seen: seen["sources"]["in"]["connected"], "a connection")
    maker.start()

    def arrived() -> set[int]:
        return {row["i"] for row in taker.lines("out.ndjson")}

    for share in (8, 2):
        until(lambda share=share: len(arrived()) > COUNT // share, f"results\n{maker.log()}{taker.log()}")
        broker.stop(how)
        until(
            lambda: (found := taker.report()) and found.reason == "SourceUnreachable", "the taker names what is wrong"
        )
        until(lambda: (found := maker.report()) and found.reason == "SinkUnreachable", "and so does the maker")
        assert str(broker.port) in maker.report().message
        broker.start()
    maker.complete()
    until(lambda: len(arrived()) == COUNT, f"every number\n{maker.log()}{taker.log()}")
    assert arrived() == set(range(COUNT))
    until(lambda: not taker.report().degraded, "all is well again")
    assert (maker.stop(), taker.stop()) == (0, 0)


def test_mosquitto_restarted_under_load_loses_nothing_of_qos_1(flow, tmp_path: Path):
    need_module("paho.mqtt")
    with brokers.mosquitto(tmp_path, keeps=True) as broker:
        sink = {"mqtt": {"port": broker.port, "topic": "numbers", "qos": 1}}
        source = {"mqtt": {"port": broker.port, "topics": ["numbers"], "qos": 1}}
        restarted(flow, broker, sink, source, signal.SIGTERM)


def test_jetstream_killed_under_load_loses_nothing(flow, tmp_path: Path):
    need_module("nats")
    with brokers.nats_server(tmp_path) as broker:
        url = f"nats://127.0.0.1:{broker.port}"
        make_stream(url, "work", "work.>")
        sink = {"nats": {"servers": [url], "subject": "work.a", "stream": True}}
        source = {"nats": {"servers": [url], "subject": "work.*", "stream": "work", "ack_wait": "3s"}}
        restarted(flow, broker, sink, source, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_rabbitmq_restarted_under_load_loses_nothing(flow, tmp_path: Path):
    need_module("pika")
    with brokers.rabbitmq(tmp_path) as broker:
        sink = {"amqp": {"port": broker.port, "routing_key": "numbers"}}
        source = {"amqp": {"port": broker.port, "queue": "numbers"}}
        restarted(flow, broker, sink, source, signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_queue_that_is_deleted_is_read_again_once_it_is_there(flow, tmp_path: Path):
    need_module("pika")
    import pika

    with brokers.rabbitmq(tmp_path) as broker:
        source = {"amqp": {"port": broker.port, "queue": "numbers"}}
        one = flow({"source": source, "sink": {"file": {"path": "out.ndjson"}}, "recovery": FAST}).start()
        one.until(lambda seen: seen["sources"]["in"]["connected"], "a connection")
        connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", broker.port))
        channel = connection.channel()
        for i in range(3):
            channel.queue_declare("numbers", durable=True)
            channel.basic_publish("", "numbers", b'{"i":%d}' % i)
            until(lambda i=i: one.lines("out.ndjson")[i:] == [{"i": i}], f"message {i}\n{one.log()}")
            channel.queue_delete("numbers")
        connection.close()
        assert one.stop() == 0


def test_what_nats_lets_go_is_counted_and_leaves_no_fault_behind(flow, tmp_path: Path):
    need_module("nats")
    import asyncio

    import nats

    count, wide = 4000, b'{"x":"' + b"y" * 100_000 + b'"}'
    with brokers.nats_server(tmp_path) as broker:
        url = f"nats://127.0.0.1:{broker.port}"
        source = {"nats": {"servers": [url], "subject": "wide"}}
        one = flow(
            {"source": {**source, "limit": {"messages": 100}}, "sink": {"discard": {}}, "recovery": FAST}
        ).start()
        one.until(lambda seen: seen["sources"]["in"]["connected"], "a connection")

        async def send() -> None:
            client = await nats.connect(url)
            for i in range(count):
                await client.publish("wide", wide)
                if i % 20 == 0:
                    await client.flush()
            await client.drain()

        asyncio.run(send())
        until(lambda: "messages-dropped" in one.log(), f"a word of it\n{one.log()}")
        one.until(
            lambda seen: seen["sources"]["in"]["lost"] + seen["sources"]["in"]["messages"] == count, "all of them"
        )
        assert one.log().count("messages-dropped") == 1, "and not a word for each"
        until(lambda: not one.report().degraded, "a flow that is well")
        assert one.stop() == 0
