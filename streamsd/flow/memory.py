"""The memory of steps between batches: what was seen, what is allowed, which row is the N-th."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from streamsd.flow.expressions.runtime import to_str


class Seen:
    """Remembers keys for a span of arrival time. `state` and `restore` carry it over a restart."""

    def __init__(self, within_micros: int, most: int) -> None:
        self._within = within_micros
        self._most = most
        self._since: dict[Hashable, int] = {}
        self._now = 0
        self.repeated = 0

    def first(self, key: Hashable, now: int) -> bool:
        """Whether the key was not seen within the span before `now` (microseconds; it never runs backwards)."""
        if now > self._now:
            self._now = now
            self._forget()
        if key in self._since:
            self.repeated += 1
            return False
        if len(self._since) >= self._most:
            del self._since[next(iter(self._since))]
        self._since[key] = self._now
        return True

    def _forget(self) -> None:
        """Keys are in order of arrival: the oldest stand first."""
        limit = self._now - self._within
        old = []
        for key, since in self._since.items():
            if since > limit:
                break
            old.append(key)
        for key in old:
            del self._since[key]

    def state(self) -> Any:
        return (self._now, list(self._since), list(self._since.values()))

    def restore(self, state: Any) -> None:
        self._now, keys, times = state
        self._since = dict(zip(keys, times, strict=True))


class Throttle:
    """A token bucket, or one for each key. Its memory begins full at each start."""

    _MOST_KEYS = 1_000_000

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate / 1e6
        self._burst = float(burst)
        self._buckets: dict[Hashable, tuple[float, int]] = {}
        self.dropped = 0

    def take(self, key: Hashable, now: int) -> bool:
        """Whether one more may pass at `now` (microseconds)."""
        tokens, since = self._buckets.get(key, (self._burst, now))
        if now > since:
            tokens = min(self._burst, tokens + (now - since) * self._rate)
            since = now
        if tokens >= 1:
            self._buckets[key] = (tokens - 1, since)
            if len(self._buckets) > self._MOST_KEYS:
                self._forget(now)
            return True
        self._buckets[key] = (tokens, since)
        self.dropped += 1
        return False

    def _forget(self, now: int) -> None:
        """A bucket that is full again is the same as none."""
        full = [k for k, (tokens, since) in self._buckets.items() if tokens + (now - since) * self._rate >= self._burst]
        for key in full:
            del self._buckets[key]
        if len(self._buckets) > self._MOST_KEYS:
            self._buckets.clear()


class EveryNth:
    """Lets each N-th through, the first one too."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._count = -1

    def take(self) -> bool:
        self._count += 1
        return self._count % self._every == 0


@dataclass
class Outside:
    """Code that is not ours: what it is called, and since when it runs (monotonic seconds); None while it does not."""

    name: str
    since: float | None = None
    tell: Callable[[str], None] | None = None
    """Told the name when it begins, and "" when it is done: for somebody who can still say it when nobody can ask."""

    def __enter__(self) -> None:
        if self.tell is not None:
            self.tell(self.name)
        self.since = time.monotonic()

    def __exit__(self, *fault: object) -> None:
        self.since = None
        if self.tell is not None:
            self.tell("")


class Fraction:
    """Lets through a fixed part of all keys."""

    def __init__(self, fraction: float) -> None:
        self._limit = int(fraction * (1 << 32))

    def take(self, key: Any) -> bool:
        return zlib.crc32(to_str(key).encode()) < self._limit
