"""Where the fronts of a flow's processes meet: a shard that is told by several of them.

Each front promises how far it will not go back any more, at its start what it had promised before. What a shard closes
is what all of them have promised, so that a process that lags behind, or has nothing to say, is waited for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from streamsd.flow.keyed import KeyedWork
from streamsd.flow.stored import dump, load
from streamsd.flow.watermark import UNKNOWN
from streamsd.flow.windows import SHARDS, Work


@dataclass(frozen=True, slots=True)
class Told:
    """Work for a shard (or for SHARDS: what only passes by), and the number of the process whose front gave it. `size`:
    bytes, about; 0 where it was not known to whom it goes. `floor`: see `inherit.Held`."""

    process: int
    shard: int
    work: Any
    size: int = 0
    floor: int = UNKNOWN

    def __reduce__(self) -> tuple[Any, ...]:
        """Between processes, as `stored` writes state: to take dataclasses apart would take longer than all else."""
        work = self.work
        plain = work.plain() if isinstance(work, Work | KeyedWork) else work
        return _told, (self.process, self.shard, type(work) is KeyedWork, dump(plain), self.size, self.floor)


def _told(process: int, shard: int, keyed: bool, plain: bytes, size: int, floor: int) -> Told:
    """What `Told.__reduce__` wrote."""
    work = load(plain)
    if shard != SHARDS:
        work = KeyedWork(*work) if keyed else Work(*work)
    return Told(process, shard, work, size, floor)


def fewer(work: Iterable[tuple[int, Any]]) -> dict[int, Any]:
    """(shard, work) in order, as one work for each shard: every closing window would be a message to every shard. What
    comes of it is the same: what was added after a window had closed says that it does not belong to it."""
    made: dict[int, Any] = {}
    for shard, later in work:
        known = made.get(shard)
        if known is None:
            made[shard] = later
        elif isinstance(later, KeyedWork):
            mark = known.watermark if later.watermark is None else later.watermark
            made[shard] = KeyedWork(known.rows + later.rows, mark)
        else:
            close = known.close if later.close is None else later.close
            made[shard] = Work(known.adds + later.adds, known.since, close)
    return made


class Applies(Protocol):
    """A shard, as it is told by one front."""

    def apply(self, work: Any) -> list[Any]: ...


class Meeting:
    """A shard between `of` fronts. `floor`: how far event time has come here: what was closed by it, and what single
    messages were judged by. It is stored with the shard's own state."""

    def __init__(self, shard: Applies, of: int, floor: int = UNKNOWN) -> None:
        self._shard = shard
        self._of = of
        self._marks: dict[int, int] = {}
        self.floor = floor

    def apply(self, told: Told) -> list[Any]:
        self.floor = max(self.floor, told.floor)
        work = told.work
        return self._keyed(told.process, work) if isinstance(work, KeyedWork) else self._panes(told.process, work)

    def _met(self) -> int:
        """What all have promised."""
        return min(self._marks.values()) if len(self._marks) == self._of else UNKNOWN

    def _panes(self, process: int, work: Work) -> list[Any]:
        if self._of == 1:
            # Alone, a front tells only those shards of a closing that it knows to have something to close.
            self.floor = max(self.floor, work.since)
        self._marks[process] = self._marks.get(process, work.since) if work.close is None else work.close
        since, close = self.floor, self._met()
        if close <= since:
            return self._shard.apply(Work(work.adds, since, None))
        self.floor = close
        return self._shard.apply(Work(work.adds, since, close))

    def _keyed(self, process: int, work: KeyedWork) -> list[Any]:
        if self._of == 1:
            if work.watermark is not None:
                self.floor = work.watermark
            elif work.rows:
                self.floor = max(self.floor, work.rows[-1][2])
            return self._shard.apply(work)
        rows = []
        for key, ticks, watermark, side, value, raw in work.rows:
            self._come(process, watermark)
            rows.append((key, ticks, self.floor, side, value, raw))
        if work.watermark is None:
            return self._shard.apply(KeyedWork(rows, None))
        self._come(process, work.watermark)
        return self._shard.apply(KeyedWork(rows, self.floor))

    def _come(self, process: int, watermark: int) -> None:
        if watermark > self._marks.get(process, UNKNOWN - 1):
            self._marks[process] = watermark
            self.floor = max(self.floor, self._met())
