"""MQTT, Kafka, NATS and PostgreSQL: nothing lost when the flow, or the broker, is killed under load."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.flow import brokers
from tests.e2e.flow.processes import free_port, until
from tests.programs_needed import need_module

FAST = {"epoch": "150ms"}


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[brokers.Broker]:
    need_module("paho.mqtt")
    with brokers.mosquitto(tmp_path_factory.mktemp("mosquitto")) as broker:
        yield broker


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[brokers.Broker]:
    need_module("nats")
    with brokers.nats_server(tmp_path_factory.mktemp("nats")) as broker:
        yield broker


@pytest.fixture(scope="module")
def kafka() -> Iterator[str]:
    """librdkafka's mock broker: for what a client does, not for speed."""
    need_module("confluent_kafka")
    from confluent_kafka import Producer

    keeper = Producer({"test.mock.num.brokers": 1, "log_level": 0})
    broker = keeper.list_topics(timeout=30).brokers[1]
    yield f"{broker.host}:{broker.port}"
    del keeper


def numbers(one: Any, name: str = "out.ndjson") -> list[int]:
    return [row["i"] for row in one.lines(name)]


class Publisher:
    """Publishes numbers with paho, and waits until the broker has each."""

    def __init__(self, port: int) -> None:
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def send(self, topic: str, first: int, end: int, qos: int) -> None:
        infos = [self.client.publish(topic, json.dumps({"i": i}), qos) for i in range(first, end)]
        for info in infos:
            info.wait_for_publish(60)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def publisher(mosquitto: brokers.Broker) -> Iterator[Publisher]:
    made = Publisher(mosquitto.port)
    yield made
    made.close()


def test_mqtt_messages_of_qos_1_survive_three_kills(flow, mosquitto, publisher):
    topic = "kill"
    one = flow(
        {
            "source": {"mqtt": {"port": mosquitto.port, "topics": [f"{topic}/+"], "qos": 1}},
            "steps": [{"set": {"topic": "coalesce(meta('topic'), '?')"}}],
            "sink": {"file": {"path": "out.ndjson"}},
            "recovery": FAST,
        }
    ).start()
    one.until(lambda seen: seen["sources"]["in"]["connected"], "a session")
    count = 4000
    sending = threading.Thread(target=publisher.send, args=(f"{topic}/a", 0, count, 1))
    sending.start()
    for goal in (200, 900, 1800):
        until(lambda goal=goal: len(one.lines("out.ndjson")) > goal, f"results\n{one.log()}")
        one.kill()
        one.start()
    sending.join()
    until(lambda: len(set(numbers(one))) == count, f"all numbers\n{one.log()}")
    assert set(numbers(one)) == set(range(count))
    assert {row["topic"] for row in one.lines("out.ndjson")} == {f"{topic}/a"}
    # What is sent while the flow is away waits for it.
    one.until(lambda seen: seen["sources"]["in"]["connected"], "a session")
    assert one.stop() == 0
    publisher.send(f"{topic}/a", count, count + 100, 1)
    one.start()
    until(lambda: len(set(numbers(one))) == count + 100, "what was sent meanwhile")


def test_mqtt_qos_2_comes_once_and_topics_that_are_given_up_are_unsubscribed(flow, mosquitto, publisher):
    spec = {
        "source": {"mqtt": {"port": mosquitto.port, "topics": ["two/a", "two/b"], "qos": 2, "version": "3.1.1"}},
        "sink": {"file": {"path": "out.ndjson"}},
        "recovery": FAST,
    }
    one = flow(spec).start()
    one.until(lambda seen: seen["sources"]["in"]["connected"], "a session")
    publisher.send("two/a", 0, 200, 2)
    until(lambda: len(numbers(one)) >= 200, "results")
    assert sorted(numbers(one)) == list(range(200))
    assert one.stop() == 0
    one.change({**spec, "source": {"mqtt": {**spec["source"]["mqtt"], "topics": ["two/b"]}}})
    one.start()
    one.until(lambda seen: seen["sources"]["in"]["connected"], "a session")
    publisher.send("two/a", 1000, 1010, 2)
    publisher.send("two/b", 2000, 2010, 2)
    until(lambda: 2009 in numbers(one), "the topic that is left")
    assert not set(numbers(one)) & set(range(1000, 1010))


def test_mqtt_to_mqtt_through_a_restart_of_the_broker(flow, tmp_path):
    with brokers.mosquitto(tmp_path) as broker:
        one = flow(
            {
                "source": {"generator": {"fields": {"i": "n", "room": "f'r{n % 3}'"}, "count": 3000, "rate": 1000}},
                "schema": {"i": "int", "room": "str"},
                "sink": {"mqtt": {"port": broker.port, "topic": "rooms/{room}", "qos": 1}},
                "recovery": FAST,
            }
        )
        reader = flow(
            {
                "source": {"mqtt": {"port": broker.port, "topics": ["rooms/#"], "qos": 1}},
                "sink": {"file": {"path": "out.ndjson"}},
                "recovery": FAST,
            },
            "reader",
        ).start()
        reader.until(lambda seen: seen["sources"]["in"]["connected"], "a session")
        one.start()
        until(lambda: len(numbers(reader)) > 300, "results")
        broker.stop()
        until(
            lambda: (found := reader.report()) and found.reason == "SourceUnreachable", "a report that names the broker"
        )
        broker.start()
        reader.until(lambda seen: seen["sources"]["in"]["connected"], "a session again")
        one.complete()
        # The broker keeps nothing over its restart: what the reader missed while it was away is the broker's loss, and
        # nothing that was published after is.
        until(lambda: numbers(reader)[-1] == 2999, "the last number")
        assert Counter(numbers(reader)).most_common(1)[0][1] <= 2
        assert not reader.report().degraded


def test_a_topic_made_of_a_message_cannot_break_the_client(flow, mosquitto):
    one = flow(
        {
            "source": {"generator": {"fields": {"room": "'a' if n == 0 else 'x/#' if n == 1 else ''"}, "count": 3}},
            "schema": {"room": "str"},
            "sink": {"mqtt": {"port": mosquitto.port, "topic": "{room}"}},
        }
    ).start()
    observed = one.complete()
    assert observed["sinks"]["out"]["results"] == 1
    assert observed["dead_reasons"] == {"bad-address": 2}


def test_wrong_credentials_and_a_closed_port_are_told(flow, mosquitto, tmp_path):
    config = tmp_path / "locked.conf"
    port = free_port()
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous false\n")
    from tests.programs_needed import need

    with brokers.running(brokers.Broker([need("mosquitto"), "-c", str(config)], port, tmp_path / "locked.log")):
        one = flow({"source": {"mqtt": {"port": port, "topics": ["x"]}}, "sink": {"discard": {}}}).start()
        until(lambda: (found := one.report()) and "not authorized" in found.message, "a report that says so")
        assert one.report().reason == "SourceUnreachable"
        login = {"user": "joe", "password": "wrong"}
        source = {"generator": {"fields": {"n": "n"}, "rate": 10}}
        two = flow({"source": source, "sink": {"mqtt": {"port": port, "topic": "x", "login": login}}}, "two").start()
        until(lambda: (found := two.report()) and "not authorized" in found.message, "the same of a sink")
    until(lambda: "refused" in one.report().message, "a report that says that nobody listens")


@pytest.mark.parametrize("processes", [1, 2])
def test_kafka_to_kafka_with_kills_has_every_record_once_in_the_windows(flow, kafka, processes):
    from confluent_kafka import Producer

    count, topic = 12_000, f"numbers-{processes}"
    producer = Producer({"bootstrap.servers": kafka, "log_level": 0})
    for i in range(count):
        while True:
            try:
                producer.produce(topic, json.dumps({"i": i, "ts": i}), partition=i % 4)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    producer.flush(60)
    source = {"kafka": {"brokers": [kafka], "topics": [topic]}, "limit": {"messages": 8000}}
    window = {"tumbling": "1s", "time": "ts", "lateness": "5s", "emit": {"n": "count()", "total": "sum(i)"}}
    one = flow(
        {
            "processes": processes,
            "source": source,
            "schema": {"i": "int", "ts": "time_ms"},
            "steps": [{"window": window}],
            "sinks": {
                "file": {"file": {"path": "out.ndjson"}, "delivery": "exactly_once"},
                "topic": {"kafka": {"brokers": [kafka], "topic": "windows", "key": "{str(window_start)}"}},
            },
            "recovery": FAST,
        }
    )
    for goal in (2000, 3000):
        one.start()
        one.until(lambda seen, goal=goal: seen["sources"]["in"]["messages"] > goal, "records")
        one.kill()
    one.start()
    one.until(lambda seen: len(one.lines("out.ndjson")) >= 6, "windows")
    if processes == 2:
        parts = one.observed()["processes"]
        assert min(part["messages"] for part in parts) > 0, "each reads partitions of its own"
    # Windows close when every partition has passed them: the newest five seconds stay open.
    assert one.stop() == 0
    found = one.lines("out.ndjson")
    assert [row["window_start"] for row in found] == [k * 1000 for k in range(len(found))]
    for row in found:
        first = row["window_start"]
        assert (row["n"], row["total"]) == (1000, sum(range(first, first + 1000)))


def test_a_result_that_kafka_would_refuse_is_a_dead_letter_and_the_others_arrive(flow, kafka):
    long = [
        {"set": {"s": "pad_left('', 10000, 'x')"}},
        {"set": {"s": "f'" + "{s}" * 106 + "' if i == 1 else 'short'"}},
    ]
    one = flow(
        {
            "source": {"generator": {"fields": {"i": "n"}, "count": 3}},
            "schema": {"i": "int"},
            "steps": long,
            "sink": {"kafka": {"brokers": [kafka], "topic": "long"}},
            "recovery": FAST,
        }
    ).start()
    observed = one.complete()
    assert observed["dead_reasons"] == {"too-long": 1}
    assert observed["sinks"]["out"]["results"] == 2


def test_nats_and_jetstream(flow, nats):
    url = f"nats://127.0.0.1:{nats.port}"
    make_stream(url, "work", "work.>")
    maker = flow(
        {
            "source": {"generator": {"fields": {"i": "n"}, "count": 5000}},
            "schema": {"i": "int"},
            "sink": {"nats": {"servers": [url], "subject": "work.{str(i % 2)}", "stream": True}},
            "recovery": FAST,
        },
        "maker",
    ).start()
    maker.complete()
    taker = flow(
        {
            "source": {
                "nats": {"servers": [url], "subject": "work.*", "stream": "work", "ack_wait": "3s"},
                "limit": {"messages": 4000},
            },
            "sinks": {
                "file": {"file": {"path": "out.ndjson"}},
                "core": {"nats": {"servers": [url], "subject": "done"}},
            },
            "recovery": FAST,
        },
        "taker",
    ).start()
    listener = flow(
        {
            "source": {"nats": {"servers": [url], "subject": "done"}},
            "sink": {"file": {"path": "out.ndjson"}},
            "recovery": FAST,
        },
        "listener",
    ).start()
    until(lambda: len(numbers(taker)) > 500, f"results\n{taker.log()}")
    taker.kill()
    taker.start()
    until(lambda: len(set(numbers(taker))) == 5000, f"every message\n{taker.log()}")
    until(lambda: len(numbers(listener)) > 0, f"results of core NATS\n{listener.log()}")
    assert taker.stop() == 0
    again = flow(taker_spec(url), "taker").start()
    again.until(lambda seen: seen["sources"]["in"]["connected"], "a connection")
    again.close()


def taker_spec(url: str) -> dict[str, Any]:
    return {
        "source": {"nats": {"servers": [url], "subject": "work.*", "stream": "work", "ack_wait": "3s"}},
        "sinks": {"file": {"file": {"path": "out.ndjson"}}, "core": {"nats": {"servers": [url], "subject": "done"}}},
        "recovery": FAST,
    }


def make_stream(url: str, name: str, subject: str) -> None:
    import asyncio

    import nats

    async def make() -> None:
        client = await nats.connect(url)
        await client.jetstream().add_stream(name=name, subjects=[subject])
        await client.close()

    asyncio.run(make())


def test_postgres_rows_are_there_once_through_kills_of_the_flow_and_the_server(flow, tmp_path: Path):
    need_module("psycopg")
    import psycopg

    (tmp_path / "flow").mkdir()
    lines = "".join(
        json.dumps({"i": i, "k": f"k{i % 7}", "at": f"2030-01-01T00:00:{i % 60:02}Z"}) + "\n" for i in range(10_000)
    )
    (tmp_path / "flow/in.ndjson").write_text(lines)
    with brokers.postgres(tmp_path) as (server, url):
        one = flow(
            {
                "source": {"file": {"path": "in.ndjson"}, "limit": {"messages": 5000}},
                "schema": {"i": "int", "k": "str", "at": "time"},
                "sinks": {
                    "rows": {"postgres": {"url": url, "table": "rows"}, "delivery": "exactly_once"},
                    "newest": {"postgres": {"url": url, "table": "newest", "key": ["k"]}},
                },
                "recovery": FAST,
            }
        ).start()
        one.until(lambda seen: seen["sources"]["in"]["messages"] > 2000, "progress")
        one.kill()
        one.start()
        one.until(lambda seen: seen["sources"]["in"]["messages"] > 1500, "progress")
        server.stop(brokers.signal.SIGQUIT)
        until(lambda: one.report().reason == "SinkUnreachable", "a report that names the server")
        server.start()
        one.complete()
        with psycopg.connect(url) as database:
            assert database.execute("select i from rows order by streamsd_seq").fetchall() == [
                (i,) for i in range(10_000)
            ]
            newest = dict(database.execute("select k, i from newest").fetchall())
        assert newest == {f"k{k}": max(i for i in range(10_000) if i % 7 == k) for k in range(7)}


def test_a_table_that_does_not_fit_is_named(flow, tmp_path: Path):
    need_module("psycopg")
    with brokers.postgres(tmp_path) as (_, url):
        until(lambda: ran(url, "create table things (other int)"), "a table")
        one = flow(
            {
                "source": {"generator": {"fields": {"i": "n"}, "count": 3}},
                "schema": {"i": "int"},
                "sink": {"postgres": {"url": url, "table": "things"}},
                "recovery": FAST,
            }
        ).start()
        until(lambda: (found := one.report()) and "things" in found.message, f"a report that names it\n{one.log()}")
        assert one.report().degraded
        assert one.alive()


def ran(url: str, statement: str) -> bool:
    """Whether the server has started and carried it out."""
    import psycopg

    try:
        with psycopg.connect(url, autocommit=True) as database:
            database.execute(statement)
    except psycopg.OperationalError:
        return False
    return True


@pytest.mark.slow
def test_rabbitmq_messages_survive_kills_of_the_flow(flow, tmp_path: Path):
    need_module("pika")
    with brokers.rabbitmq(tmp_path) as broker:
        maker = flow(
            {
                "source": {"generator": {"fields": {"i": "n"}, "count": 6000}},
                "schema": {"i": "int"},
                "sink": {"amqp": {"port": broker.port, "routing_key": "work"}},
                "recovery": FAST,
            },
            "maker",
        )
        taker = flow(
            {
                "source": {"amqp": {"port": broker.port, "queue": "work"}, "limit": {"messages": 4000}},
                "sink": {"file": {"path": "out.ndjson"}},
                "recovery": FAST,
            },
            "taker",
        )
        maker.start()
        until(lambda: (found := maker.report()) and "no queue 'work'" in found.message, "the sink names what is wrong")
        taker.start()
        taker.until(lambda seen: seen["sources"]["in"]["connected"], "a connection")
        maker.complete()
        until(lambda: len(numbers(taker)) > 500, "results")
        taker.kill()
        taker.start()
        until(lambda: len(set(numbers(taker))) == 6000, f"every message\n{taker.log()}")
        assert taker.ready().stop() == 0
        wrong = flow(
            {
                "source": {"amqp": {"port": broker.port, "queue": "x", "login": {"user": "guest", "password": "no"}}},
                "sink": {"discard": {}},
            },
            "wrong",
        ).start()
        until(
            lambda: (found := wrong.report()) and "wrong account or password" in found.message, "a report that says so"
        )
