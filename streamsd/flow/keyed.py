"""The front of what looks at single messages by key: session windows and joins.

Messages go to the shards with the watermark as it was when they came, so that a shard decides what is late or over
exactly as if it saw them one by one. The shards are told of the watermark in steps of a part of the span they wait for:
that decides only how soon a result is sent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from streamsd.flow.stored import dump, load
from streamsd.flow.watermark import FAR, UNKNOWN, Clock
from streamsd.flow.windows import SHARDS, shard_of


@dataclass(frozen=True, slots=True)
class KeyedWork:
    """Messages `(key, ticks, watermark, side, value, raw)` in order, then the watermark, or None."""

    rows: list[tuple[Any, ...]]
    watermark: int | None

    def plain(self) -> tuple[Any, ...]:
        """As it is written down."""
        return self.rows, self.watermark


class KeyedShard(ABC):
    """A shard that says what is over at once."""

    due = False

    @abstractmethod
    def apply(self, work: Any) -> list[Any]:
        """Take messages in; what that comes to."""

    def redo(self, plain: tuple[Any, ...]) -> None:
        """Apply what `KeyedWork.plain` wrote down."""
        self.apply(KeyedWork(*plain))

    def drain(self, most: int) -> list[Any]:
        return []


class KeyedFront:
    """`span`: ticks after which a message can have no effect any more (gap or distance, and lateness)."""

    def __init__(self, span: int, clock: Clock) -> None:
        self._span = span
        self._quantum = max(1, span // 16)
        self._clock = clock
        self._partition = ""
        self.cap = FAR
        self.floor = UNKNOWN
        """The watermark that was told last: it never goes back."""
        self._next = UNKNOWN
        self._newest: dict[int, int] = {}
        self._rows: dict[int, list[tuple[Any, ...]]] = {}
        self._work: list[tuple[int, KeyedWork]] = []
        self.late = 0
        self.everywhere = False
        """See `PaneFront.everywhere`."""
        self.until = UNKNOWN
        """See `PaneFront.until`."""

    # --- called by the loop

    def begin(self, partition: str) -> tuple[int, int]:
        """(the partition's greatest time, the time at which to call `cross`)."""
        self._partition = partition
        self.cap = self._clock.others(partition)
        return self._clock.greatest(partition), self._threshold()

    def add(self, key: Hashable, ticks: int, watermark: int, side: int, value: Any, raw: bytes | None) -> None:
        shard = shard_of(key)
        rows = self._rows.get(shard)
        row = (key, ticks, watermark, side, value, raw)
        if rows is None:
            self._rows[shard] = [row]
        else:
            rows.append(row)
        if ticks > self._newest.get(shard, UNKNOWN):
            self._newest[shard] = ticks

    def cross(self, ticks: int) -> int:
        """The partition has come to `ticks`. Returns the next time to call this."""
        self._clock.move(self._partition, ticks)
        self.advance(min(ticks, self.cap))
        return self._threshold()

    def end(self, ticks: int) -> None:
        self._clock.move(self._partition, ticks)
        self._hand_over(None)

    def _threshold(self) -> int:
        return self._next if self.cap >= self._next else FAR

    # --- called between batches

    def advance(self, watermark: int) -> None:
        if watermark < self._next or watermark <= UNKNOWN:
            return
        self._next = (watermark // self._quantum + 1) * self._quantum
        self._hand_over(watermark)
        self.floor = max(self.floor, watermark)

    def close_all(self) -> None:
        newest = max(self._newest.values(), default=UNKNOWN)
        if self.everywhere:
            newest = max(newest, self._clock.farthest())
        if newest > UNKNOWN:
            self.advance(max(newest + self._span + 1, self._next))

    def tick(self, monotonic: float) -> None:
        if self._clock.silence(monotonic):
            self.close_all()
        else:
            self.advance(self._clock.watermark())

    def take_work(self) -> list[tuple[int, Any]]:
        work, self._work = self._work, []
        return work

    def _hand_over(self, watermark: int | None) -> None:
        shards = set(self._rows)
        if watermark is not None:
            all_told = self.everywhere or self.floor < self.until
            shards |= set(range(SHARDS)) if all_told else set(self._newest)
        for shard in sorted(shards):
            self._work.append((shard, KeyedWork(self._rows.get(shard, []), watermark)))
        self._rows = {}
        if watermark is not None:
            # A shard whose newest message is over was told so just now: it holds nothing more.
            over = [shard for shard, newest in self._newest.items() if newest + self._span < watermark]
            for shard in over:
                del self._newest[shard]

    # --- state

    def state(self) -> bytes:
        return dump((self._next, self.floor, self._newest, self.late))

    def restore(self, state: bytes) -> None:
        self._next, self.floor, self._newest, self.late = load(state)

    @property
    def mark(self) -> int:
        """See `PaneFront.mark`."""
        return self.floor

    def announce(self) -> None:
        """See `PaneFront.announce`."""
        if self.everywhere and self.floor > UNKNOWN:
            self._work += [(shard, KeyedWork([], self.floor)) for shard in range(SHARDS)]

    def absorb(self, state: bytes) -> None:
        """See `PaneFront.absorb`."""
        _, _, newest, late = load(state)
        self.late += late
        for shard, ticks in newest.items():
            self._newest[shard] = max(ticks, self._newest.get(shard, UNKNOWN))

    def settle(self, mark: int) -> None:
        """See `PaneFront.settle`."""
        self.floor = mark
        self._next = UNKNOWN if mark == UNKNOWN else (mark // self._quantum + 1) * self._quantum
