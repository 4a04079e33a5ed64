"""The watermark: how far event time has come, which is the least that any partition of the sources has come to.

A clock of the greatest time over all partitions would close windows that a slower partition still fills.
"""

from __future__ import annotations

from collections.abc import Iterable

UNKNOWN = -(1 << 62)
FAR = 1 << 62


class Clock:
    """The greatest event time of each partition, in ticks. Partitions that were announced hold the watermark back until
    they send; with `idle`, those that are silent for that many seconds do so no longer."""

    def __init__(self, idle: float | None = None) -> None:
        self._idle = idle
        self._greatest: dict[str, int] = {}
        self._active: dict[str, float] = {}
        self._silent: frozenset[str] = frozenset()

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

    def greatest(self, partition: str) -> int:
        return self._greatest.get(partition, UNKNOWN)

    def others(self, partition: str) -> int:
        """The watermark as far as all other partitions allow it."""
        held = [t for name, t in self._greatest.items() if name != partition and name not in self._silent]
        return min(held, default=FAR)

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
        if self._idle is None or not self._greatest:
            return False
        for name in self._greatest:
            self._active.setdefault(name, monotonic)
        limit = monotonic - self._idle
        self._silent = frozenset(name for name in self._greatest if self._active[name] <= limit)
        return len(self._silent) == len(self._greatest)

    def watermark(self) -> int:
        """The least of all partitions that are not silent; of all, when all are silent: the greatest."""
        held = [t for name, t in self._greatest.items() if name not in self._silent]
        if held:
            return min(held)
        return max(self._greatest.values(), default=UNKNOWN)

    def held_by(self) -> tuple[str, ...]:
        """The partitions that hold the watermark back: those that have come least far."""
        mark = self.watermark()
        return tuple(name for name, t in self._greatest.items() if t == mark and name not in self._silent)[:5]

    def state(self) -> dict[str, int]:
        return dict(self._greatest)

    def restore(self, state: dict[str, int]) -> None:
        self._greatest.update(state)
