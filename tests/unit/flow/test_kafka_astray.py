"""Partitions whose next offset is not there. A fake consumer: no broker answers for one partition alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("confluent_kafka")

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from streamsd.flow.layout import Layout
from streamsd.flow.spec.flow import FlowSpec
from streamsd.programs.flow.ends import Place
from streamsd.programs.flow.life import Life
from streamsd.programs.flow.sources.kafka import KafkaWholeIntake
from streamsd.programs.flow.sources.kafka_astray import Astray


class Record:
    def __init__(self, number: int, offset: int, missing: bool = False) -> None:
        self._number, self._offset, self._missing = number, offset, missing

    def topic(self) -> str:
        return "t"

    def partition(self) -> int:
        return self._number

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes:
        return b"%d" % self._offset

    def __len__(self) -> int:
        return len(self.value())

    def error(self) -> KafkaError | None:
        return KafkaError(KafkaError._AUTO_OFFSET_RESET) if self._missing else None


class Consumer:
    """Of a topic whose partitions have these offsets, (oldest, newest). `away`: those that the broker does not tell
    of. `comes`: what it gives next. `put`: where partitions were put, by their number."""

    def __init__(self, ends: dict[int, tuple[int, int]]) -> None:
        self.ends = ends
        self.now = 1000.0
        self.away: set[int] = set()
        self.comes: list[Record] = []
        self.put: dict[int, int] = {}

    def consume(self, most: int, timeout: float) -> list[Record]:
        found, self.comes = self.comes, []
        return found

    def get_watermark_offsets(self, part: TopicPartition, timeout: float, cached: bool = True) -> tuple[int, int]:
        if part.partition in self.away:
            raise KafkaException("away")
        return self.ends[part.partition]

    def incremental_unassign(self, parts: list[TopicPartition]) -> None:
        pass

    def incremental_assign(self, parts: list[TopicPartition]) -> None:
        self.put |= {part.partition: part.offset for part in parts}


class Intake(KafkaWholeIntake):
    def look(self) -> None:
        """Which partitions there are is known."""


Make = Callable[[Consumer, dict[int, int]], Intake]


@pytest.fixture
def reading(tmp_path: Path) -> Make:
    def make(consumer: Consumer, offsets: dict[int, int]) -> Intake:
        kafka = {"brokers": ["127.0.0.1:9"], "topics": ["t"]}
        spec = FlowSpec.model_validate({"source": {"kafka": kafka}, "sink": {"discard": {}}})
        source = spec.all_sources["in"].kafka
        assert source is not None
        place = Place("t", tmp_path, tmp_path, Life(), Layout(spec), 0)
        made = Intake(source, place, lambda name: True)
        made.consumer = consumer
        made.astray = Astray(lambda: consumer.now)
        made.offsets = {f"t/{number}": offset for number, offset in offsets.items()}
        made.assigned = {f"t/{number}": TopicPartition("t", number) for number in offsets}
        return made

    return make


def read(intake: Intake) -> dict[str, list[int]]:
    return {chunk.partition: [int(message) for message in chunk.messages] for chunk in intake.poll(1000)}


def test_records_that_came_before_the_gap_are_taken_and_what_is_gone_counts_from_behind_them(reading: Make) -> None:
    consumer = Consumer({0: (30, 50)})
    intake = reading(consumer, {0: 10})
    consumer.comes = [*(Record(0, offset) for offset in range(10, 20)), Record(0, 20, missing=True)]
    assert read(intake) == {"t/0": list(range(10, 20))}
    assert consumer.put == {0: 30}
    assert intake.figures()["deleted_unread"] == 10
    consumer.comes = [Record(0, 30)]
    assert read(intake) == {"t/0": [30]}


def test_a_topic_made_anew_is_read_from_its_beginning_also_where_the_broker_tells_of_one_partition_only(
    reading: Make,
) -> None:
    consumer = Consumer({0: (0, 5), 1: (0, 5)})
    intake = reading(consumer, {0: 100, 1: 100})
    consumer.away = {1}
    consumer.comes = [Record(0, 100, missing=True), Record(1, 100, missing=True)]
    assert read(intake) == {}
    assert consumer.put == {0: 0}
    assert "away" in intake.fault
    consumer.comes = [Record(0, offset) for offset in range(5)]
    assert read(intake) == {"t/0": list(range(5))}
    consumer.away = set()
    consumer.now += 1.0
    assert read(intake) == {}
    assert consumer.put == {0: 0, 1: 0}
    consumer.comes = [Record(1, offset) for offset in range(5)]
    assert read(intake) == {"t/1": list(range(5))}
