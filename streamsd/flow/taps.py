"""Looking into a running flow: what is called for each message at one place of it.

The place is compiled in, and the flow is patched to that and back: a flow that nobody looks into pays nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from streamsd.flow.expressions.typed import Pool
from streamsd.flow.faults import ROW_ERRORS
from streamsd.flow.rows import Row, Writer

RESULTS = "results"
"""What comes of all steps before a sink's own: known without compiling anything."""

_SHOWN = 2000


class Tap:
    """Keeps the first `most` messages of a place, and counts them all. `full` is set when so many have come."""

    def __init__(self, place: str, most: int) -> None:
        self.place = place
        self.rows: list[Any] = []
        self.total = 0
        self.full = threading.Event()
        self._most = most

    def take(self, make: Callable[[], Any]) -> None:
        """One message; `make` gives it."""
        self.total += 1
        if len(self.rows) < self._most:
            self._keep(make())
            if len(self.rows) >= self._most:
                self.full.set()

    def take_all(self, rows: Sequence[Any]) -> None:
        """Several."""
        self.total += len(rows)
        for row in rows[: max(0, self._most - len(self.rows))]:
            self._keep(row)
        if len(self.rows) >= self._most:
            self.full.set()

    def _keep(self, row: Any) -> None:
        try:
            self.rows.append(msgspec.to_builtins(row))
        except ROW_ERRORS:
            self.rows.append(repr(row)[:_SHOWN])  # what a custom step made: it is looked at, and not for us to judge

    def write(self, row: Row, writer: Writer, pool: Pool) -> None:
        """Write the call into the loop, for the row as it stands there."""
        writer.line(f"{pool.constant(self.take)}(lambda: {row.shown()})")


def summed(answers: Sequence[Mapping[str, Any]], count: int) -> dict[str, Any]:
    """What several processes saw, in turns."""
    turns = range(max((len(answer["rows"]) for answer in answers), default=0))
    rows = [answer["rows"][turn] for turn in turns for answer in answers if turn < len(answer["rows"])]
    return {"ok": True, "rows": rows[:count], "rate": round(sum(answer["rate"] for answer in answers), 1)}
