"""How much an output sends or writes a second."""

from __future__ import annotations

from collections import deque

OVER = 5.0
"""Seconds that it is told over: a keyframe does not make it jump, and a change shows soon."""


class Rate:
    """Bits a second over the last seconds, from a count of bytes that is read now and then."""

    def __init__(self) -> None:
        self._readings: deque[tuple[float, int]] = deque()

    def read(self, count: int, now: float) -> None:
        """`count`: bytes since the output started; one that is smaller than the last belongs to another start."""
        readings = self._readings
        if readings and count < readings[-1][1]:
            readings.clear()
        readings.append((now, count))
        while len(readings) > 2 and readings[1][0] <= now - OVER:
            readings.popleft()

    def end(self) -> None:
        """It does not run."""
        self._readings.clear()

    @property
    def bits_per_second(self) -> int | None:
        """None until it is known."""
        if len(self._readings) < 2:
            return None
        (first, before), (last, after) = self._readings[0], self._readings[-1]
        return round((after - before) * 8 / (last - first)) if last > first else None
