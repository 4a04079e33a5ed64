"""The watermark: how far event time has come, which is the least that any partition of the sources has come to.

A clock of the greatest time over all partitions would close windows that a slower partition still fills.
"""

from __future__ import annotations

from collections.abc import Iterable

UNKNOWN = -(1 << 62)
FAR = 1 << 62


class Clock:
    """The greatest event time of each partition, in ticks. Partitions that were announced hold the watermark back until
    they send; with `idle`, those that are silent for that many seconds do so no longer.

    A flow of several processes has a clock in each, for the partitions that are read there: what `tell` says is what
    the others `hear`, so that the watermark is the least of all partitions of all of them. What is heard may be older
    than what is: that makes messages less late, never more.
    """

    def __init__(self, idle: float | None = None) -> None:
        self._idle = idle
        self._greatest: dict[str, int] = {}
        self._active: dict[str, float] = {}
        self._silent: frozenset[str] = frozenset()
        self._farthest_gone = UNKNOWN
        """The greatest time of partitions that were let go."""
        self._others = FAR
        self._others_farthest = UNKNOWN

    # --- the other processes

    def tell(self) -> tuple[int, int]:
        """(how far the partitions here let event time come: FAR where none holds it, the greatest time here)."""
        return self._held(), self._farthest_here()

    def hear(self, mark: int, farthest: int) -> None:
        """What all the other processes told: the least mark, and the greatest time."""
        self._others, self._others_farthest = mark, farthest

    def farthest(self) -> int:
        """The greatest time of any message anywhere."""
        return max(self._others_farthest, self._farthest_here())

    def _farthest_here(self) -> int:
        return max(self._farthest_gone, max(self._greatest.values(), default=UNKNOWN))

    def _held(self) -> int:
        return min((t for name, t in self._greatest.items() if name not in self._silent), default=FAR)

    # --- partitions

    def expect(self, partitions: Iterable[str]) -> None:
        """These exist, whether they have sent or not."""
        for partition in partitions:
            self._greatest.setdefault(partition, UNKNOWN)

    def replace(self, announced: str, partitions: Iterable[str]) -> None:
        """What was announced under one name turns out to be these."""
        names = list(partitions)
        if announced not in names and self._greatest.get(announced) == UNKNOWN:
            del self._greatest[announced]
        self.expect(names)

    def forget(self, source: str, partitions: Iterable[str]) -> None:
        """Of the partitions of a source only these are read here any more: the others hold nothing back."""
        names = set(partitions)
        for name in [n for n in self._greatest if n.startswith(f"{source}/") and n not in names]:
            self._farthest_gone = max(self._farthest_gone, self._greatest.pop(name))
            self._active.pop(name, None)
            self._silent -= {name}

    def greatest(self, partition: str) -> int:
        return self._greatest.get(partition, UNKNOWN)

    def others(self, partition: str) -> int:
        """The watermark as far as all other partitions allow it."""
        held = [t for name, t in self._greatest.items() if name != partition and name not in self._silent]
        return min(min(held, default=FAR), self._others)

    def move(self, partition: str, ticks: int) -> None:
        self._greatest[partition] = ticks

    def sent(self, partition: str, monotonic: float) -> None:
        """The partition sent something just now."""
        if self._idle is not None:
            self._active[partition] = monotonic
            if partition in self._silent:
                self._silent -= {partition}

    def silence(self, monotonic: float) -> bool:
        """Look for partitions that fell silent; whether all of them have."""
        if self._idle is None:
            return False
        for name in self._greatest:
            self._active.setdefault(name, monotonic)
        limit = monotonic - self._idle
        self._silent = frozenset(name for name in self._greatest if self._active[name] <= limit)
        return len(self._silent) == len(self._greatest) and self._others == FAR

    def watermark(self) -> int:
        """The least of all partitions that are not silent; of all, when all are silent: the greatest."""
        mark = min(self._held(), self._others)
        return self.farthest() if mark == FAR else mark

    def held_by(self) -> tuple[str, ...]:
        """The partitions that hold the watermark back: those that have come least far."""
        mark = self.watermark()
        return tuple(name for name, t in self._greatest.items() if t == mark and name not in self._silent)[:5]

    def state(self) -> dict[str, int]:
        return dict(self._greatest)

    def restore(self, state: dict[str, int]) -> None:
        self._greatest.update(state)
