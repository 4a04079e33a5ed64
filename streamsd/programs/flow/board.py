"""A board in shared memory, on which the processes of a flow write what the others must know at once."""

from __future__ import annotations

import mmap
from enum import IntEnum

from streamsd.flow.watermark import FAR, UNKNOWN
from streamsd.flow.windows import SHARDS


class Column(IntEnum):
    """What each process tells. One writes, all read; each is eight bytes, aligned, and so never half written."""

    MARK = 0
    """How far the partitions read there let event time come."""
    FARTHEST = 1
    """The greatest time there."""
    READY = 2
    """It runs: positions are taken over, the sources have begun."""
    DONE = 3
    """Its sources are at their end."""
    QUIET = 4
    """It was asked to stop, and everything it took in is stored."""
    STOPPING = 5
    """It was asked to stop."""
    PULSE = 6
    """Milliseconds of the monotonic clock: that its threads get to run."""
    BEAT = 7
    """See Life.beat."""
    EPOCHS = 8
    """How many were stored."""
    INSIDE = 9
    """Its flow's thread is in a source, step or sink, not waiting in Bytewax for the others."""
    TURNS = 10
    """How often it was there."""
    TAKEN = 11
    """Of what was handed to its shards and sinks, the bytes, about, that it is done with."""
    VOTE = 12
    """The number of the newest live change that it is ready for; negative: it is not."""
    CHANGED = 13
    """The number of the newest live change that it has taken."""


class Board:
    """A row for each of `of` processes, what each has handed to each, who has which shard, and what the parent has
    decided. Made before the processes are forked: they share it, and nobody else can."""

    def __init__(self, of: int) -> None:
        self.of = of
        self._width = len(Column) + of
        self._cells = memoryview(mmap.mmap(-1, (of * self._width + SHARDS + 2) * 8)).cast("q")
        for process in range(of):
            self.put(process, Column.MARK, UNKNOWN)
            self.put(process, Column.FARTHEST, UNKNOWN)

    def put(self, process: int, column: Column, value: int) -> None:
        self._cells[process * self._width + column] = value

    def get(self, process: int, column: Column) -> int:
        return self._cells[process * self._width + column]

    def column(self, column: Column) -> list[int]:
        return self._cells[column : self.of * self._width : self._width].tolist()

    def all(self, column: Column) -> bool:
        """Whether all have put something there."""
        return all(self.column(column))

    def others(self, process: int) -> tuple[int, int]:
        """(the least mark, the greatest time) of all others."""
        marks, times = self.column(Column.MARK), self.column(Column.FARTHEST)
        del marks[process], times[process]
        return min(marks, default=FAR), max(times, default=UNKNOWN)

    # --- what is on the way

    def send(self, process: int, to: int, size: int) -> None:
        self._cells[process * self._width + len(Column) + to] += size

    def waiting(self, process: int) -> int:
        """Bytes, about, that were handed to a process and that it is not done with."""
        first = len(Column) + process
        sent = self._cells[first : self.of * self._width : self._width].tolist()
        return sum(sent) - self.get(process, Column.TAKEN)

    def own(self, process: int, shard: int) -> None:
        """A shard is in this process. SHARDS stands for what passes by the shards."""
        self._cells[self.of * self._width + shard] = process + 1

    def owner(self, shard: int) -> int | None:
        """None while it has not shown."""
        found = self._cells[self.of * self._width + shard]
        return found - 1 if found else None

    # --- live changes

    @property
    def verdict(self) -> int:
        """The number of the live change that was decided last: that all take it, or (negative) that nobody does."""
        return self._cells[-1]

    def decide(self, verdict: int) -> None:
        """One write: it holds for all of them from then on, whoever ends a moment later."""
        self._cells[-1] = verdict
