"""Records of Kafka topics whose partitions are shared with the other members of a consumer group."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaException, TopicPartition

from streamsd.core.report import JsonValue
from streamsd.flow.spec.sources import KafkaSource
from streamsd.programs.flow.ends import Place
from streamsd.programs.flow.sources.kafka import KafkaIntake, name_of, words

_ASK = 5.0
"""Seconds between two looks whether a broker, and the topics, are there, while something is wrong."""
_LOOK = 30.0
"""The same while all is well; also until partitions that were added are read."""
_TIMEOUT = 1.0


class KafkaGroupIntake(KafkaIntake):
    """A member of a group: the broker says which partitions are read here, and the group's offsets are where. They are
    committed when an epoch is stored. What was given of a partition and not stored when it goes to another member is
    given to that one too: at least once.

    Partitions move one by one (cooperative rebalancing), so that the others are read on meanwhile.
    """

    def __init__(self, spec: KafkaSource, place: Place) -> None:
        super().__init__(spec, place)
        self._joined = False
        self._away = False
        """The brokers, or a topic, could not be had when it was looked last."""
        self._rebalances = 0
        self._next_look = 0.0

    def start(self, position: Any) -> None:
        spec = self.spec
        assert spec.group is not None
        more = {
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": round(spec.session_timeout.seconds * 1000),
            "topic.metadata.refresh.interval.ms": round(_LOOK * 1000),
            "heartbeat.interval.ms": round(spec.session_timeout.seconds * 1000 / 4),
        }
        self.connect(spec.group, more)
        self.consumer.subscribe(
            list(spec.topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    def look(self) -> None:
        """What is wrong, more often when something is, and until it has joined. librdkafka tells nobody that it cannot
        find a coordinator, or that a topic was deleted."""
        now = time.monotonic()
        well = self._joined and not self.fault
        if now < self._next_look - (0.0 if well else _LOOK - _ASK):
            return
        self._next_look = now + _LOOK
        try:
            for topic in self.spec.topics:
                error = self.consumer.list_topics(topic, timeout=_TIMEOUT).topics[topic].error
                if error is not None:
                    raise KafkaException(error)
        except KafkaException as fault:
            self._away = True
            self.fault = self.complaints.lost or f"{','.join(self.spec.brokers)}: {words(fault)}"
            return
        if self._joined or self._away:  # else the group has something against us, which stays true
            self._away = False
            self.mended()

    def _on_assign(self, consumer: Any, parts: Sequence[TopicPartition]) -> None:
        self._joined = True
        self._rebalances += 1
        self.assigned |= {name_of(part): part for part in parts}
        self.mended()

    def _on_revoke(self, consumer: Any, parts: Sequence[TopicPartition]) -> None:
        self._rebalances += 1
        for part in parts:
            name = name_of(part)
            for known in (self.assigned, self.offsets, self.marked, self.committed):
                # An offset of ours that were committed now would set the new member's back.
                known.pop(name, None)
            self.gaps.forget(name)

    def begin(self, topic: str, number: int) -> int | None:
        try:
            (found,) = self.consumer.committed([TopicPartition(topic, number)], timeout=_TIMEOUT)
        except KafkaException:
            return None
        return found.offset if found.offset >= 0 else None

    def begins(self, name: str, oldest: int, newest: int) -> int:
        """A partition that was added to a topic that the group has read before is read from its beginning, also by
        those who begin at the end: nothing of it was seen."""
        if self.spec.start == "latest":
            topic, _, _ = name.rpartition("/")
            told = self.consumer.list_topics(topic, timeout=_TIMEOUT).topics[topic]
            others = [TopicPartition(topic, number) for number in told.partitions]
            if not any(part.offset >= 0 for part in self.consumer.committed(others, timeout=_TIMEOUT)):
                return newest
        return oldest

    def position(self) -> Any:
        super().position()
        return None  # the group's offsets are where it goes on

    def partitions(self) -> Sequence[str] | None:
        return list(self.assigned) if self._joined else None

    def figures(self) -> Mapping[str, JsonValue]:
        return {**super().figures(), "joined": self._joined, "rebalances": self._rebalances}

    def left(self) -> int | None:
        # Where the group stands in a partition is known with its first record.
        return super().left() if self.offsets.keys() >= self.assigned.keys() else None
