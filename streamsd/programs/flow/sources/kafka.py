"""Records of Kafka topics, with librdkafka: all partitions of them, their offsets being part of the flow's state, so
that each record counts once. `kafka_group` shares them with others."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, overload

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from streamsd.core.report import JsonValue
from streamsd.flow.pipeline import Chunk
from streamsd.flow.spec.sources import KafkaSource
from streamsd.programs.flow.ends import Place
from streamsd.programs.flow.intake import MOST_AT_ONCE, Intake
from streamsd.programs.flow.kafka_options import Complaints, options
from streamsd.programs.flow.life import Backoff
from streamsd.programs.flow.sources.kafka_astray import Astray
from streamsd.programs.flow.sources.kafka_gaps import Gaps

_LOOK = 30.0
"""Seconds between two looks for partitions that were added."""
_LOOK_LOST = 5.0
"""The same while no broker can be reached: whether one is back."""
_TIMEOUT = 5.0


class KafkaIntake(Intake):
    """What both ways to read have in common. `assigned`: the partitions that are read here, by name."""

    in_parts = True

    def __init__(self, spec: KafkaSource, place: Place) -> None:
        self.spec = spec
        self.place = place
        self.consumer: Any = None
        self.assigned: dict[str, TopicPartition] = {}
        self.offsets: dict[str, int] = {}
        """The next offset of each partition, after everything that was given."""
        self.marked: dict[str, int] = {}
        """The same when the newest position was taken."""
        self.committed: dict[str, int] = {}
        self._at_once = 1000
        self.astray = Astray()
        self.gaps = Gaps(self.astray.gone)
        self.complaints = Complaints(spec.brokers, self.gaps.trouble)

    def connect(self, group: str, more: Mapping[str, object]) -> None:
        """Make the consumer. Nothing is asked of a broker yet."""
        self.consumer = Consumer(
            {
                **self.common(),
                "group.id": group,
                "enable.auto.commit": False,
                # What is done about it is `Astray`'s.
                "auto.offset.reset": "error",
                "queued.max.messages.kbytes": 65536,
                "fetch.wait.max.ms": 50,
                # After its queue was full librdkafka waits, for a second as it comes: a topic of 93-byte records was
                # read at 0.12 to 0.16 M/s with that, at 0.4 M/s with this (measured).
                "fetch.queue.backoff.ms": 20,
                "on_commit": self._on_commit,
                **more,
            }
        )

    def common(self) -> dict[str, Any]:
        """What every client of the source is told."""
        spec = self.spec
        told = options(spec.brokers, spec.login, spec.mechanism, spec.tls, self.place.base)
        return {**told, "error_cb": self.complaints}

    @abstractmethod
    def look(self) -> None:
        """See which partitions are to be read. What is in the way becomes `fault`."""

    def poll(self, most: int) -> list[Chunk]:
        self.look()
        by_partition: dict[tuple[str, int], list[Any]] = {}
        found = self.consumer.consume(min(most, self._at_once), timeout=0)
        if found:
            # librdkafka does not count bytes: the next ones are taken to be like these.
            self._at_once = max(1, MOST_AT_ONCE * len(found) // max(1, sum(map(len, found))))
        astray: list[Any] = []
        for record in found:
            error = record.error()
            if error is not None:
                if error.code() == KafkaError._AUTO_OFFSET_RESET:
                    astray.append(record)
                else:
                    self.fault = error.str()
                continue
            at = (record.topic(), record.partition())
            if at in by_partition:
                by_partition[at].append(record)
            else:
                by_partition[at] = [record]
        chunks = []
        for (topic, number), records in by_partition.items():
            name = f"{topic}/{number}"
            if name not in self.assigned:
                continue  # it went to another member a moment ago, who is given the records
            wanted = self.offsets[name] if name in self.offsets else self.begin(topic, number)
            whole = self.gaps.whole(self.consumer, name, wanted, records)
            if whole:
                self.offsets[name] = whole[-1].offset() + 1
                chunks.append(Chunk(name, [record.value() or b"" for record in whole], _Metas(whole)))
        if chunks:
            self.mended()
        elif self.complaints.lost:
            self.fault = self.complaints.lost
        self._settle(astray)
        return chunks

    def _settle(self, astray: Sequence[Any]) -> None:
        """Put the partitions that have come astray where they go on, once the records from before that are taken: the
        offset that is missing is the one behind these."""
        for record in astray:
            name = f"{record.topic()}/{record.partition()}"
            self.astray.add(name, self.offsets.get(name, record.offset()))
        try:
            self.astray.settle(self.consumer, self.assigned, self.offsets, self.begins)
        except KafkaException as fault:
            self.fault = f"{','.join(self.spec.brokers)}: {words(fault)}"

    def begins(self, name: str, oldest: int, newest: int) -> int:
        """The offset at which a partition is begun that none is known of. `newest`: of the next record to come."""
        return newest if self.spec.start == "latest" else oldest

    def begin(self, topic: str, number: int) -> int | None:
        """The offset of the first record of a partition, where it is known beforehand."""
        return None

    def mended(self) -> None:
        self.complaints.mended()
        self.fault = ""

    def position(self) -> Any:
        self.marked = dict(self.offsets)
        return self.marked

    def stored(self) -> None:
        moved = {name: offset for name, offset in self.marked.items() if self.committed.get(name) != offset}
        if moved and self.consumer is not None:
            self.consumer.commit(offsets=[part_of(name, offset) for name, offset in moved.items()], asynchronous=True)
            self.committed.update(moved)

    def _on_commit(self, fault: Any, parts: Sequence[TopicPartition]) -> None:
        for part in parts:
            if fault is not None or part.error is not None:
                # Once more with the next epoch: nothing depends on it but how much is read again.
                self.committed.pop(name_of(part), None)

    def figures(self) -> Mapping[str, JsonValue]:
        told: dict[str, JsonValue] = {"partitions": len(self.assigned), "offsets": dict(self.offsets)}
        told |= {"read_again": self.gaps.mended} if self.gaps.mended else {}
        return told | ({"deleted_unread": self.astray.deleted} if self.astray.deleted else {})

    def left(self) -> int | None:
        """As far as the brokers told with the last records: the newest offset of each partition."""
        consumer, left = self.consumer, 0
        if consumer is None:
            return None
        try:
            for name, part in list(self.assigned.items()):
                oldest, newest = consumer.get_watermark_offsets(part, cached=True) or (0, -1)
                if newest < 0:
                    return None
                left += max(0, newest - self.offsets.get(name, oldest))
        except (KafkaException, RuntimeError):
            return None  # it is closed just now
        return left

    def close(self) -> None:
        if self.consumer is not None:
            self.consumer.close()
            self.consumer = None


class KafkaWholeIntake(KafkaIntake):
    """Partitions are taken by assignment: all of them, or, of a flow of several processes, those for which `mine` is
    true. The position is the next offset of each; it is committed too, so that lag can be seen with Kafka's tools."""

    def __init__(self, spec: KafkaSource, place: Place, mine: Callable[[str], bool]) -> None:
        super().__init__(spec, place)
        self._mine = mine
        self._looked: float | None = None
        self._anew = True
        """Nothing was read before."""
        self._looking: Future[list[TopicPartition]] | None = None
        self._asks: Any = None
        self._backoff = Backoff(0.2, 10.0)
        self._next_try = 0.0

    def start(self, position: Any) -> None:
        self.offsets = dict(position or {})
        self._anew = not self.offsets
        self.connect(f"streamsd.{self.place.name}", {})
        self._asks = AdminClient(self.common())

    def look(self) -> None:
        now = time.monotonic()
        look = _LOOK_LOST if self.complaints.lost else _LOOK
        if self._looking is None:
            if now >= self._next_try and (self._looked is None or now - self._looked >= look):
                self._looking = self._begin_look()
            return
        if not self._looking.done():
            return
        asked, self._looking = self._looking, None
        first = self._looked is None
        try:
            found = asked.result()
            fresh = [part for part in found if name_of(part) not in self.assigned and self._mine(name_of(part))]
            for part in fresh:
                part.offset = self._offset(part, first)
        except KafkaException as fault:
            self._asks.poll(0)  # what it has to complain of is told in calls like this one
            self.fault = self.complaints.lost or f"{','.join(self.spec.brokers)}: {words(fault)}"
            self._next_try = now + (self._backoff.next() or 0.2)
            return
        self._looked = now
        self._backoff.reset()
        if fresh:
            if self.assigned:
                self.consumer.incremental_assign(fresh)
            else:
                self.consumer.assign(fresh)
            self.assigned |= {name_of(part): part for part in fresh}
        self.mended()

    def _offset(self, part: TopicPartition, first: bool) -> int:
        """Where a partition is begun. One that came later is read from its beginning: nothing of it was seen."""
        name = name_of(part)
        if name not in self.offsets and first and self._anew and self.spec.start == "latest":
            found = self.consumer.get_watermark_offsets(part, timeout=_TIMEOUT, cached=False)
            if found is None:
                raise KafkaException(f"{name}: its offsets are not known")
            # Kept from now on: what comes while the flow is away, to a partition that had nothing yet, counts.
            self.offsets[name] = found[1]
        return self.offsets.get(name, OFFSET_BEGINNING)

    def _begin_look(self) -> Future[list[TopicPartition]]:
        """In a thread of its own, and with a client of its own: while a broker that is away is waited for, nothing else
        can be had of the same client (measured), and the flow would stand still."""
        made: Future[list[TopicPartition]] = Future()

        def ask() -> None:
            try:
                made.set_result(self._partitions())
            except Exception as fault:  # noqa: BLE001  # it is raised where it is asked for
                made.set_exception(fault)

        threading.Thread(target=ask, name="kafka-look", daemon=True).start()
        return made

    def _partitions(self) -> list[TopicPartition]:
        made = []
        for topic in self.spec.topics:
            told = self._asks.list_topics(topic, timeout=_TIMEOUT).topics[topic]
            if told.error is not None:
                raise KafkaException(told.error)
            made += [TopicPartition(topic, number) for number in told.partitions]
        return made

    def partitions(self) -> Sequence[str] | None:
        return None if self._looked is None else list(self.assigned)


def words(fault: KafkaException) -> str:
    """What a call says was wrong."""
    told = fault.args[0]
    return str(told.str() if isinstance(told, KafkaError) else told)


def name_of(part: TopicPartition) -> str:
    """`topic/3`."""
    return f"{part.topic}/{part.partition}"


def part_of(name: str, offset: int) -> TopicPartition:
    """The inverse, at an offset."""
    topic, _, number = name.rpartition("/")
    return TopicPartition(topic, int(number), offset)


class _Metas(Sequence[dict[str, str]]):
    """What records say beside their values, made only when it is asked for: most flows ask for none of it."""

    __slots__ = ("_records",)

    def __init__(self, records: Sequence[Any]) -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, place: int) -> dict[str, str]: ...

    @overload
    def __getitem__(self, place: slice) -> _Metas: ...

    def __getitem__(self, place: int | slice) -> dict[str, str] | _Metas:
        if isinstance(place, slice):
            return _Metas(self._records[place])
        record = self._records[place]
        key = record.key()
        return {
            "topic": record.topic(),
            "partition": str(record.partition()),
            "offset": str(record.offset()),
            **({"key": key.decode(errors="replace")} if key is not None else {}),
        }
