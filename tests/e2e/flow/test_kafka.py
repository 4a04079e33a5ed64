"""Kafka itself: counts that match, offsets that others see, a broker restarted under load, faults that are named."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.flow import kafka_broker
from tests.e2e.flow.processes import Flow, free_port, until
from tests.programs_needed import need_module

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
FAST = {"epoch": "150ms"}


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kafka_broker.Kafka]:
    need_module("confluent_kafka")
    with kafka_broker.kafka(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


def produced(kafka: kafka_broker.Kafka, topic: str, count: int) -> None:
    """Numbers, in order in each of four partitions, all acknowledged."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": kafka.address, "log_level": 0, "acks": "all", "linger.ms": 20})
    for i in range(count):
        while True:
            try:
                producer.produce(topic, json.dumps({"i": i, "ts": i}), partition=i % 4)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    assert producer.flush(60) == 0


def topic_made(kafka: kafka_broker.Kafka, topic: str) -> None:
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": kafka.address, "log_level": 0})
    admin.create_topics([NewTopic(topic, 4, 1)])[topic].result(60)


def consumed(kafka: kafka_broker.Kafka, topic: str, enough: Callable[[list[int]], bool]) -> list[int]:
    """Every number in a topic, once there are enough."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": kafka.address, "group.id": "test", "log_level": 0})
    consumer.assign([TopicPartition(topic, part, OFFSET_BEGINNING) for part in range(4)])
    found: list[int] = []

    def more() -> bool:
        found.extend(json.loads(r.value())["i"] for r in consumer.consume(10_000, 0.2) if r.error() is None)
        return enough(found)

    try:
        until(more, f"enough records of {topic}", within=240)
    finally:
        consumer.close()
    return found


def test_kafka_to_kafka_counts_match_and_the_group_sees_the_offsets(flow: Callable[..., Flow], kafka) -> None:
    from confluent_kafka import Consumer, TopicPartition

    count = 60_000
    topic_made(kafka, "in")
    topic_made(kafka, "out")
    produced(kafka, "in", count)
    one = flow(
        {
            "source": {"kafka": {"brokers": [kafka.address], "topics": ["in"], "group": "copy"}},
            "schema": {"i": "int", "ts": "time_ms"},
            "steps": [{"filter": "i % 5 != 0"}],
            "sink": {"kafka": {"brokers": [kafka.address], "topic": "out", "key": "{str(i % 100)}"}},
            "recovery": FAST,
        }
    ).start()
    wanted = count * 4 // 5
    found = consumed(kafka, "out", lambda numbers: len(numbers) >= wanted)
    assert sorted(found) == [i for i in range(count) if i % 5]
    group = Consumer({"bootstrap.servers": kafka.address, "group.id": "copy", "log_level": 0})
    parts = [TopicPartition("in", part) for part in range(4)]
    until(lambda: [p.offset for p in group.committed(parts, 30)] == [count // 4] * 4, "the group's offsets")
    group.close()
    assert one.stop() == 0


def test_windows_are_exact_through_kills_of_the_flow_and_a_restart_of_the_broker(flow, kafka) -> None:
    topic_made(kafka, "numbers")
    topic_made(kafka, "copy")
    one = flow(
        {
            "source": {
                "kafka": {"brokers": [kafka.address], "topics": ["numbers"], "group": "flow"},
                "limit": {"messages": 6000},
            },
            "schema": {"i": "int", "ts": "time_ms"},
            "steps": [
                {"window": {"tumbling": "1s", "time": "ts", "lateness": "5s", "emit": {"n": "count()", "i": "sum(i)"}}}
            ],
            "sinks": {
                "file": {"file": {"path": "out.ndjson"}, "delivery": "exactly_once"},
                "topic": {"kafka": {"brokers": [kafka.address], "topic": "copy"}},
            },
            "recovery": FAST,
        }
    ).start()
    count = 40_000
    produced(kafka, "numbers", count)
    one.until(lambda seen: seen["sources"]["in"]["messages"] > 3000, "records")
    one.kill()
    one.start()
    one.until(lambda seen: seen["sources"]["in"]["messages"] > 3000, "records after a kill")
    kafka.broker.stop(signal.SIGKILL)
    until(lambda: (found := one.report()) and found.degraded, f"a report that something is wrong\n{one.log()}")
    assert one.report().reason in ("SourceUnreachable", "SinkUnreachable")
    assert kafka.address in one.report().message
    kafka.broker.start()
    wanted = {k * 1000: (1000, sum(range(k * 1000, (k + 1) * 1000))) for k in range(count // 1000 - 6)}
    until(lambda: len(one.lines("out.ndjson")) >= len(wanted), f"every window that can close\n{one.log()}")
    assert one.stop() == 0
    rows = one.lines("out.ndjson")
    found = {row["window_start"]: (row["n"], row["i"]) for row in rows}
    assert len(found) == len(rows), "a window came twice"
    assert {start: found[start] for start in wanted} == wanted
    sums = [i for _, i in found.values()]
    copies = Counter(consumed(kafka, "copy", lambda numbers: set(numbers) >= set(sums)))
    assert set(copies) == set(sums), "the topic has another window"


def test_a_wrong_account_and_nobody_there_are_told(flow, kafka) -> None:
    def told(brokers: str, login: dict[str, str], words: str) -> None:
        topics = {"brokers": [brokers], "login": login}
        for name, source, sink in (
            ("source", {"kafka": {**topics, "topics": ["in"], "group": "x"}}, {"discard": {}}),
            ("sink", {"generator": {"fields": {"i": "n"}, "rate": 100}}, {"kafka": {**topics, "topic": "x"}}),
        ):
            one = flow({"source": source, "sink": sink, "recovery": FAST}, f"{name}-{words[:4]}").start()
            reason = "SourceUnreachable" if name == "source" else "SinkUnreachable"
            until(lambda one=one: (found := one.report()) and words in found.message, f"{name}: {words}\n{one.log()}")
            assert one.report().reason == reason
            assert "wrong one" not in one.report().message + one.log()
            assert one.stop() in (0, 1)

    told(kafka.login, {"user": kafka_broker.USER, "password": "the wrong one"}, "uthentication")
    told(f"127.0.0.1:{free_port()}", {"user": "a", "password": "b"}, "refused")


def test_the_right_account_is_let_in(flow, kafka) -> None:
    login = {"user": kafka_broker.USER, "password": kafka_broker.PASSWORD}
    topic_made(kafka, "private")
    produced(kafka, "private", 400)
    one = flow(
        {
            "source": {"kafka": {"brokers": [kafka.login], "topics": ["private"], "group": "x", "login": login}},
            "sink": {"file": {"path": "out.ndjson"}},
            "recovery": FAST,
        }
    ).start()
    until(lambda: len(one.lines("out.ndjson")) >= 400, f"every record\n{one.log()}")
    assert sorted(row["i"] for row in one.lines("out.ndjson")) == list(range(400))
