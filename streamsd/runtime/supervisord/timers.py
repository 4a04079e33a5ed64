"""Timers inside supervisord, whose own loop knows only "about once a second"."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable


class Timer:
    """One call in the future. `cancel` any number of times."""

    __slots__ = ("_call", "when")

    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when = when
        self._call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self._call = None

    @property
    def cancelled(self) -> bool:
        return self._call is None

    def fire(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call()


class Timers:
    """Due calls in order of time; the monotonic clock. `remaining` bounds the next poll, `run_due` follows it.

    `failed` is called, inside the handler, for a call that raised: one unit's fault must not end all the others.
    """

    def __init__(self, failed: Callable[[], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._failed = failed
        self._clock = clock
        self._heap: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()

    def call(self, delay: float, call: Callable[[], None]) -> Timer:
        timer = Timer(self._clock() + delay, call)
        heapq.heappush(self._heap, (timer.when, next(self._numbers), timer))
        return timer

    def remaining(self, at_most: float) -> float:
        """Seconds until the next call is due, between 0 and `at_most`."""
        while self._heap and self._heap[0][2].cancelled:
            heapq.heappop(self._heap)
        if not self._heap:
            return at_most
        return min(at_most, max(0.0, self._heap[0][0] - self._clock()))

    def run_due(self) -> None:
        """Fire what is due. Calls made meanwhile wait for the next round, so that a zero delay cannot hold the loop."""
        now = self._clock()
        due: list[Timer] = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heapq.heappop(self._heap)[2])
        for timer in due:
            try:
                timer.fire()
            except Exception:  # noqa: BLE001  (reported with its traceback; the loop carries every other unit)
                self._failed()
