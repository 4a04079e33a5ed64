"""From the expressions of a window's `emit` to the slots of its state."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from streamsd.core.diagnostics import name_hint
from streamsd.flow.aggregates import AGGREGATES, COUNT, MAX_COLLECTED, NUMBERS, Aggregate, Slot
from streamsd.flow.expressions.check import Checker
from streamsd.flow.expressions.functions import FUNCTIONS, SPECIAL
from streamsd.flow.expressions.source import ExpressionError, Source
from streamsd.flow.expressions.typed import Pool, Scope, Typed
from streamsd.flow.records import has_objects, plain
from streamsd.flow.types import ANY, COMPUTED_TIME, FLOAT, INT, NUMBER, TIME, Base

_HASHABLE = (Base.ANY, Base.STR, Base.INT, Base.BOOL, Base.FLOAT, Base.TIME, Base.NUMBER, Base.BYTES)
_ALSO = {
    "avg": "mean",
    "average": "mean",
    "std": "stddev",
    "var": "variance",
    "percentile": "quantile",
    "uniq": "distinct",
}
"""What others call our aggregates."""


@dataclass
class Plan:
    """The slots of one window's state, and how they are filled from a message.

    `values`: code of each value that is taken of a message, with its type, in the order of `x0`, `x1` …
    """

    values: list[Typed] = field(default_factory=list)
    slots: list[tuple[int, Slot, dict[str, Any]]] = field(default_factory=list)
    _places: dict[tuple[str, int], int] = field(default_factory=dict)

    def value(self, typed: Typed) -> int:
        for number, known in enumerate(self.values):
            if known == typed:
                return number
        self.values.append(typed)
        return len(self.values) - 1

    def slot(self, name: str, slot: Slot, value: int, literals: dict[str, Any]) -> int:
        """The place of a slot; one that is there already is shared."""
        if slot is COUNT and (value < 0 or not self._nullable(value)):
            value = -1
        key = (name.format(**literals), value)
        if key not in self._places:
            self._places[key] = len(self.slots)
            self.slots.append((value, slot, literals))
        return self._places[key]

    def _nullable(self, value: int) -> bool:
        return self.values[value].type.optional or self.values[value].type.base is Base.ANY

    def signature(self) -> list[list[Any]]:
        """What the state looks like: state of another signature does not fit."""
        return [[slot.begin, value, value >= 0 and self._nullable(value)] for value, slot, _ in self.slots]

    @property
    def scalar(self) -> bool:
        """Whether its cells are numbers and nulls."""
        return all(slot in NUMBERS for _, slot, _ in self.slots)

    # --- code

    def begin(self) -> str:
        """Code of the state after the first message: `x0`, `x1` … are its values, `t` its time."""
        return "[" + ", ".join(self._begin(value, slot, literals) for value, slot, literals in self.slots) + "]"

    def _begin(self, value: int, slot: Slot, literals: dict[str, Any]) -> str:
        code = slot.begin.format(x=f"x{value}", t="t", **literals)
        if value >= 0 and self._nullable(value):
            return f"({code} if x{value} is not None else {slot.none})"
        return code

    def add(self, state: str) -> list[str]:
        """Statements that take one more message into `state`."""
        lines = []
        for place, (value, slot, literals) in enumerate(self.slots):
            cell = f"{state}[{place}]"
            code = slot.add.format(s=cell, x=f"x{value}", t="t", **literals)
            if value < 0 or not self._nullable(value):
                lines.append(code)
                continue
            lines.append(f"if x{value} is not None:")
            if slot.none == "None":
                begin = slot.begin.format(x=f"x{value}", t="t", **literals)
                lines += [f"    if {cell} is None:", f"        {cell} = {begin}", "    else:", f"        {code}"]
            else:
                lines.append(f"    {code}")
        return lines

    def merge(self, cell: str = "a[{}]") -> list[str]:
        """Statements that take the state `b` into that whose slots are `cell`."""
        lines = []
        for place, (value, slot, literals) in enumerate(self.slots):
            mine, other = cell.format(place), f"b[{place}]"
            code = slot.merge.format(s=mine, o=other, **literals)
            if value >= 0 and self._nullable(value) and slot.none == "None":
                copied = slot.copy.format(s=other)
                lines += [
                    f"if {mine} is None:",
                    f"    {mine} = None if {other} is None else {copied}",
                    f"elif {other} is not None:",
                    f"    {code}",
                ]
            else:
                lines.append(code)
        return lines

    def copy(self) -> str:
        """Code of a copy of `a` that shares nothing that changes."""
        cells = []
        for place, (value, slot, _) in enumerate(self.slots):
            code = slot.copy.format(s=f"a[{place}]")
            if slot.copy != "{s}" and value >= 0 and self._nullable(value):
                code = f"(None if a[{place}] is None else {code})"
            cells.append(code)
        return "[" + ", ".join(cells) + "]"


class ResultScope:
    """What a window's `emit` sees: the key's fields, the window's times, and the aggregates."""

    open = False

    def __init__(self, fields: Mapping[str, Typed]) -> None:
        self.fields = dict(fields)
        self.results: dict[str, Typed] = {}

    def field(self, name: str) -> Typed | None:
        return self.results.get(name) or self.fields.get(name)

    lenient = field

    def names(self) -> Mapping[str, Typed]:
        return self.fields


def compile_emit(source: Source, messages: Scope, results: ResultScope, pool: Pool, plan: Plan) -> Typed:
    """The result's code over `a` (the state). ExpressionError with its place otherwise."""
    aggregated = _Aggregated(source, messages, results, pool, plan)
    tree = aggregated.visit(source.tree)
    assert isinstance(tree, ast.expr)
    checker = Checker(replace(source, tree=tree), results, pool)
    typed = checker.visit(tree)
    checker.faults += aggregated.faults
    checker.check()
    return typed


class _Aggregated(ast.NodeTransformer):
    """Compiles each call of an aggregate over the messages and puts a name for its result in its place."""

    def __init__(self, source: Source, messages: Scope, results: ResultScope, pool: Pool, plan: Plan) -> None:
        self.source, self.messages, self.results, self.pool, self.plan = source, messages, results, pool, plan
        self.faults: list[ExpressionError] = []

    def visit(self, node: ast.AST) -> Any:
        if id(node) in self.source.refused:
            return node
        try:
            return super().visit(node)
        except ExpressionError as fault:
            self.faults.append(fault)
            return self._named(node, Typed("None", ANY))

    def _named(self, node: ast.AST, typed: Typed) -> ast.expr:
        """A name, in the place of the node, that means this."""
        key = f"result {len(self.results.results)}"
        self.results.results[key] = typed
        return ast.copy_location(ast.Name(id=key, ctx=ast.Load()), node)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if self.results.field(node.id) is None and self.messages.field(node.id) is not None:
            raise self.source.error(
                node,
                f"{node.id!r} is a field of single messages",
                f"aggregate it, such as last({node.id}); or add it to the key",
            )
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        aggregate = AGGREGATES.get(name)
        if name and aggregate is None and name not in FUNCTIONS and name not in SPECIAL:
            known = [*AGGREGATES, *FUNCTIONS, *SPECIAL]
            hint = f"write {_ALSO[name]}(…)" if name in _ALSO else name_hint(name, known, "aggregates and functions")
            raise self.source.error(node.func, f"unknown aggregate or function {name!r}", hint)
        if aggregate is None or (name in ("min", "max") and len(node.args) > 1):
            node.args = [self.visit(argument) for argument in node.args]
            return node
        return self._named(node, self._compile(node, aggregate))

    def _compile(self, node: ast.Call, aggregate: Aggregate) -> Typed:
        words = f"write {aggregate.example}"
        values = node.args[:1]
        if not values and aggregate.name != "count":
            raise self.source.error(node, f"{aggregate.name} takes a value", words)
        literals = self._literals(node, aggregate, words)
        value, kind = -1, INT
        if values:
            typed = self._value(values[0], aggregate)
            value, kind = self.plan.value(typed), typed.type
        cells = [f"a[{self.plan.slot(slot_name, slot, value, literals)}]" for slot_name, slot in aggregate.slots]
        code = aggregate.value.format(**dict(zip("ab", cells, strict=False)), **literals)
        result = aggregate.result(kind.required())
        if value >= 0 and (kind.optional or kind.base is Base.ANY) and aggregate.nullable_result:
            empty = f"{cells[0]} is None"
            code, result = f"(None if {empty} else {code})", result.or_null()
            if aggregate.name == "distinct":
                code, result = code.replace("(None if", "(0 if", 1), INT
        return Typed(code, result)

    def _value(self, node: ast.expr, aggregate: Aggregate) -> Typed:
        typed = Checker(replace(self.source, faults=()), self.messages, self.pool).visit_root(node)
        kind = typed.type
        if aggregate.takes is NUMBER and not (kind.numeric or kind.base is Base.ANY):
            raise self.source.error(
                node, f"{aggregate.name} takes numbers; this is {kind}", f"write {aggregate.example}"
            )
        if aggregate.finite:
            return self._finite(typed)
        if aggregate.takes is NUMBER and kind.base is Base.ANY:
            return Typed(f"number_or_null({typed.code})", NUMBER.or_null())
        if aggregate.name in ("distinct", "top_k") and kind.base not in _HASHABLE:
            raise self.source.error(node, f"{aggregate.name} takes texts, numbers, times; this is {kind}", "")
        if kind.base is Base.ANY and aggregate.name in ("distinct", "top_k"):
            return Typed(f"hashable({typed.code})", kind)
        if kind == COMPUTED_TIME and aggregate.name in ("top_k", "collect"):
            return Typed(f"to_text({typed.code})", TIME)
        if has_objects(kind):
            return Typed(f"to_builtins({typed.code})", plain(kind))
        return typed

    def _finite(self, typed: Typed) -> Typed:
        kind = typed.type
        if kind.base is Base.ANY or kind.optional:
            temp = self.pool.temp()
            code = f"(None if ({temp} := {typed.code}) is None else finite({temp}))"
            return Typed(code, FLOAT.or_null())
        return Typed(f"finite({typed.code})", FLOAT)

    def _literals(self, node: ast.Call, aggregate: Aggregate, words: str) -> dict[str, Any]:
        given = node.args[1:]
        if len(given) > len(aggregate.literals):
            raise self.source.error(node, f"{aggregate.name} takes fewer arguments", words)
        made: dict[str, Any] = {}
        for place, (name, wanted, default) in enumerate(aggregate.literals):
            if place >= len(given):
                if default is None:
                    raise self.source.error(node, f"{aggregate.name} takes {name}", words)
                made["pq"[place]] = default
                continue
            argument = given[place]
            value = argument.value if isinstance(argument, ast.Constant) else None
            if isinstance(value, bool) or not isinstance(value, int if wanted is int else int | float):
                raise self.source.error(argument, f"{name} is a number that is known before the flow runs", words)
            if wanted is float and not 0 <= value <= 1:
                raise self.source.error(argument, f"{name} lies between 0 and 1", words)
            if wanted is int and not 1 <= value <= MAX_COLLECTED:
                raise self.source.error(argument, f"{name} lies between 1 and {MAX_COLLECTED}", words)
            made["pq"[place]] = value
        return made
