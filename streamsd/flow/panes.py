"""What a shard holds of tumbling and sliding windows: the state of each key in each pane.

States lie flat, one after another in one list, and a dict says where a key's begins: a list of its own for each of ten
million keys would cost 80 bytes of each and the collector's time. A window that closes is said in pieces, so that one
of ten million keys holds nothing else up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeAlias

from streamsd.flow.big import Growth, uncollected
from streamsd.flow.stored import dump, dump_scalars, load
from streamsd.flow.windows import SHARDS, Group, Panes, State, Work, shard_of

Take: TypeAlias = "Callable[[dict[Hashable, int], list[Any], Iterable[tuple[Hashable, State]]], None]"
"""(index, cells, partial states): put the states in, or join them with what is there."""


class Pane:
    """`cells`: the states in the order of `index`, each as many cells as it has slots."""

    __slots__ = ("cells", "growth", "index")

    def __init__(self) -> None:
        self.index: dict[Hashable, int] = {}
        self.cells: list[Any] = uncollected([])
        self.growth = Growth()

    @classmethod
    def of(cls, keys: list[Hashable], cells: list[Any], width: int) -> Pane:
        made = cls()
        if keys and isinstance(keys[0], list):  # of several parts: see `dump_scalars`
            keys = list(map(tuple, keys))
        made.index = {key: place * width for place, key in enumerate(keys)}
        made.cells = uncollected(cells)
        made.growth = Growth(len(keys))
        return made

    def take(self, take: Take, items: Iterable[tuple[Hashable, State]]) -> None:
        take(self.index, self.cells, items)
        if len(self.index) >= self.growth.at:
            self.growth.grow(self.index, shard_of(next(iter(self.index))), SHARDS)

    def plain(self) -> tuple[list[Hashable], list[Any]]:
        return list(self.index), self.cells


class _Due:
    """A closed window that is being said: `pane` holds what is still to be said, and lets go of what was."""

    def __init__(self, start: int, end: int, pane: Pane) -> None:
        self.start, self.end, self.pane = start, end, pane

    def take(self, most: int, width: int) -> Group:
        """The newest keys first: a dict gives those back without a search, and their memory with them."""
        index, cells = self.pane.index, self.pane.cells
        rows = []
        at = len(cells)
        for _ in range(min(most, len(index))):
            key, at = index.popitem()
            rows.append((key, cells[at : at + width]))
        del cells[at:]
        rows.reverse()
        return self.start, self.end, rows


class PaneShard:
    """`width`: slots of a state. `copy`: of a state, sharing nothing that changes. `scalar`: keys (or their parts) and
    cells are all texts, numbers, booleans and nulls."""

    def __init__(
        self, shape: Panes, width: int, take: Take, copy: Callable[[State], State], scalar: bool = False
    ) -> None:
        self._dump = dump_scalars if scalar else dump
        self._shape = shape
        self._width = width
        self._take = take
        self._copy = copy
        self._panes: dict[int, Pane] = {}
        self._ahead: dict[tuple[int, int], Pane] = {}
        """By pane and first window: what came where windows were closed already that are still open here, and does not
        belong to those."""
        self._due: deque[_Due] = deque()

    def apply(self, work: Any) -> list[Any]:
        """Take partial states in. What closes by it is `due`, oldest first, and said by `drain`."""
        for number, first, items in work.adds:
            if first <= max(work.since, number - self._shape.panes + 1):
                pane = self._panes.setdefault(number, Pane())
            else:
                pane = self._ahead.setdefault((number, first), Pane())
            pane.take(self._take, items)
        if work.close is not None:
            self._close(work.since, work.close)
        return []

    def redo(self, plain: tuple[Any, ...]) -> None:
        """Apply what `Work.plain` wrote down; the same as `apply` did, to the last bit."""
        self.apply(Work(*plain))

    @property
    def due(self) -> bool:
        """Whether `drain` has more to give."""
        return bool(self._due)

    def drain(self, most: int) -> list[Group]:
        """The next results of closed windows: at most `most` keys."""
        groups: list[Group] = []
        while self._due and most > 0:
            due = self._due[0]
            group = due.take(most, self._width)
            most -= len(group[2])
            groups.append(group)
            if not due.pane.index:
                self._due.popleft()
        return groups

    def size(self) -> int:
        """States that are held."""
        held = (*self._panes.values(), *self._ahead.values(), *(due.pane for due in self._due))
        return sum(len(pane.index) for pane in held)

    def _close(self, since: int, low: int) -> None:
        shape = self._shape
        if shape.panes == 1:
            for number in sorted(pane for pane in self._panes if pane < low):
                self._due.append(_Due(number * shape.every, (number + 1) * shape.every, self._panes.pop(number)))
            return
        held = [(pane, pane - shape.panes + 1) for pane in self._panes] + list(self._ahead)
        due = sorted({window for pane, first in held for window in range(max(first, since), min(pane, low - 1) + 1)})
        for window in due:
            start = window * shape.every
            self._due.append(_Due(start, start + shape.panes * shape.every, self._merged(window)))
        for number in [p for p in self._panes if p < low]:
            del self._panes[number]
        for number, first in sorted(self._ahead):
            if number < low:
                del self._ahead[number, first]
            elif first <= low:
                # The windows that it does not belong to are closed now: it is like all others.
                pane = self._ahead.pop((number, first))
                self._put(self._panes.setdefault(number, Pane()), pane)

    def _merged(self, window: int) -> Pane:
        made = Pane()
        for number in range(window, window + self._shape.panes):
            pane = self._panes.get(number)
            if pane is not None:
                self._put(made, pane)
        for (number, first), pane in self._ahead.items():
            if first <= window <= number:
                self._put(made, pane)
        return made

    def _put(self, made: Pane, pane: Pane) -> None:
        cells, width, copy = pane.cells, self._width, self._copy
        made.take(self._take, ((key, copy(cells[at : at + width])) for key, at in pane.index.items()))

    # --- state

    def state(self) -> bytes:
        return self._dump(
            (
                [(number, *pane.plain()) for number, pane in self._panes.items()],
                [(place, *pane.plain()) for place, pane in self._ahead.items()],
                [(due.start, due.end, *due.pane.plain()) for due in self._due],
            )
        )

    def restore(self, state: bytes) -> None:
        panes, ahead, due = load(state)
        width = self._width
        self._panes = {number: Pane.of(keys, cells, width) for number, keys, cells in panes}
        self._ahead = {tuple(place): Pane.of(keys, cells, width) for place, keys, cells in ahead}
        self._due = deque(_Due(start, end, Pane.of(keys, cells, width)) for start, end, keys, cells in due)
