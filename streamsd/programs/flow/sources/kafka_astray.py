"""Partitions whose next offset their topic does not have.

Its records were deleted for their age before they were read, or the topic was deleted and made anew, so that it is
shorter than what was read of it. librdkafka would go on at the topic's beginning or its end and tell nobody
(`auto.offset.reset`); set to `error` it says so, and gives nothing of the partition until it is put somewhere. A member
of a group hears the same of a partition that the group has no offset of yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from confluent_kafka import KafkaException, TopicPartition

from streamsd.programs.flow.telling import log

_TIMEOUT = 2.0
"""Seconds in which a broker says which offsets there are."""
_AGAIN = 1.0
"""Seconds until a broker that did not answer is asked again."""


class Astray:
    """Of one consumer. `deleted`: how many records were gone before they were read."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: dict[str, int | None] = {}
        self._next = 0.0
        self.deleted = 0

    def add(self, name: str, wanted: int | None) -> None:
        """A partition's next offset, `wanted`, is not there; None: it has none."""
        self._waiting[name] = wanted

    def settle(
        self,
        consumer: Any,
        assigned: Mapping[str, TopicPartition],
        offsets: MutableMapping[str, int],
        begins: Callable[[str, int, int], int],
    ) -> None:
        """Put those that wait where they go on, and write in `offsets` what comes next of each. `assigned`: what is
        read here. `begins(name, oldest, newest)`: the offset at which a partition without one begins, `newest` being
        that of the next record to come. KafkaException while the broker has no time: those that are left wait until a
        later call."""
        now = self._clock()
        if not self._waiting or now < self._next:
            return
        self._next = now + _AGAIN
        for name, wanted in list(self._waiting.items()):
            part = assigned.get(name)
            if part is not None:
                # At once, whatever becomes of the others: records before the offset that is known are passed over.
                offsets[name] = self._put(consumer, TopicPartition(part.topic, part.partition), wanted, begins, name)
            del self._waiting[name]
        self._next = 0.0

    def _put(
        self, consumer: Any, part: TopicPartition, wanted: int | None, begins: Callable[[str, int, int], int], name: str
    ) -> int:
        found = consumer.get_watermark_offsets(part, timeout=_TIMEOUT, cached=False)
        if found is None:
            raise KafkaException(f"{name}: its offsets are not known")
        oldest, newest = found
        if wanted is None:
            part.offset = begins(name, oldest, newest)
        elif oldest <= wanted <= newest:
            part.offset = wanted  # it grew meanwhile
        else:
            part.offset = oldest
        # A partition in this state cannot be sought in.
        consumer.incremental_unassign([part])
        consumer.incremental_assign([part])
        if wanted is not None and wanted < oldest:
            self.gone(name, wanted, oldest)
        elif wanted is not None and wanted > newest:
            log("topic-shorter", partition=name, read=wanted, newest=newest, next=oldest)
        return int(part.offset)

    def gone(self, name: str, wanted: int, oldest: int) -> None:
        """Records were deleted before they were read here: those from `wanted` up to `oldest`, which is there."""
        self.deleted += oldest - wanted
        log("records-deleted", partition=name, count=oldest - wanted, next=oldest)
