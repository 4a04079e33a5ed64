"""Time that moves when a test says so."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta

_TURNS = 2000
"""Turns of the loop after which `settle` takes it that something spins."""


class FakeClock:
    """A Clock for tests. It starts at `start` seconds since boot and stands still until `advance`."""

    def __init__(self, start: float = 1000.0, wall: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start = start
        self._now = start
        self._wall = wall
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = itertools.count()

    def monotonic(self) -> float:
        return self._now

    def now(self) -> datetime:
        return self._wall + timedelta(seconds=self._now - self._start)

    async def sleep(self, seconds: float) -> None:
        """Until `advance` has come that far; a sleep of nothing only lets others run."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._count), waker))
        await waker

    async def advance(self, seconds: float) -> None:
        """Let time pass. Sleepers wake in the order of their moments, and all that follows from one happens before
        the next wakes."""
        until = self._now + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= until:
            moment, _, waker = heapq.heappop(self._sleepers)
            if waker.done():  # whoever slept was cancelled
                continue
            self._now = max(self._now, moment)
            waker.set_result(None)
            await settle()
        self._now = until
        await settle()

    def sleeping(self) -> int:
        """How many wait for time to pass."""
        return sum(not waker.done() for _, _, waker in self._sleepers)


async def settle() -> None:
    """Until nothing on the loop can go on by itself: all wait for time, for input, or for the test.

    AssertionError when that does not come: something spins.
    """
    # The loop's queue of what is ready is asyncio's own and the only thing that says so; uvloop has none.
    ready = getattr(asyncio.get_running_loop(), "_ready", None)
    for _ in range(_TURNS):
        await asyncio.sleep(0)
        if ready is not None and not ready:
            return
    assert ready is None, f"something is still busy after {_TURNS} turns of the loop: a hot loop?"
