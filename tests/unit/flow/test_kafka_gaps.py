"""What librdkafka leaves out is read again; what a topic has not is not waited for. A fake consumer: no real one can be
made to lose a record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pytest

pytest.importorskip("confluent_kafka")

from confluent_kafka import KafkaException

from streamsd.programs.flow.sources.kafka_gaps import SUSPICIOUS, TRIALS, Gaps


class Record:
    def __init__(self, offset: int) -> None:
        self._offset = offset

    def offset(self) -> int:
        return self._offset

    def topic(self) -> str:
        return "t"

    def partition(self) -> int:
        return 0


class Partition:
    """A topic's one partition with these offsets, read from where it is sought, and from its end when that is gone."""

    def __init__(self, offsets: Iterable[int], oldest: int = 0) -> None:
        self.offsets = list(offsets)
        self.oldest = oldest
        self.sought: list[int] = []
        self.away = False
        self._at = 0

    def seek(self, part: Any) -> None:
        self.sought.append(part.offset)
        self._at = part.offset if part.offset >= self.oldest else self.offsets[-1] + 1

    def get_watermark_offsets(self, part: Any, timeout: float) -> tuple[int, int]:
        if self.away:
            raise KafkaException("away")
        return self.oldest, self.offsets[-1] + 1

    def consume(self, most: int, lost: Sequence[int] = ()) -> list[Record]:
        found = [offset for offset in self.offsets if offset >= self._at][:most]
        if found:
            self._at = found[-1] + 1
        return [Record(offset) for offset in found if offset not in lost]


class Reader:
    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.now = 1000.0
        self.gaps = Gaps(self._gone, lambda: self.now)
        self.read: list[int] = []
        self.gone: list[tuple[str, int, int]] = []

    def _gone(self, name: str, wanted: int, oldest: int) -> None:
        self.gone.append((name, wanted, oldest))

    def turn(self, most: int = 10, lost: Sequence[int] = ()) -> None:
        records = self.partition.consume(most, lost)
        wanted = self.read[-1] + 1 if self.read else None
        if records:
            self.read += [r.offset() for r in self.gaps.whole(self.partition, "t/0", wanted, records)]


@pytest.mark.parametrize("lost", [[10], [13], [19], [12, 13, 14], [10, 15]])
def test_what_was_lost_on_the_way_is_read_again(lost: list[int]) -> None:
    partition = Partition(range(50))
    reader = Reader(partition)
    reader.turn()
    reader.turn(lost=lost)
    while len(reader.read) < 50:
        reader.turn()
    assert reader.read == list(range(50))
    assert partition.sought == [lost[0]]
    assert (reader.gaps.mended, reader.gaps.own) == (1, 0)


def test_what_a_topic_has_not_is_asked_for_once_and_soon_believed() -> None:
    offsets = [offset for offset in range(400) if offset % 10]
    partition = Partition(offsets)
    reader = Reader(partition)
    for _ in range(60):
        reader.turn()
    assert reader.read == offsets
    assert len(partition.sought) == reader.gaps.own == TRIALS
    assert reader.gaps.mended == 0

    # after a fault of the broker nothing is believed again, for a while
    partition.offsets += [offset for offset in range(400, 500) if offset % 10]
    reader.gaps.trouble()
    reader.turn()
    reader.turn(lost=[403])
    for _ in range(30):
        reader.turn()
    assert reader.read == partition.offsets
    assert reader.gaps.mended == 1
    reader.now += SUSPICIOUS + 1
    before = len(partition.sought)
    partition.offsets += [offset for offset in range(501, 600) if offset % 10]
    for _ in range(30):
        reader.turn()
    assert reader.read == partition.offsets
    assert len(partition.sought) == before


def test_what_was_deleted_for_its_age_is_not_sought_and_a_broker_without_time_is_asked_later() -> None:
    partition = Partition([*range(10), *range(30, 60)], oldest=30)
    reader = Reader(partition)
    reader.turn()
    reader.turn()
    assert reader.read[10:] == list(range(30, 40))
    assert not partition.sought
    assert reader.gone == [("t/0", 10, 30)], "it is told"

    partition.away = True
    reader.turn(lost=[42])
    reader.turn(5)
    assert reader.read[-1] == 41, "nothing is given that has a gap before it"
    partition.away = False
    for _ in range(6):
        reader.turn()
    assert reader.read[10:] == list(range(30, 60))


def test_many_gaps_are_asked_for_at_once_while_a_broker_is_suspected() -> None:
    """Of a topic of transactions, which has a gap behind each: not once for every one of them."""
    partition = Partition(range(0, 400, 2))
    reader = Reader(partition)
    reader.gaps.trouble()
    for _ in range(60):
        reader.turn(20)
    assert reader.read == partition.offsets
    assert len(partition.sought) <= 2 * len(partition.offsets) / 20, "a batch, and what is between two"
    partition.offsets += range(400, 480, 2)
    reader.turn(20, lost=[404, 420])
    for _ in range(20):
        reader.turn(20)
    assert reader.read == partition.offsets, "what is lost among them is still missed"
