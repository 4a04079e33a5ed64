"""Checks an expression's types and writes the Python code of it, node by node."""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from typing import Any

from streamsd.core.diagnostics import name_hint
from streamsd.flow.expressions.calls import call
from streamsd.flow.expressions.comparisons import compare
from streamsd.flow.expressions.functions import FUNCTIONS, SPECIAL
from streamsd.flow.expressions.operators import binary, unary
from streamsd.flow.expressions.source import ExpressionError, Source, foreign, gathered, is_null, read
from streamsd.flow.expressions.typed import NO_CONSTANT, Pool, Scope, Typed, alike, attribute, inside
from streamsd.flow.types import (
    ANY,
    BOOL,
    FLOAT,
    INT,
    NULL,
    STR,
    Base,
    Type,
    accepts,
    common,
    list_of,
    map_of,
)

_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None}
_GUARDS = {
    Base.BOOL: "as_bool",
    Base.INT: "as_int",
    Base.NUMBER: "as_number",
    Base.FLOAT: "as_number",
    Base.STR: "as_str",
    Base.LIST: "as_list",
    Base.MAP: "as_map",
    Base.BYTES: "as_bytes",
}


def compile_expression(text: str, scope: Scope, pool: Pool) -> Typed:
    """The code and type of an expression; ExpressionError with its place otherwise."""
    return Checker(read(text), scope, pool).visit_root()


def compile_condition(text: str, scope: Scope, pool: Pool) -> tuple[Typed, frozenset[str]]:
    """The same for a condition, with the names that are not null where it holds."""
    checker = Checker(read(text), scope, pool)
    typed = checker.condition(checker.source.tree)
    checker.check()
    return typed, checker.facts(checker.source.tree)[0]


class Checker:
    """One expression. `narrowed`: fields that are known not to be null at the place being looked at. `faults`: those so
    far; what is at fault counts as a value of any type, so that the rest is looked at too."""

    def __init__(self, source: Source, scope: Scope, pool: Pool) -> None:
        self.source = source
        self.scope = scope
        self.pool = pool
        self.narrowed: frozenset[str] = frozenset()
        self.faults: list[ExpressionError] = list(source.faults)

    def visit_root(self, node: ast.expr | None = None) -> Typed:
        """The whole expression, or the part that is one by itself. ExpressionError with all faults."""
        typed = self.visit(node or self.source.tree)
        self.check()
        return typed

    def check(self) -> None:
        """ExpressionError when there were faults."""
        if self.faults:
            raise gathered(self.faults)

    def told(self, fault: ExpressionError) -> Typed:
        """Keep a fault; what stands for the value."""
        self.faults.append(fault)
        return Typed("None", ANY)

    def error(self, node: ast.AST, message: str, hint: str = "") -> ExpressionError:
        return self.source.error(node, message, hint)

    def visit(self, node: ast.expr, lenient: bool = False) -> Typed:
        if id(node) in self.source.refused:
            return self._refused(node)
        try:
            return self._visit(node, lenient)
        except ExpressionError as fault:
            return self.told(fault)

    def _visit(self, node: ast.expr, lenient: bool) -> Typed:
        match node:
            case ast.Constant(value=value):
                return self._constant(node, value)
            case ast.Name(id=name):
                return self._narrow(node, self.name(node, name, lenient))
            case ast.Attribute(value=inner, attr=name):
                return self._narrow(node, self._member(node, self.visit(inner, lenient), name, lenient))
            case ast.Subscript():
                return self._narrow(node, self._subscript(node, lenient))
            case ast.BoolOp():
                return self._bool(node)
            case ast.UnaryOp():
                return unary(self, node)
            case ast.BinOp():
                return binary(self, node)
            case ast.Compare():
                return compare(self, node)
            case ast.IfExp():
                return self._if(node)
            case ast.Call():
                return call(self, node)
            case ast.List(elts=elements):
                return self._list(elements)
            case ast.Dict():
                return self._dict(node)
            case ast.JoinedStr():
                return self._text(node)
            case _:
                raise self.error(node, "this is not part of the language")

    def _refused(self, node: ast.expr) -> Typed:
        """What the language has not is told already. The parts of it that it has may be at fault, too."""
        if isinstance(node, ast.Call | ast.BinOp | ast.UnaryOp | ast.Compare):
            for part in ast.iter_child_nodes(node):
                if isinstance(part, ast.expr) and not (isinstance(node, ast.Call) and part is node.func):
                    self.visit(part)
        return Typed("None", ANY)

    # --- values and names

    def _constant(self, node: ast.AST, value: Any) -> Typed:
        match value:
            case None:
                return Typed("None", NULL, None)
            case bool():
                return Typed(repr(value), BOOL, value)
            case int():
                return Typed(repr(value), INT, value)
            case float() if math.isfinite(value):
                return Typed(repr(value), FLOAT, value)
            case str():
                return Typed(repr(value), STR, value)
            case _:
                raise self.error(node, "this is not a value of the language")

    def name(self, node: ast.AST, name: str, lenient: bool) -> Typed:
        found = self.scope.lenient(name) if lenient else self.scope.field(name)
        if found is not None:
            return found
        if name in _WORDS:
            return self._constant(node, _WORDS[name])
        if name in FUNCTIONS or name in SPECIAL:
            raise self.error(node, f"{name!r} is a function", f"write {name}(…)")
        hint = name_hint(name, self.scope.names(), "fields") + foreign(name)
        raise self.error(node, f"unknown field {name!r}", hint)

    def _narrow(self, node: ast.expr, typed: Typed) -> Typed:
        if typed.type.optional and self.narrowed and ast.unparse(node) in self.narrowed:
            return Typed(typed.code, typed.type.required())
        return typed

    def _member(self, node: ast.AST, inner: Typed, name: str, lenient: bool) -> Typed:
        if inner.type.optional and not lenient:
            raise self.nullable(node, inner)
        match inner.type.base:
            case Base.OBJECT:
                kind = inner.type.field(name)
                if kind is None:
                    names = [known for known, _ in inner.type.fields]
                    raise self.error(node, f"unknown field {name!r}", name_hint(name, names, "fields"))
                if inner.type.optional:
                    temp = self.pool.temp()
                    return Typed(
                        f"(None if ({temp} := {inner.code}) is None else {temp}.{attribute(name)})", kind.or_null()
                    )
                return Typed(f"{inner.code}.{attribute(name)}", kind)
            case Base.MAP | Base.ANY:
                kind = inner.type.item or ANY
                if lenient:
                    return Typed(f"get({inner.code}, {name!r})", kind.or_null())
                return Typed(f"{inner.code}[{name!r}]", kind)
            case _:
                raise self.error(node, f"{inner.type} has no field {name!r}")

    def _subscript(self, node: ast.Subscript, lenient: bool) -> Typed:
        inner = self.visit(node.value, lenient)
        if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
            return self._member(node, inner, node.slice.value, lenient)
        if inner.type.optional:
            raise self.nullable(node.value, inner)
        if isinstance(node.slice, ast.Slice):
            return self._slice(node, node.slice, inner)
        index = self.visit(node.slice)
        match inner.type.base:
            case Base.LIST:
                return Typed(f"{inner.code}[{self.guard(node.slice, index, INT)}]", inner.type.item or ANY)
            case Base.STR:
                return Typed(f"{inner.code}[{self.guard(node.slice, index, INT)}]", STR)
            case Base.MAP:
                return Typed(f"{inner.code}[{self.guard(node.slice, index, STR)}]", inner.type.item or ANY)
            case Base.ANY:
                return Typed(f"{inner.code}[{index.code}]", ANY)
            case _:
                raise self.error(node, f"{inner.type} has no items")

    def _slice(self, node: ast.AST, piece: ast.Slice, inner: Typed) -> Typed:
        if inner.type.base not in (Base.LIST, Base.STR, Base.ANY):
            raise self.error(node, f"{inner.type} has no items")
        ends = [self.guard(end, self.visit(end), INT) if end is not None else "" for end in (piece.lower, piece.upper)]
        return Typed(f"{inner.code}[{ends[0]}:{ends[1]}]", inner.type)

    def _list(self, elements: Sequence[ast.expr]) -> Typed:
        parts = [inside(self.visit(element)) for element in elements]
        item = ANY
        for number, part in enumerate(parts):
            item = part.type if number == 0 else common(item, part.type)
        value: Any = [part.constant for part in parts] if all(part.is_constant for part in parts) else NO_CONSTANT
        code = "[" + ", ".join(part.kept() for part in parts) + "]"
        return Typed(code if all(map(_light, parts)) else f"weighed({code})", list_of(item), value)

    def _dict(self, node: ast.Dict) -> Typed:
        item, code, light = ANY, [], True
        for number, (key, value) in enumerate(zip(node.keys, node.values, strict=True)):
            assert isinstance(key, ast.Constant)  # read has seen to that
            part = inside(self.visit(value))
            item = part.type if number == 0 else common(item, part.type)
            code.append(f"{key.value!r}: {part.kept()}")
            light = light and _light(part)
        made = "{" + ", ".join(code) + "}"
        return Typed(made if light else f"weighed({made})", map_of(item))

    def _text(self, node: ast.JoinedStr) -> Typed:
        parts = []
        for value in node.values:
            if isinstance(value, ast.FormattedValue):
                part = self.visit(value.value)
                parts.append(part.code if part.type == STR else f"to_str({inside(part).code})")
            elif isinstance(value, ast.Constant):
                parts.append(repr(value.value))
        return Typed(f"joined(({', '.join(parts)},))" if parts else "''", STR)

    # --- conditions

    def condition(self, node: ast.expr) -> Typed:
        """A value that must be true or false."""
        try:
            return self._condition(node)
        except ExpressionError as fault:
            return self.told(fault)

    def _condition(self, node: ast.expr) -> Typed:
        typed = self.visit(node)
        if typed.type.base is Base.ANY:
            return Typed(f"as_bool({typed.code})", BOOL)
        if typed.type.optional:
            raise self.nullable(node, typed)
        if typed.type.base is not Base.BOOL:
            hint = ""
            if typed.type.numeric:
                hint = "compare it: x != 0"
            elif typed.type.base in (Base.STR, Base.LIST):
                hint = "compare it: len(x) > 0"
            raise self.error(node, f"a condition is true or false; this is {typed.type}", hint)
        return typed

    def _bool(self, node: ast.BoolOp) -> Typed:
        word, holding = ("and", 0) if isinstance(node.op, ast.And) else ("or", 1)
        outer, parts = self.narrowed, []
        try:
            for value in node.values:
                parts.append(self.condition(value).code)
                self.narrowed |= self.facts(value)[holding]
        finally:
            self.narrowed = outer
        return Typed("(" + f" {word} ".join(parts) + ")", BOOL)

    def facts(self, node: ast.expr) -> tuple[frozenset[str], frozenset[str]]:
        """Fields that are not null where the condition holds, and where it does not."""
        none: frozenset[str] = frozenset()
        match node:
            case ast.Compare(left=left, ops=[op], comparators=[right]) if is_null(right):
                name = frozenset((ast.unparse(left),))
                if isinstance(op, ast.IsNot | ast.NotEq):
                    return name, none
                if isinstance(op, ast.Is | ast.Eq):
                    return none, name
            case ast.Call(func=ast.Name(id="has"), args=[inner]):
                return frozenset((ast.unparse(inner),)), none
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                holds, fails = self.facts(inner)
                return fails, holds
            case ast.BoolOp(op=ast.And(), values=values):
                return none.union(*(self.facts(value)[0] for value in values)), none
            case ast.BoolOp(op=ast.Or(), values=values):
                return none, none.union(*(self.facts(value)[1] for value in values))
            case _:
                pass
        return none, none

    def _if(self, node: ast.IfExp) -> Typed:
        test = self.condition(node.test)
        holds, fails = self.facts(node.test)
        outer = self.narrowed
        try:
            self.narrowed = outer | holds
            body = self.visit(node.body)
            self.narrowed = outer | fails
            other = self.visit(node.orelse)
        finally:
            self.narrowed = outer
        body, other = alike(body, other)
        made, a, b = common(body.type, other.type), body.code, other.code
        return Typed(f"({a} if {test.code} else {b})", made, grows=body.grows or other.grows)

    # --- what operators and calls ask of their parts

    def operand(self, node: ast.expr) -> Typed:
        typed = self.visit(node)
        if typed.type.optional or typed.type.base is Base.NULL:
            return self.told(self.nullable(node, typed))
        return typed

    def nullable(self, node: ast.AST, typed: Typed) -> ExpressionError:
        start, end = self.source.span(node)
        name = self.source.text[start:end]
        if typed.type.base is Base.NULL:
            return self.error(node, "null has no value to compute with")
        return self.error(
            node, f"{name!r} may be null", f"write coalesce({name}, …), or test '{name} is not None' before"
        )

    def guard(self, node: ast.AST, given: Typed, wanted: Type) -> str:
        """Code of an argument as the function wants it: checked when it runs if its type is unknown before."""
        if not accepts(wanted, given.type):
            if given.type.optional:
                raise self.nullable(node, given)
            raise self.error(node, f"expected {wanted}, found {given.type}")
        if wanted.base is Base.TIME:
            return given.micros()
        if wanted.base is Base.ANY:
            return inside(given).code
        if given.type.base is Base.ANY and wanted.base in _GUARDS:
            return f"{_GUARDS[wanted.base]}({given.code})"
        return given.code


def _light(part: Typed) -> bool:
    """Whether a value is of one size, however often it is repeated."""
    return part.is_constant or part.type.numeric or part.type.base in (Base.BOOL, Base.TIME, Base.NULL)
