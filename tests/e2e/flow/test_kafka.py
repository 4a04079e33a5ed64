"""Kafka itself: counts that match, offsets that others see, a broker restarted under load, faults that are named."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable

import pytest

from tests.e2e.flow import kafka_broker
from tests.e2e.flow.processes import Flow, free_port, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
FAST = {"epoch": "150ms"}


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


def topic_made(kafka: kafka_broker.Kafka, topic: str, **settings: str) -> None:
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": kafka.address, "log_level": 0})
    config = {name.replace("_", "."): value for name, value in settings.items()}
    admin.create_topics([NewTopic(topic, 4, 1, config=config)])[topic].result(60)


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
                "kafka": {"brokers": [kafka.address], "topics": ["numbers"]},
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
    there = consumed(kafka, "numbers", lambda numbers: len(numbers) >= count)
    assert sorted(there) == list(range(count)), "the broker itself has not what it was given"
    assert not (one.directory / "state" / "dead.ndjson").exists(), "dead letters"
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


def test_two_flows_of_a_group_share_the_partitions_and_one_takes_over(flow, kafka) -> None:
    topic_made(kafka, "shared")
    source = {"brokers": [kafka.address], "topics": ["shared"], "group": "pair", "session_timeout": "6s"}
    spec = {
        "source": {"kafka": source},
        "schema": {"i": "int"},
        "sink": {"file": {"path": "out.ndjson"}},
        "recovery": FAST,
    }
    one, two = (flow(spec, name).start() for name in ("one", "two"))
    for each in (one, two):
        each.until(lambda seen: seen["sources"]["in"]["partitions"] == 2, "two partitions of four")

    def numbers(each: Flow) -> list[int]:
        return [row["i"] for row in each.lines("out.ndjson")]

    produced(kafka, "shared", 20_000)
    until(lambda: len(numbers(one)) + len(numbers(two)) >= 20_000, "every record")
    assert sorted(numbers(one) + numbers(two)) == list(range(20_000)), "each record at one of the two, once"
    assert {i % 4 for i in numbers(one)}.isdisjoint(i % 4 for i in numbers(two)), "whole partitions"

    one.change({**spec, "source": {"kafka": source, "limit": {"messages": 2000}}})
    assert one.stop() == 0
    one.start()
    one.until(lambda seen: seen["sources"]["in"]["partitions"] == 2, "its partitions, after an orderly restart")
    first, second = len(numbers(one)), len(numbers(two))
    produced(kafka, "shared", 40_000)
    until(lambda: len(numbers(one)) > first + 1000, "records under way")
    one.kill()
    two.until(lambda seen: seen["sources"]["in"]["partitions"] == 4, "all partitions, taken over from the dead")
    until(
        lambda: set(numbers(one)[first:]) | set(numbers(two)[second:]) >= set(range(40_000)),
        f"every record of the second round\n{two.log()}",
    )
    again = len(numbers(one)[first:]) + len(numbers(two)[second:]) - 40_000
    assert again <= 2000, f"{again} records came twice: more than an epoch's"
    assert two.stop() == 0


def test_windows_close_for_partitions_that_went_to_another_member(flow, kafka) -> None:
    """A partition that was given up holds no window back, and its windows are said by both, each with its part."""
    topic_made(kafka, "moving")
    window = {"tumbling": "1s", "time": "ts", "emit": {"n": "count()"}}
    spec = {
        "source": {"kafka": {"brokers": [kafka.address], "topics": ["moving"], "group": "windows"}},
        "schema": {"i": "int", "ts": "time_ms"},
        "steps": [{"window": window}],
        "sink": {"file": {"path": "out.ndjson"}},
        "recovery": FAST,
    }
    one = flow(spec, "one").start()
    one.until(lambda seen: seen["sources"]["in"]["partitions"] == 4, "all partitions")
    produced(kafka, "moving", 4000)
    until(lambda: len(one.lines("out.ndjson")) >= 3, "windows")
    one.until(lambda seen: seen["sources"]["in"]["messages"] == 4000, "all records")
    two = flow(spec, "two").start()
    for each in (one, two):
        each.until(lambda seen: seen["sources"]["in"]["partitions"] == 2, "half of the partitions")
    produced(kafka, "moving", 8000)
    for each in (one, two):
        until(
            lambda each=each: {row["window_start"] for row in each.lines("out.ndjson")} >= {4000, 5000, 6000},
            f"windows of what came after the move\n{each.log()}",
        )
        halves = {row["window_start"]: row["n"] for row in each.lines("out.ndjson")}
        assert [halves[start] for start in (4000, 5000, 6000)] == [500] * 3, "each has what its partitions brought"
        assert each.stop() == 0


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
def test_accounts_over_tls(flow, kafka, made, mechanism: str) -> None:
    right = {"user": kafka_broker.USER, "password": kafka_broker.PASSWORD}
    end = {"brokers": [kafka.secure], "login": right, "mechanism": mechanism, "tls": {"ca": str(made.ca)}}
    topic = f"secure-{mechanism}"
    topic_made(kafka, topic)
    flow(
        {
            "source": {"generator": {"fields": {"i": "n"}, "count": 500}},
            "schema": {"i": "int"},
            "sink": {"kafka": {**end, "topic": topic}},
            "recovery": FAST,
        },
        "maker",
    ).start().complete()
    source = {"kafka": {**end, "topics": [topic], "group": "x"}}
    one = flow({"source": source, "sink": {"file": {"path": "out.ndjson"}}}).start()
    until(lambda: len(one.lines("out.ndjson")) >= 500, f"every record\n{one.log()}")
    assert sorted(row["i"] for row in one.lines("out.ndjson")) == list(range(500))

    wrong = {"login": {"user": kafka_broker.USER, "password": "geheim"}}
    strange = {"tls": {"ca": str(made.stranger)}}
    for change, words in ((wrong, "authentication"), (strange, "certificate")):
        for group in ({"group": "y"}, {}):
            source = {"kafka": {**end, **change, "topics": [topic], **group}}
            two = flow({"source": source, "sink": {"discard": {}}}, f"{words}{len(group)}").start()
            told = until(lambda two=two: two.report(), "a report")
            until(
                lambda two=two, words=words: words in two.report().message.lower(),
                f"{words} in a report: {two.report()}\n{two.log()}",
            )
            told = two.report()
            assert told.reason == "SourceUnreachable"
            assert "geheim" not in told.message + two.log()
            assert two.stop() in (0, 1)


def test_as_long_as_the_topic_takes_and_what_is_longer_than_that_is_told(flow, kafka) -> None:
    topic_made(kafka, "wide", max_message_bytes=str(3 * 1024 * 1024))
    topic_made(kafka, "narrow", max_message_bytes="100000")

    def maker(topic: str, name: str, **sink: str) -> Flow:
        wide = "f'" + "{s}" * 100 + "'"
        pad = [{"set": {"s": "pad_left('', 9000, 'x')"}}, {"set": {"s": f"{wide} if i < 3 else ''", "t": "s"}}]
        end = {"brokers": [kafka.address], "topic": topic, "compression": "none", **sink}
        return flow(
            {
                "source": {"generator": {"fields": {"i": "n"}, "count": 10}},
                "schema": {"i": "int"},
                "steps": pad,
                "sink": {"kafka": end},
                "recovery": FAST,
            },
            name,
        )

    seen = maker("wide", "all", max_message="3M").start().complete()
    assert (seen["sinks"]["out"]["results"], seen["dead_reasons"]) == (10, {})
    assert sorted(consumed(kafka, "wide", lambda numbers: len(numbers) >= 10)) == list(range(10))
    taker = flow(
        {
            "source": {"kafka": {"brokers": [kafka.address], "topics": ["wide"]}, "max_message": "3M"},
            "schema": {"i": "int"},
            "sink": {"file": {"path": "out.ndjson"}},
            "recovery": FAST,
        },
        "taker",
    ).start()
    until(lambda: {row["i"] for row in taker.lines("out.ndjson")} == set(range(10)), f"long records\n{taker.log()}")

    held = maker("narrow", "held", max_message="3M").start()
    until(lambda: (found := held.report()) and "max.message.bytes" in found.message, f"what to change\n{held.log()}")
    assert held.report().reason == "SinkUnreachable"
    assert held.stop() == 0
    held = maker("narrow", "held", max_message="100000")
    seen = held.start().complete()
    assert seen["dead_reasons"] == {"too-long": 3}, "the others arrive, and the long ones are kept"
