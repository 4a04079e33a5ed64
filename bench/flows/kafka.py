"""Kafka to Kafka: one broker in KRaft mode on the same machine, and beside the flow a loop of librdkafka by hand."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.figures import Figure
from bench.flows.latency import cpu_seconds
from bench.flows.messages import SCHEMA, make
from tests.e2e.flow import certificates, kafka_broker
from tests.e2e.flow.processes import Flow

PARTITIONS = 4
PATIENCE = 180.0


def figures(directory: Path, quick: bool) -> Iterator[Figure]:
    if not (shutil.which("java") and shutil.which("mvn")):
        return
    count = 100_000 if quick else 1_000_000
    home, tls = directory / "kafka", directory / "tls"
    home.mkdir()
    tls.mkdir()
    with kafka_broker.kafka(home, certificates.make(tls)) as kafka:
        _topics(kafka.address, ["in", "out", "hand"])
        _fill(kafka.address, make(count))
        _by_hand(kafka.address, count)  # a young JVM is slow
        rate, per_core = _flow(directory / "kafka-flow", kafka.address, count)
        by_hand = _by_hand(kafka.address, count)
    note = f"{per_core / 1e3:.0f}k a CPU second of the flow; consumed, decoded, mapped, produced and acknowledged"
    yield Figure("Kafka to flow to Kafka", rate / 1e3, "k/s", ">= 200k/s", note)
    yield Figure("the same by hand: consume and produce, nothing decoded", by_hand / 1e3, "k/s")


def _topics(address: str, names: Sequence[str]) -> None:
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
    for made in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names]).values():
        made.result(60)


def _fill(address: str, messages: Sequence[bytes]) -> None:
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": address, "log_level": 0, "linger.ms": 50, "batch.size": 1 << 20})
    for number, message in enumerate(messages):
        while True:
            try:
                producer.produce("in", message, partition=number % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.1)
    assert producer.flush(120) == 0


def _counter(address: str, topic: str) -> Callable[[], int]:
    """Records in a topic, by the offsets of its partitions."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": address, "group.id": "count", "log_level": 0})

    def count() -> int:
        ends = [consumer.get_watermark_offsets(TopicPartition(topic, part), 30) for part in range(PARTITIONS)]
        return sum(newest - oldest for oldest, newest in ends)

    return count


def _flow(directory: Path, address: str, count: int) -> tuple[float, float]:
    """(messages a second, messages a CPU second), from the first that came in to all acknowledged by the broker."""
    mapped = {"device": "device", "temp_f": "temp_c * 1.8 + 32", "ts": "ts"}
    spec: dict[str, Any] = {
        "source": {"kafka": {"brokers": [address], "topics": ["in"]}},
        "schema": SCHEMA,
        "steps": [{"map": mapped}],
        "sink": {"kafka": {"brokers": [address], "topic": "out"}},
        "recovery": {"epoch": "1s"},
    }
    counted = _counter(address, "out")
    one = Flow(directory, spec).start()
    one.until(lambda seen: seen["sources"]["in"]["messages"] > 0, "the first record")
    assert one.process is not None
    began, before = time.monotonic(), cpu_seconds(one.process.pid)
    already = one.observed()["sources"]["in"]["messages"]
    end = began + PATIENCE
    while (written := counted()) < count and time.monotonic() < end:
        time.sleep(0.1)
    passed, spent = time.monotonic() - began, cpu_seconds(one.process.pid) - before
    assert written == count, f"{written} of {count} came out"
    one.stop()
    return (count - already) / passed, (count - already) / spent


def _by_hand(address: str, count: int) -> float:
    """What a loop of the same library does that hands each value on as it is."""
    from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

    settings = {"bootstrap.servers": address, "log_level": 0}
    tuned = {"queued.max.messages.kbytes": 65536, "fetch.queue.backoff.ms": 20}
    consumer = Consumer({**settings, "group.id": "hand", **tuned})
    producer = Producer({**settings, "enable.idempotence": True, "linger.ms": 5})
    consumer.assign([TopicPartition("in", part, OFFSET_BEGINNING) for part in range(PARTITIONS)])
    done, began = 0, 0.0
    while done < count:
        records = consumer.consume(10_000, 0.1)
        began = began or time.monotonic()
        for record in records:
            while True:
                try:
                    producer.produce("hand", record.value())
                    break
                except BufferError:
                    producer.poll(0.05)
        producer.poll(0)
        done += len(records)
    assert producer.flush(120) == 0
    consumer.close()
    return count / (time.monotonic() - began)
