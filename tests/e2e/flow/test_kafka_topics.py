"""Topics that change under a flow: made anew, cut by retention, given more partitions, and full of gaps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import pytest

from tests.e2e.flow.kafka_broker import Kafka
from tests.e2e.flow.processes import Flow, until
from tests.e2e.flow.test_kafka import FAST, produced, topic_made

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
Make = Callable[..., Flow]
GROUPED = pytest.mark.parametrize("group", [None, "members"], ids=["whole", "group"])


def reading(kafka: Kafka, topic: str, group: str | None, **more: Any) -> dict[str, Any]:
    source = {"brokers": [kafka.address], "topics": [topic], **({"group": group} if group else {}), **more}
    return {
        "source": {"kafka": source},
        "schema": {"i": "int"},
        "sink": {"file": {"path": "out.ndjson"}},
        "recovery": FAST,
    }


def numbers(one: Flow) -> list[int]:
    return [row["i"] for row in one.lines("out.ndjson")]


def events(one: Flow, event: str) -> list[dict[str, Any]]:
    return [told for line in one.log().splitlines() if (told := json.loads(line))["event"] == event]


@cache
def admin(kafka: Kafka) -> Any:
    """One for all: what is asked of a client ends with it."""
    from confluent_kafka.admin import AdminClient

    return AdminClient({"bootstrap.servers": kafka.address, "log_level": 0})


def put(kafka: Kafka, topic: str, found: Iterable[tuple[int, int]]) -> None:
    """(partition, number)"""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": kafka.address, "log_level": 0})
    for partition, number in found:
        producer.produce(topic, json.dumps({"i": number}), partition=partition)
    assert producer.flush(60) == 0


def newest(kafka: Kafka, topic: str, number: int) -> int:
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import OffsetSpec

    part = TopicPartition(topic, number)
    return int(admin(kafka).list_offsets({part: OffsetSpec.latest()})[part].result(60).offset)


@GROUPED
@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_a_topic_made_anew_is_read_from_its_beginning(flow: Make, kafka: Kafka, group: str | None, start: str) -> None:
    topic = f"anew-{group}-{start}"
    topic_made(kafka, topic)
    one = flow(reading(kafka, topic, group and topic, start=start)).start()
    one.until(lambda seen: seen["sources"]["in"]["partitions"] == 4, "all partitions")
    if start == "latest":
        until(lambda: put(kafka, topic, [(0, -1)]) or numbers(one), f"the end of the topic\n{one.log()}")
    produced(kafka, topic, 4000)
    until(lambda: set(numbers(one)) >= set(range(4000)), f"every record\n{one.log()}")
    before = len(numbers(one))
    admin(kafka).delete_topics([topic])[topic].result(60)
    until(lambda: topic not in admin(kafka).list_topics(timeout=10).topics, "the topic to be gone")
    topic_made(kafka, topic)
    produced(kafka, topic, 400)
    until(lambda: len(numbers(one)) >= before + 400, f"every record of the new topic\n{one.log()}")
    assert sorted(numbers(one)[before:]) == list(range(400))
    assert {told["partition"] for told in events(one, "topic-shorter")} == {f"{topic}/{n}" for n in range(4)}
    assert one.stop() == 0
    put(kafka, topic, [(0, 1000)])
    one.start()
    until(lambda: numbers(one)[-1] == 1000, f"what came later\n{one.log()}")
    assert len(numbers(one)) == before + 401, "after a restart nothing comes again"


@GROUPED
@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_what_retention_took_before_it_was_read_is_told_and_counted(
    flow: Make, kafka: Kafka, group: str | None, start: str
) -> None:
    from confluent_kafka import TopicPartition

    topic = f"retention-{group}-{start}"
    topic_made(kafka, topic)
    one = flow(reading(kafka, topic, group and topic, start=start)).start()
    one.until(lambda seen: seen["sources"]["in"]["partitions"] == 4, "all partitions")
    until(lambda: put(kafka, topic, [(n, -1) for n in range(4)]) or len(numbers(one)) > 8, f"records\n{one.log()}")
    ends = {n: newest(kafka, topic, n) for n in range(4)}
    read = {f"{topic}/{n}": end for n, end in ends.items()}
    one.until(lambda seen: seen["sources"]["in"]["offsets"] == read, "all of them read")
    assert one.stop() == 0
    before = len(numbers(one))
    produced(kafka, topic, 400)
    cut = [TopicPartition(topic, n, ends[n] + 60) for n in range(4)]
    for done in admin(kafka).delete_records(cut).values():
        done.result(60)
    one.start()
    until(lambda: len(numbers(one)) >= before + 160, f"what is left\n{one.log()}")
    assert sorted(numbers(one)[before:]) == list(range(240, 400)), "all that is left, whatever `start` says"
    one.until(lambda seen: seen["sources"]["in"]["deleted_unread"] == 240, "what was gone, counted")
    told = {told["partition"]: told["count"] for told in events(one, "records-deleted")}
    assert told == {f"{topic}/{n}": 60 for n in range(4)}


@GROUPED
def test_latest_skips_nothing_that_comes_once_the_flow_has_begun(flow: Make, kafka: Kafka, group: str | None) -> None:
    """Neither what comes while the flow is away, to partitions that had nothing yet, nor what is in new partitions."""
    from confluent_kafka.admin import NewPartitions

    topic = f"latest-{group}"
    topic_made(kafka, topic)
    put(kafka, topic, [(n, -1) for n in range(4)])
    one = flow(reading(kafka, topic, group and topic, start="latest")).start()
    one.until(lambda seen: len(seen["sources"]["in"]["offsets"]) == 4, "where each partition is")
    put(kafka, topic, [(0, 0)])
    until(lambda: numbers(one) == [0], f"the first record\n{one.log()}")
    assert one.stop() == 0
    put(kafka, topic, [(n % 4, n) for n in range(1, 41)])
    one.start()
    until(lambda: len(numbers(one)) >= 41, f"what came while the flow was away\n{one.log()}")
    admin(kafka).create_partitions([NewPartitions(topic, 6)])[topic].result(60)
    until(lambda: len(admin(kafka).list_topics(topic, 10).topics[topic].partitions) == 6, "six partitions")
    put(kafka, topic, [(4 + n % 2, n) for n in range(41, 61)])
    until(lambda: len(numbers(one)) >= 61, f"what is in the new partitions\n{one.log()}")
    assert sorted(numbers(one)) == list(range(61))


@GROUPED
def test_gaps_of_transactions_hold_nothing_up(flow: Make, kafka: Kafka, group: str | None) -> None:
    """Each transaction ends with an offset that holds no record, and what was rolled back is not there either."""
    from confluent_kafka import Producer

    topic = f"transactions-{group}"
    topic_made(kafka, topic)
    producer = Producer({"bootstrap.servers": kafka.address, "transactional.id": topic, "log_level": 0, "linger.ms": 0})
    producer.init_transactions(60)
    for i in range(600):
        producer.begin_transaction()
        producer.produce(topic, json.dumps({"i": i}), partition=0)
        if i % 7 == 3:
            assert producer.flush(60) == 0
            producer.abort_transaction()
        else:
            producer.commit_transaction()
    one = flow(reading(kafka, topic, group and topic)).start()
    wanted = [i for i in range(600) if i % 7 != 3]
    until(lambda: len(numbers(one)) >= len(wanted), f"every record\n{one.log()}")
    assert numbers(one) == wanted
    told = one.until(lambda seen: seen["sources"]["in"], "figures")
    assert "read_again" not in told
    assert "deleted_unread" not in told
