"""Records of a partition that are missing between two others.

Offsets may leave some out: those of transactions' ends, and of what a compacted topic has let go. But librdkafka lost
records too: its batch consumer (2.x, measured) dropped the first record that it gave after its broker had been away, in
about one of eight such outages, and told nobody. So what is missing is asked for once more; what is missing then as
well is not there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

from confluent_kafka import KafkaException, TopicPartition

TRIALS = 8
"""Gaps that turned out to be the topic's own before they are believed at once, as long as all is well: a topic of
transactions has one behind each."""

SUSPICIOUS = 120.0
"""Seconds after a fault of a broker in which every gap is asked for again."""

_TIMEOUT = 2.0


class Gaps:
    """Of one consumer. `own`: gaps that were there the second time too, `mended`: those that were not."""

    def __init__(self, gone: Callable[[str, int, int], None], clock: Callable[[], float] = time.monotonic) -> None:
        """`gone` hears of records that were deleted before they were read: the partition, and the offsets that came
        next and that is the oldest now."""
        self._gone = gone
        self._clock = clock
        self._asked: dict[str, int] = {}
        """The offset that a partition is read again from."""
        self._seen: dict[str, set[tuple[int, int]]] = {}
        """The gaps behind it as they were seen: one that is there the second time too is the topic's own. A topic of
        transactions has one behind each, and asking for every one costs a tenth of a second."""
        self._trouble = -SUSPICIOUS
        self.own = 0
        self.mended = 0

    def trouble(self) -> None:
        """A broker is away, or was."""
        self._trouble = self._clock()

    def forget(self, name: str) -> None:
        """A partition is not read here any more."""
        self._asked.pop(name, None)
        self._seen.pop(name, None)

    def whole(self, consumer: Any, name: str, wanted: int | None, records: Sequence[Any]) -> Sequence[Any]:
        """The records up to where one is missing; from there the partition is read again. `name`: the partition's.
        `wanted`: the offset that comes next, None when nothing was read yet. The records are of one partition, in
        order."""
        first, last = records[0].offset(), records[-1].offset()
        if name not in self._asked and wanted in (None, first) and last - first == len(records) - 1:
            return records
        wanted = first if wanted is None else wanted
        whole: list[Any] = []
        for record in records:
            offset = record.offset()
            if offset < wanted:
                continue  # it came before the partition was read again
            if self._asked.get(name) == wanted:
                del self._asked[name]
                self.mended += offset == wanted
                self.own += offset > wanted
            elif offset > wanted and (wanted, offset) in self._seen.get(name, ()):
                self.own += 1
            elif offset > wanted and not self._believed(consumer, record, name, wanted):
                offsets = [later.offset() for later in records if later.offset() >= offset]
                self._seen[name] = {(one + 1, other) for one, other in pairwise(offsets) if other > one + 1}
                break
            whole.append(record)
            wanted = offset + 1
        return whole

    def _believed(self, consumer: Any, record: Any, name: str, wanted: int) -> bool:
        """Whether what is missing before a record is not there; else it is read again, now or, when the broker has no
        time, once what comes next has the same gap before it."""
        if self.own >= TRIALS and self._clock() - self._trouble > SUSPICIOUS:
            return True
        part = TopicPartition(record.topic(), record.partition(), wanted)
        with suppress(KafkaException):
            oldest, _ = consumer.get_watermark_offsets(part, timeout=_TIMEOUT) or (wanted, 0)
            if oldest > wanted:
                self._gone(name, wanted, min(oldest, record.offset()))
                return True
            consumer.seek(part)
            self._asked[name] = wanted
        return False
