"""The join of two sources: pairs of messages with the same key whose times are close together."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from streamsd.flow.keyed import KeyedShard
from streamsd.flow.sessions import Late
from streamsd.flow.stored import dump, load
from streamsd.flow.watermark import FAR

LEFT, RIGHT = 0, 1


@dataclass(frozen=True, slots=True)
class Pair:
    """`right` is None for a left message that found no partner."""

    key: Hashable
    left: Any
    right: Any


class JoinShard(KeyedShard):
    """The messages of each key that may still find a partner: (time, row, matched) of either side.

    A message is late once the watermark has passed its time + lateness. It is kept until no message that is not late
    can lie within `within` of it.
    """

    def __init__(self, within: int, lateness: int, unmatched: bool) -> None:
        self._within = within
        self._lateness = lateness
        self._unmatched = unmatched
        self._kept: dict[Hashable, tuple[list[list[Any]], list[list[Any]]]] = {}
        self._due = FAR

    def apply(self, work: Any) -> list[Pair | Late]:
        out: list[Pair | Late] = []
        for key, ticks, watermark, side, row, raw in work.rows:
            if ticks + self._lateness < watermark:
                out.append(Late(raw))
                continue
            kept = self._kept.get(key)
            if kept is None:
                kept = self._kept[key] = ([], [])
            elif watermark > self._due:
                self._expire(key, kept, watermark, out)
                kept = self._kept.setdefault(key, kept)
            self._match(key, kept, ticks, side, row, out)
            self._due = min(self._due, ticks + self._within + self._lateness)
        if work.watermark is not None and work.watermark > self._due:
            self._close(work.watermark, out)
        return out

    def _match(
        self,
        key: Hashable,
        kept: tuple[list[list[Any]], list[list[Any]]],
        ticks: int,
        side: int,
        row: Any,
        out: list[Any],
    ) -> None:
        mine = [ticks, row, False]
        for other in kept[1 - side]:
            if abs(other[0] - ticks) <= self._within:
                mine[2] = other[2] = True
                out.append(Pair(key, row, other[1]) if side == LEFT else Pair(key, other[1], row))
        kept[side].append(mine)

    def _expire(
        self, key: Hashable, kept: tuple[list[list[Any]], list[list[Any]]], watermark: int, out: list[Any]
    ) -> None:
        limit = watermark - self._within - self._lateness
        for side in (LEFT, RIGHT):
            over = [entry for entry in kept[side] if entry[0] < limit]
            if over:
                kept[side][:] = [entry for entry in kept[side] if entry[0] >= limit]
                if side == LEFT and self._unmatched:
                    out += [Pair(key, row, None) for _, row, matched in over if not matched]
        if not kept[LEFT] and not kept[RIGHT]:
            self._kept.pop(key, None)

    def _close(self, watermark: int, out: list[Any]) -> None:
        due = FAR
        for key, kept in list(self._kept.items()):
            self._expire(key, kept, watermark, out)
            for side in kept:
                for entry in side:
                    due = min(due, entry[0] + self._within + self._lateness)
        self._due = due

    def size(self) -> int:
        """Keys that are held."""
        return len(self._kept)

    def state(self) -> bytes:
        return dump((self._kept, self._due))

    def restore(self, state: bytes) -> None:
        self._kept, self._due = load(state)
