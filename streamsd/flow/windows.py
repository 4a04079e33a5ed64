"""Windows over event time: the front, which aggregates in the source's loop.

Tumbling and sliding windows are kept as panes of the length of a slide: a window is `panes` of them. The front adds up
what comes (the generated loop does, in `parts`), decides by the watermark, message by message, what is late, and hands
partial states to the shards when a window closes or enough have gathered. Whether a message counts therefore depends on
the order of the messages alone, never on how they were batched.

A window [start, end) closes when the watermark has come to end + lateness. All times are ticks: the unit of the field
that holds the event time.
"""

from __future__ import annotations

import zlib
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, TypeAlias

from streamsd.flow.stored import dump, load
from streamsd.flow.watermark import FAR, UNKNOWN, Clock

SHARDS = 64
"""Fixed, since it is part of the state: keys are spread over as many states, for a state of each key would stall."""
FLUSH_AT = 4096
"""Partial states that the front holds at most before the shards get them."""

State: TypeAlias = "list[Any]"
Parts: TypeAlias = "dict[int, dict[Hashable, State]]"
Add: TypeAlias = "tuple[int, int, list[tuple[Hashable, State]]]"
"""Partial states of a pane: the pane, the first window that they belong to (those before were closed when their
messages came), and the state of each key."""
Group: TypeAlias = "tuple[int, int, list[tuple[Hashable, State]]]"
"""A closed window: start, end, and the state of each key."""


def shard_of(key: Hashable) -> int:
    """The same for the same key in every process."""
    if type(key) is int:
        return key & (SHARDS - 1)
    data = key.encode() if type(key) is str else repr(key).encode()
    return zlib.crc32(data) & (SHARDS - 1)


@dataclass(frozen=True, slots=True)
class Panes:
    """`every`: ticks of a pane. `panes`: how many make a window. `lateness`: ticks."""

    every: int
    panes: int
    lateness: int


@dataclass(frozen=True, slots=True)
class Work:
    """What the front hands a shard: partial states, and which windows to close: those from `since` on (they
    were open before) up to `close` (exclusive)."""

    adds: list[Add]
    since: int
    close: int | None

    def plain(self) -> tuple[Any, ...]:
        """As it is written down."""
        return self.adds, self.since, self.close


class PaneFront:
    """`low`: the first pane that may still take messages. `parts`: what the loop adds up."""

    def __init__(self, shape: Panes, clock: Clock) -> None:
        self._shape = shape
        self._clock = clock
        self._partition = ""
        self._cap = FAR
        self._next = UNKNOWN
        self._open: dict[int, set[int]] = {}
        self._work: list[tuple[int, Work]] = []
        self.parts: Parts = {}
        self.low = UNKNOWN
        self.late = 0
        self.everywhere = False
        """All shards are told when windows close, not only those that were given something from here: the flow has
        several processes, each with a front of its own."""
        self.until = UNKNOWN
        """So far all are told, because the flow had several processes before."""

    # --- called by the loop

    def begin(self, partition: str) -> tuple[int, int]:
        """(the partition's greatest time, the time at which to call `cross`)."""
        self._partition = partition
        self._cap = self._clock.others(partition)
        return self._clock.greatest(partition), self._threshold()

    def cross(self, ticks: int) -> int:
        """The partition has come to `ticks`: close what is due. Returns the next time to call this."""
        self._clock.move(self._partition, ticks)
        self.advance(min(ticks, self._cap))
        return self._threshold()

    def end(self, ticks: int) -> None:
        """The batch is over, and the partition has come to `ticks`."""
        self._clock.move(self._partition, ticks)
        if len(self.parts) and sum(map(len, self.parts.values())) >= FLUSH_AT:
            self._hand_over(FAR, None)

    def _threshold(self) -> int:
        return self._next if self._cap >= self._next else FAR

    # --- called between batches

    def advance(self, watermark: int) -> None:
        """Event time has come to `watermark`."""
        if watermark < self._next or watermark <= UNKNOWN:
            return
        shape = self._shape
        low = (watermark - shape.lateness) // shape.every - shape.panes + 1
        self._next = (low + shape.panes) * shape.every + shape.lateness
        self._hand_over(low + shape.panes - 2, low)
        self.low = low

    def close_all(self) -> None:
        """Nothing more comes: close every window that is open."""
        newest = max([*self.parts, *self._open], default=None)
        if self.everywhere and self._clock.farthest() > UNKNOWN:
            newest = self._clock.farthest() // self._shape.every
        if newest is not None:
            shape = self._shape
            self.advance((newest + shape.panes) * shape.every + shape.lateness)

    def tick(self, monotonic: float) -> None:
        """Time goes by: partitions may have fallen silent."""
        if self._clock.silence(monotonic):
            self.close_all()
        else:
            self.advance(self._clock.watermark())

    def take_work(self) -> list[tuple[int, Any]]:
        """What the shards are to be given, in order."""
        work, self._work = self._work, []
        return work

    def _hand_over(self, newest: int, close: int | None, low: int | None = None) -> None:
        """Give the shards the parts up to pane `newest`, and have those that hold such panes close windows. `low`: the
        first window that was open when these parts came, where it is not that of now."""
        open_from = self.low if low is None else low
        adds: dict[int, dict[int, list[tuple[Hashable, State]]]] = {}
        for pane in sorted(p for p in self.parts if p <= newest):
            opened = self._open.setdefault(pane, set())
            for item in self.parts.pop(pane).items():
                shard = shard_of(item[0])
                opened.add(shard)
                adds.setdefault(shard, {}).setdefault(pane, []).append(item)
        shards = set(adds)
        if close is not None:
            for pane in [p for p in self._open if p <= newest]:
                shards |= self._open[pane] if pane >= close else self._open.pop(pane)
            if self.everywhere or self.low < self.until:
                shards = set(range(SHARDS))
        for shard in sorted(shards):
            parts = [
                (pane, max(open_from, pane - self._shape.panes + 1), items)
                for pane, items in adds.get(shard, {}).items()
            ]
            self._work.append((shard, Work(parts, self.low, close)))

    # --- state

    def state(self) -> bytes:
        return dump((self.parts, self.low, self._next, self._open, self.late))

    def restore(self, state: bytes) -> None:
        self.parts, self.low, self._next, self._open, self.late = load(state)

    @property
    def mark(self) -> int:
        """What is promised: nothing before it is taken."""
        return self.low

    def announce(self) -> None:
        """Tell all shards what is promised."""
        if self.everywhere and self.low > UNKNOWN:
            self._work += [(shard, Work([], self.low, self.low)) for shard in range(SHARDS)]

    def absorb(self, state: bytes) -> None:
        """Take over from a front that is no more: what it held goes to the shards with the next work."""
        parts, low, _, opened, late = load(state)
        self.late += late
        for pane, shards in opened.items():
            self._open.setdefault(pane, set()).update(shards)
        mine, self.parts = self.parts, parts
        self._hand_over(FAR, None, low)
        self.parts = mine

    def settle(self, mark: int) -> None:
        """Promise what all fronts before had promised: partitions have moved between processes."""
        shape = self._shape
        before, self.low = self.low, mark
        # What is held was judged by what was promised before.
        self._hand_over(FAR, None, before)
        self._next = UNKNOWN if mark == UNKNOWN else (mark + shape.panes) * shape.every + shape.lateness
