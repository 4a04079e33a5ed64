"""Records of Kafka topics, with librdkafka. Offsets are part of the flow's state, so that each record counts once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException, TopicPartition

from streamsd.core.report import JsonValue
from streamsd.flow.pipeline import Chunk
from streamsd.flow.spec.sources import KafkaSource
from streamsd.programs.flow.ends import Place
from streamsd.programs.flow.intake import Intake
from streamsd.programs.flow.kafka_options import Complaints, options
from streamsd.programs.flow.life import Backoff

_LOOK = 30.0
"""Seconds between two looks for partitions that were added."""
_LOOK_LOST = 5.0
"""The same while no broker can be reached: whether one is back."""
_TIMEOUT = 5.0


class KafkaIntake(Intake):
    """Partitions are taken by assignment: all of them, or, of a flow of several processes, those for which `mine` is
    true. Two flows of one group would each get everything. The position is the next offset of each partition; it is
    committed too, so that lag can be watched with Kafka's own tools."""

    in_parts = True

    def __init__(self, spec: KafkaSource, place: Place, mine: Callable[[str], bool]) -> None:
        self._spec = spec
        self._mine = mine
        self._place = place
        self._consumer: Any = None
        self._offsets: dict[str, int] = {}
        self._marked: dict[str, int] = {}
        self._committed: dict[str, int] = {}
        self._assigned: dict[str, TopicPartition] = {}
        self._looked: float | None = None
        self._backoff = Backoff(0.2, 10.0)
        self._complaints = Complaints(spec.brokers)
        self._next_try = 0.0

    def start(self, position: Any) -> None:
        self._offsets = dict(position or {})
        settings = options(self._spec.brokers, self._spec.login, self._spec.mechanism, self._spec.tls, self._place.base)
        self._consumer = Consumer(
            {
                **settings,
                "group.id": self._spec.group,
                "enable.auto.commit": False,
                "auto.offset.reset": self._spec.start,
                "queued.max.messages.kbytes": 65536,
                "fetch.wait.max.ms": 50,
                "error_cb": self._complaints,
            }
        )

    def _look(self) -> None:
        """Assign what partitions there are."""
        now = time.monotonic()
        look = _LOOK_LOST if self._complaints.lost else _LOOK
        if now < self._next_try or (self._looked is not None and now - self._looked < look):
            return
        try:
            found = self._partitions()
        except KafkaException as fault:
            self._consumer.poll(0)  # what it has to complain of is told in calls like this one
            self.fault = self._complaints.lost or f"{','.join(self._spec.brokers)}: {fault.args[0].str()}"
            self._next_try = now + (self._backoff.next() or 0.2)
            return
        first, self._looked = self._looked is None, now
        self._backoff.reset()
        fresh = [part for part in found if _name(part) not in self._assigned and self._mine(_name(part))]
        for part in fresh:
            known = self._offsets.get(_name(part))
            # A partition that came later is read from its beginning: nothing of it was seen.
            begin = OFFSET_END if self._spec.start == "latest" and first else OFFSET_BEGINNING
            part.offset = known if known is not None else begin
        if fresh:
            if self._assigned:
                self._consumer.incremental_assign(fresh)
            else:
                self._consumer.assign(fresh)
            self._assigned |= {_name(part): part for part in fresh}
        self._mended()

    def _mended(self) -> None:
        self._complaints.mended()
        self.fault = ""

    def _partitions(self) -> list[TopicPartition]:
        made = []
        for topic in self._spec.topics:
            told = self._consumer.list_topics(topic, timeout=_TIMEOUT if not self._assigned else 1.0).topics[topic]
            if told.error is not None:
                raise KafkaException(told.error)
            made += [TopicPartition(topic, number) for number in told.partitions]
        return made

    def poll(self, most: int) -> list[Chunk]:
        self._look()
        if not self._assigned:
            return []
        by_partition: dict[str, tuple[list[bytes], list[Any]]] = {}
        for record in self._consumer.consume(most, timeout=0):
            error = record.error()
            if error is not None:
                self.fault = error.str()
                continue
            name = f"{record.topic()}/{record.partition()}"
            messages, metas = by_partition.setdefault(name, ([], []))
            messages.append(record.value() or b"")
            key = record.key()
            metas.append(
                {
                    "topic": record.topic(),
                    "partition": str(record.partition()),
                    "offset": str(record.offset()),
                    **({"key": key.decode(errors="replace")} if key is not None else {}),
                }
            )
            self._offsets[name] = record.offset() + 1
        if by_partition:
            self._mended()
        elif self._complaints.lost:
            self.fault = self._complaints.lost
        return [Chunk(name, messages, metas) for name, (messages, metas) in by_partition.items()]

    def partitions(self) -> Sequence[str] | None:
        return None if self._looked is None else list(self._assigned)

    def position(self) -> Any:
        self._marked = dict(self._offsets)
        return self._marked

    def stored(self) -> None:
        moved = {name: offset for name, offset in self._marked.items() if self._committed.get(name) != offset}
        if moved and self._consumer is not None:
            parts = []
            for name, offset in moved.items():
                topic, _, number = name.rpartition("/")
                parts.append(TopicPartition(topic, int(number), offset))
            self._consumer.commit(offsets=parts, asynchronous=True)
            self._committed.update(moved)

    def figures(self) -> Mapping[str, JsonValue]:
        return {"partitions": len(self._assigned), "offsets": dict(self._offsets)}

    def left(self) -> int | None:
        """As far as the brokers told with the last records: the newest offset of each partition."""
        consumer, left = self._consumer, 0
        if consumer is None:
            return None
        try:
            for name, part in list(self._assigned.items()):
                oldest, newest = consumer.get_watermark_offsets(part, cached=True) or (0, -1)
                if newest < 0:
                    return None
                left += max(0, newest - self._offsets.get(name, oldest))
        except (KafkaException, RuntimeError):
            return None  # it is closed just now
        return left

    def close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None


def _name(part: TopicPartition) -> str:
    return f"{part.topic}/{part.partition}"
