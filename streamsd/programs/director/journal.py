"""What OBS tells, as entries for the daemon's event log: few, whatever happens.

Entries that say the same within a second are one, with a count; those of a kind that comes by hundreds when a
collection is filled are one for all of them. What comes faster than the budget all the same is only counted. An entry's
`number` is its time in milliseconds, made to grow, also from one director to the next: the daemon tells by it what it
has told already.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from streamsd.core.report import JsonValue

GATHER = 1.0
"""Seconds in which what says the same is gathered."""

KEPT = 60
BUDGET, PERIOD = 20, 10.0
"""Entries in so many seconds at most: fewer than are kept between two looks of the daemon (3 s)."""

Fields = Mapping[str, JsonValue]


@dataclass(slots=True)
class _Gathering:
    at: float
    begun: float
    fields: Fields
    count: int = 1


@dataclass(slots=True)
class Journal:
    """`wall` is when it happened, for people; `monotonic` is for what is gathered."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    entries: deque[dict[str, JsonValue]] = field(default_factory=lambda: deque(maxlen=KEPT))
    _open: dict[tuple[str, str], _Gathering] = field(default_factory=dict)
    _spent: deque[float] = field(default_factory=deque)
    _number: int = 0
    _left_out: int = 0

    def note(self, event: str, fields: Fields, *, together: bool = False) -> None:
        """`together`: with all others of this event, whatever their fields say."""
        key = (event, "" if together else repr(sorted(fields.items())))
        found = self._open.get(key)
        if found is not None:
            found.count += 1
        else:
            self._open[key] = _Gathering(self.wall(), self.monotonic(), fields)

    def publish(self, *, now: bool = False) -> None:
        """Make entries of what was gathered for long enough; `now`: of everything."""
        clock = self.monotonic()
        while self._spent and clock - self._spent[0] > PERIOD:
            self._spent.popleft()
        for (event, key), found in list(self._open.items()):
            if not now and clock - found.begun < GATHER:
                continue
            del self._open[event, key]
            if len(self._spent) < BUDGET:
                counted = {"count": found.count} if found.count > 1 else {}
                self._add(event, found.at, {**found.fields, **counted}, clock)
            else:
                self._left_out += found.count
        if self._left_out and len(self._spent) < BUDGET // 2:
            self._add("obs-events-left-out", self.wall(), {"count": self._left_out}, clock)
            self._left_out = 0

    def _add(self, event: str, at: float, fields: Fields, clock: float) -> None:
        self._spent.append(clock)
        self._number = max(self._number + 1, int(at * 1000))
        self.entries.append({"number": self._number, "event": event, "fields": dict(fields)})
