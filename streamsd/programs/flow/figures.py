"""What a running flow tells of itself."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from streamsd.core.report import JsonValue

_SPAN = 10.0


@dataclass
class Meter:
    """A count and its rate over the last ten seconds, as it is looked at about once a second."""

    count: int = 0
    _marks: deque[tuple[float, int]] = field(default_factory=deque)

    def rate(self) -> float:
        now = time.monotonic()
        self._marks.append((now, self.count))
        while len(self._marks) > 2 and now - self._marks[0][0] > _SPAN:
            self._marks.popleft()
        then, before = self._marks[0]
        return round((self.count - before) / (now - then), 1) if now > then else 0.0


@dataclass
class Backlog:
    """How quickly what is left to be read becomes less, over the last ten seconds."""

    _marks: deque[tuple[float, int]] = field(default_factory=deque)

    def seconds(self, left: int, now: float) -> float | None:
        """Until nothing is `left`, as it goes now; None while that cannot be said."""
        self._marks.append((now, left))
        while len(self._marks) > 2 and now - self._marks[0][0] > _SPAN:
            self._marks.popleft()
        then, before = self._marks[0]
        if left >= before or now - then < 0.5:
            return None
        return round(left * (now - then) / (before - left), 1)


@dataclass
class Pauses:
    """The longest of the last ten to twenty seconds."""

    _marks: list[float] = field(default_factory=lambda: [0.0, 0.0])
    _turn: float = 0.0

    def take(self, now: float, seconds: float) -> None:
        if now - self._turn > _SPAN:
            self._turn = now
            self._marks = [0.0, self._marks[0]]
        self._marks[0] = max(self._marks[0], seconds)

    def longest(self) -> float:
        return max(self._marks)


@dataclass
class SourceFigures:
    """Of one source: messages and bytes taken in, and messages that were too much of one sender."""

    messages: Meter = field(default_factory=Meter)
    bytes: int = 0
    limited: int = 0
    backlog: Backlog = field(default_factory=Backlog)


@dataclass
class Figures:
    """Of the whole flow. Counts are since the process started."""

    sources: dict[str, SourceFigures] = field(default_factory=dict)
    sinks: dict[str, Meter] = field(default_factory=dict)
    dead: int = 0
    dead_reasons: dict[str, int] = field(default_factory=dict)
    late: int = 0
    epochs: int = 0
    stored_at: float = field(default_factory=time.monotonic)
    patched: int = 0
    pauses: Pauses = field(default_factory=Pauses)
    """Between two looks at the sources: for so long nothing was taken in."""
    work: Pauses = field(default_factory=Pauses)
    """The same in CPU time of the flow's thread: where it is much less, the host or a disk held the flow up."""

    def bury(self, reasons: Mapping[str, int]) -> None:
        for reason, count in reasons.items():
            self.dead += count
            self.dead_reasons[reason] = self.dead_reasons.get(reason, 0) + count

    def observed(self) -> dict[str, JsonValue]:
        """For the report; JSON."""
        return {
            "sources": {
                name: {
                    "messages": one.messages.count,
                    "rate": one.messages.rate(),
                    "bytes": one.bytes,
                    "limited": one.limited,
                }
                for name, one in self.sources.items()
            },
            "sinks": {name: {"results": meter.count, "rate": meter.rate()} for name, meter in self.sinks.items()},
            "dead": self.dead,
            "dead_reasons": dict(self.dead_reasons),
            "late": self.late,
            "epochs": self.epochs,
            "epoch_age": round(time.monotonic() - self.stored_at, 3),
            "longest_pause": round(self.pauses.longest(), 4),
            "longest_pause_cpu": round(self.work.longest(), 4),
            "patched": self.patched,
        }
