"""Messages made from expressions over their number."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from streamsd.flow.expressions.check import compile_expression
from streamsd.flow.expressions.names import NAMES
from streamsd.flow.expressions.typed import Pool, Typed
from streamsd.flow.pipeline import Chunk
from streamsd.flow.rows import Row, Writer
from streamsd.flow.spec.sources import Generator
from streamsd.flow.tails import run
from streamsd.flow.types import INT
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
        pool = Pool()
        row = Row(Writer(), pool, {"n": Typed("n", INT)}, open=False, holder="\0")
        cells = [f"{name!r}: {compile_expression(text, row, pool).kept()}" for name, text in spec.fields.items()]
        text = f"def make(first, end, now):\n    return [encode({{{', '.join(cells)}}}) for n in range_(first, end)]\n"
        names = {**NAMES, **pool.constants, "encode": msgspec.json.Encoder().encode, "range_": range}
        self._make = run(text, names)["make"]

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
        messages = self._make(self._next, end, time.time_ns() // 1000)
        self._next = end
        return [Chunk("", messages)]

    def position(self) -> Any:
        return self._next

    def done(self) -> bool:
        return self._spec.count is not None and self._next >= self._spec.count
