"""The messages of a generator, from expressions over their number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import msgspec

from streamsd.flow.expressions.check import compile_expression
from streamsd.flow.expressions.names import NAMES
from streamsd.flow.expressions.source import ExpressionError
from streamsd.flow.expressions.typed import Pool, Typed
from streamsd.flow.rows import Row, Writer
from streamsd.flow.tails import run
from streamsd.flow.types import INT

Make: TypeAlias = Callable[[int, int, int], list[bytes]]
"""(first, end, now in microseconds) to the messages of these numbers. Raises what ROW_ERRORS names."""


def faults_of(fields: Mapping[str, str]) -> Iterator[tuple[str, ExpressionError]]:
    """Which fields are wrong, and how."""
    for name, text in fields.items():
        try:
            _compiled(text, Pool())
        except ExpressionError as fault:
            yield name, fault


def maker(fields: Mapping[str, str]) -> Make:
    """ExpressionError when one is wrong."""
    pool = Pool()
    cells = [f"{name!r}: {_compiled(text, pool).kept()}" for name, text in fields.items()]
    text = f"def make(first, end, now):\n    return [encode({{{', '.join(cells)}}}) for n in range_(first, end)]\n"
    names = {**NAMES, **pool.constants, "encode": msgspec.json.Encoder().encode, "range_": range}
    make: Make = run(text, names)["make"]
    return make


def _compiled(text: str, pool: Pool) -> Typed:
    return compile_expression(text, Row(Writer(), pool, {"n": Typed("n", INT)}, open=False, holder="\0"), pool)
