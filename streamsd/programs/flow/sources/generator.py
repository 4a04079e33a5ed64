"""Messages made from expressions over their number."""

from __future__ import annotations

import time
from typing import Any

from streamsd.flow.faults import ROW_ERRORS, explain
from streamsd.flow.generated import maker
from streamsd.flow.pipeline import Chunk
from streamsd.flow.spec.sources import Generator
from streamsd.programs.flow.intake import Intake

_BATCH = 2000


class GeneratorIntake(Intake):
    """The position is the next message's number. With a rate, messages come when they are due (open loop), and those
    that were due while the flow was away come at once."""

    def __init__(self, spec: Generator) -> None:
        self._spec = spec
        self._next = 0
        self._since = 0.0
        self._first = 0
        self._make = maker(spec.fields)

    def start(self, position: Any) -> None:
        self._next = self._first = position or 0
        self._since = time.monotonic()

    def poll(self, most: int) -> list[Chunk]:
        end = self._next + min(most, _BATCH)
        if self._spec.rate is not None:
            end = min(end, self._first + int((time.monotonic() - self._since) * self._spec.rate) + 1)
        if self._spec.count is not None:
            end = min(end, self._spec.count)
        if end <= self._next:
            return []
        now = time.time_ns() // 1000
        try:
            messages = self._make(self._next, end, now)
        except ROW_ERRORS:
            messages = [self._one(number, now) for number in range(self._next, end)]
        self._next = end
        return [Chunk("", messages)]

    def _one(self, number: int, now: int) -> bytes:
        """A message that cannot be made is an empty one, which is a dead letter; the fault says why."""
        try:
            return self._make(number, number + 1, now)[0]
        except ROW_ERRORS as fault:
            self.fault = f"message {number}: {explain(fault)[1]}"
            return b""

    def position(self) -> Any:
        return self._next

    def left(self) -> int | None:
        return None if self._spec.count is None else self._spec.count - self._next

    def done(self) -> bool:
        return self._spec.count is not None and self._next >= self._spec.count
