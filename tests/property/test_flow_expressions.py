"""Compiled expressions say what Python says of the same text; and no text does more than be refused."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamsd.flow.expressions.check import compile_expression
from streamsd.flow.expressions.source import ExpressionError
from streamsd.flow.expressions.typed import Pool
from streamsd.flow.faults import ROW_ERRORS
from streamsd.flow.loops import LoopBuilder
from streamsd.flow.records import json_decoder
from streamsd.flow.rows import Row, Writer
from streamsd.flow.spec.words import read_type
from streamsd.flow.standing import Standing

FIELDS = {"i": "int", "j": "int", "f": "float", "s": "str", "b": "bool"}
SCHEMA = {name: read_type(kind) for name, kind in FIELDS.items()}


class Draw:
    """Expressions of bounded depth, drawn with a seed: quicker than hypothesis's own recursion."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def number(self, depth: int) -> str:
        pick = self.chance.choice
        if depth <= 0:
            return pick(["i", "j", "f", "0", "1", "7", "2.5"])
        match self.chance.randrange(6):
            case 0:
                return f"(-{self.number(depth - 1)})"
            case 1:
                return f"abs({self.number(depth - 1)})"
            case 2:
                return f"len({self.text(depth - 1)})"
            case 3:
                return f"({self.number(depth - 1)} if {self.condition(depth - 1)} else {self.number(depth - 1)})"
            case _:
                return f"({self.number(depth - 1)} {pick(['+', '-', '*', '/', '//', '%'])} {self.number(depth - 1)})"

    def text(self, depth: int) -> str:
        if depth <= 0 or self.chance.random() < 0.4:
            return self.chance.choice(["s", "''", "'ab'", "'ä'"])
        return f"({self.text(depth - 1)} + {self.text(depth - 1)})"

    def condition(self, depth: int) -> str:
        pick = self.chance.choice
        if depth <= 0:
            return pick(["b", "True", "False"])
        match self.chance.randrange(5):
            case 0:
                return f"({self.number(depth - 1)} {pick(['<', '<=', '>', '>=', '==', '!='])} {self.number(depth - 1)})"
            case 1:
                return f"({self.text(depth - 1)} {pick(['<', '==', 'in'])} {self.text(depth - 1)})"
            case 2:
                return f"({self.condition(depth - 1)} {pick(['and', 'or'])} {self.condition(depth - 1)})"
            case 3:
                return f"(not {self.condition(depth - 1)})"
            case _:
                return f"({self.number(depth - 1)} < {self.number(depth - 1)} <= {self.number(depth - 1)})"


def drawn(seed: int) -> str:
    draw = Draw(seed)
    return draw.chance.choice([draw.number, draw.text, draw.condition])(draw.chance.randint(0, 4))


expressions = st.integers(0, 2**40).map(drawn)
messages = st.fixed_dictionaries(
    {
        "i": st.integers(-9, 9),
        "j": st.integers(-(10**12), 10**12),
        "f": st.floats(-1e6, 1e6, allow_nan=False),
        "s": st.text("abä", max_size=4),
        "b": st.booleans(),
    }
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(expressions, st.lists(messages, min_size=1, max_size=4))
def test_a_compiled_expression_says_what_python_says(text: str, rows: list[dict[str, Any]]) -> None:
    import msgspec

    builder = LoopBuilder(SCHEMA, Standing(Path()), [], Path(), json_decoder(SCHEMA))
    try:
        typed = compile_expression(text, builder.row, builder.pool)
    except ExpressionError as fault:
        refused = fault.message
        assert "at most" in refused, refused
        return
    builder.writer.line(f"append({typed.code})")
    loop, _ = builder.build()
    for row in rows:
        found, faults = loop([msgspec.json.encode(row)], None, 0, "")
        try:
            wanted = eval(text, {}, dict(row))
        except ZeroDivisionError:
            assert isinstance(faults[0][0], ZeroDivisionError)
            continue
        except OverflowError:
            continue
        assert not faults, faults
        if isinstance(wanted, float):
            assert found[0] == wanted or (math.isnan(wanted) and math.isnan(found[0]))
        else:
            assert (found[0], type(found[0])) == (wanted, type(wanted))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text("ijfsb()[]{}.,:'\"+-*/%<>=! andornotif\n\\0123ä_", max_size=60))
def test_any_text_is_compiled_or_refused(text: str) -> None:
    for open_row in (False, True):
        pool, writer = Pool(), Writer()
        row = Row.dynamic(writer, pool, "m") if open_row else Row.closed(writer, pool, SCHEMA, "m")
        try:
            typed = compile_expression(text, row, pool)
        except ExpressionError as fault:
            start, end, told = fault.start, fault.end, fault.place(text)
            assert 0 <= start <= end <= max(len(text), 1), told
            continue
        compile(typed.code, "<expression>", "eval")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    expressions,
    st.dictionaries(
        st.sampled_from(list(FIELDS)),
        st.one_of(st.none(), st.integers(), st.text(max_size=3), st.lists(st.integers(), max_size=2), st.booleans()),
    ),
)
def test_without_a_schema_any_message_is_a_result_or_a_dead_letter(text: str, row: dict[str, Any]) -> None:
    import msgspec

    builder = LoopBuilder(None, Standing(Path()), [], Path(), json_decoder(None))
    try:
        typed = compile_expression(text, builder.row, builder.pool)
    except ExpressionError:
        return
    builder.writer.line(f"append({typed.code})")
    loop, _ = builder.build()
    found, faults = loop([msgspec.json.encode(row)], None, 0, "")
    assert len(found) + len(faults) == 1
    assert all(isinstance(fault, ROW_ERRORS) for fault, _ in faults)
