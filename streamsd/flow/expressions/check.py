"""Checks an expression's types and writes the Python code of it, node by node."""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from typing import Any

from streamsd.core.diagnostics import name_hint
from streamsd.flow import moments
from streamsd.flow.expressions import runtime
from streamsd.flow.expressions.functions import FUNCTIONS, SPECIAL
from streamsd.flow.expressions.source import ExpressionError, Source, parse
from streamsd.flow.expressions.typed import NO_CONSTANT, Pool, Scope, Typed, attribute, regex
from streamsd.flow.types import (
    ANY,
    BOOL,
    COMPUTED_TIME,
    FLOAT,
    INT,
    NULL,
    NUMBER,
    STR,
    TIME,
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
_ORDER = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_ARITHMETIC = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%"}


def compile_expression(text: str, scope: Scope, pool: Pool) -> Typed:
    """The code and type of an expression; ExpressionError with its place otherwise."""
    return Checker(parse(text), scope, pool).visit_root()


def compile_condition(text: str, scope: Scope, pool: Pool) -> tuple[Typed, frozenset[str]]:
    """The same for a condition, with the names that are not null where it holds."""
    checker = Checker(parse(text), scope, pool)
    typed = checker.condition(checker.source.tree)
    return typed, checker.facts(checker.source.tree)[0]


class Checker:
    """One expression. `narrowed`: fields that are known not to be null at the place being looked at."""

    def __init__(self, source: Source, scope: Scope, pool: Pool) -> None:
        self.source = source
        self.scope = scope
        self.pool = pool
        self.narrowed: frozenset[str] = frozenset()

    def visit_root(self) -> Typed:
        return self.visit(self.source.tree)

    def error(self, node: ast.AST, message: str, hint: str = "") -> ExpressionError:
        return self.source.error(node, message, hint)

    def visit(self, node: ast.expr, lenient: bool = False) -> Typed:
        match node:
            case ast.Constant(value=value):
                return self._constant(node, value)
            case ast.Name(id=name):
                return self._narrow(node, self._name(node, name, lenient))
            case ast.Attribute(value=inner, attr=name):
                return self._narrow(node, self._member(node, self.visit(inner, lenient), name, lenient))
            case ast.Subscript():
                return self._narrow(node, self._subscript(node, lenient))
            case ast.BoolOp():
                return self._bool(node)
            case ast.UnaryOp():
                return self._unary(node)
            case ast.BinOp():
                return self._binary(node)
            case ast.Compare():
                return self._compare(node)
            case ast.IfExp():
                return self._if(node)
            case ast.Call():
                return self._call(node)
            case ast.List(elts=elements):
                return self._list(elements)
            case ast.Dict():
                return self._dict(node)
            case ast.JoinedStr():
                return self._text(node)
            case _:
                raise self.error(node, "this is not part of the language")

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

    def _name(self, node: ast.AST, name: str, lenient: bool) -> Typed:
        found = self.scope.lenient(name) if lenient else self.scope.field(name)
        if found is not None:
            return found
        if name in _WORDS:
            return self._constant(node, _WORDS[name])
        if name in FUNCTIONS or name in SPECIAL:
            raise self.error(node, f"{name!r} is a function", f"write {name}(…)")
        raise self.error(node, f"unknown field {name!r}", name_hint(name, self.scope.names(), "fields"))

    def _narrow(self, node: ast.expr, typed: Typed) -> Typed:
        if typed.type.optional and self.narrowed and ast.unparse(node) in self.narrowed:
            return Typed(typed.code, typed.type.required())
        return typed

    def _member(self, node: ast.AST, inner: Typed, name: str, lenient: bool) -> Typed:
        if inner.type.optional and not lenient:
            raise self._nullable(node, inner)
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
            raise self._nullable(node.value, inner)
        if isinstance(node.slice, ast.Slice):
            return self._slice(node, node.slice, inner)
        index = self.visit(node.slice)
        match inner.type.base:
            case Base.LIST:
                return Typed(f"{inner.code}[{self._guard(node.slice, index, INT)}]", inner.type.item or ANY)
            case Base.STR:
                return Typed(f"{inner.code}[{self._guard(node.slice, index, INT)}]", STR)
            case Base.MAP:
                return Typed(f"{inner.code}[{self._guard(node.slice, index, STR)}]", inner.type.item or ANY)
            case Base.ANY:
                return Typed(f"{inner.code}[{index.code}]", ANY)
            case _:
                raise self.error(node, f"{inner.type} has no items")

    def _slice(self, node: ast.AST, piece: ast.Slice, inner: Typed) -> Typed:
        if inner.type.base not in (Base.LIST, Base.STR, Base.ANY):
            raise self.error(node, f"{inner.type} has no items")
        if piece.step is not None:
            raise self.error(piece.step, "a slice takes no step")
        ends = [self._guard(end, self.visit(end), INT) if end is not None else "" for end in (piece.lower, piece.upper)]
        return Typed(f"{inner.code}[{ends[0]}:{ends[1]}]", inner.type)

    def _list(self, elements: Sequence[ast.expr]) -> Typed:
        parts = [_inside(self.visit(element)) for element in elements]
        item = ANY
        for number, part in enumerate(parts):
            item = part.type if number == 0 else common(item, part.type)
        value: Any = [part.constant for part in parts] if all(part.is_constant for part in parts) else NO_CONSTANT
        return Typed("[" + ", ".join(part.kept() for part in parts) + "]", list_of(item), value)

    def _dict(self, node: ast.Dict) -> Typed:
        item, code = ANY, []
        for number, (key, value) in enumerate(zip(node.keys, node.values, strict=True)):
            if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
                raise self.error(key or node, "a key of a map is a text in quotes")
            part = _inside(self.visit(value))
            item = part.type if number == 0 else common(item, part.type)
            code.append(f"{key.value!r}: {part.kept()}")
        return Typed("{" + ", ".join(code) + "}", map_of(item))

    def _text(self, node: ast.JoinedStr) -> Typed:
        parts = []
        for value in node.values:
            if isinstance(value, ast.FormattedValue):
                part = self.visit(value.value)
                parts.append(part.code if part.type == STR else f"to_str({_inside(part).code})")
            elif isinstance(value, ast.Constant):
                parts.append(repr(value.value))
        return Typed(f"limited(''.join(({', '.join(parts)},)))" if parts else "''", STR)

    # --- operators

    def condition(self, node: ast.expr) -> Typed:
        """A value that must be true or false."""
        typed = self.visit(node)
        if typed.type.base is Base.ANY:
            return Typed(f"as_bool({typed.code})", BOOL)
        if typed.type.optional:
            raise self._nullable(node, typed)
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
            case ast.Compare(left=left, ops=[op], comparators=[ast.Constant(value=None) | ast.Name(id="null")]):
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

    def _unary(self, node: ast.UnaryOp) -> Typed:
        if isinstance(node.op, ast.Not):
            return Typed(f"(not {self.condition(node.operand).code})", BOOL)
        typed = self._operand(node.operand)
        if typed.type.base is not Base.ANY and not typed.type.numeric:
            raise self.error(node, f"a sign stands before numbers; this is {typed.type}")
        sign = "-" if isinstance(node.op, ast.USub) else "+"
        value = NO_CONSTANT if not typed.is_constant else (-typed.constant if sign == "-" else typed.constant)
        return Typed(f"({sign}{typed.code})", typed.type, value)

    def _operand(self, node: ast.expr) -> Typed:
        typed = self.visit(node)
        if typed.type.optional or typed.type.base is Base.NULL:
            raise self._nullable(node, typed)
        return typed

    def _nullable(self, node: ast.AST, typed: Typed) -> ExpressionError:
        start, end = self.source.span(node)
        name = self.source.text[start:end]
        if typed.type.base is Base.NULL:
            return self.error(node, "null has no value to compute with")
        return self.error(
            node, f"{name!r} may be null", f"write coalesce({name}, …), or test '{name} is not None' before"
        )

    def _binary(self, node: ast.BinOp) -> Typed:
        left, right = self._operand(node.left), self._operand(node.right)
        symbol = _ARITHMETIC[type(node.op)]
        a, b = left.type, right.type
        if Base.TIME in (a.base, b.base):
            return self._time_arithmetic(node, symbol, left, right)
        if a.numeric and b.numeric:
            return self._numbers(symbol, left, right)
        if symbol == "+" and a.base is b.base and a.base in (Base.STR, Base.LIST):
            return Typed(f"concat({left.code}, {right.code})", common(a, b))
        if Base.ANY in (a.base, b.base):
            return self._unknown(node, symbol, left, right)
        if symbol == "+" and Base.STR in (a.base, b.base):
            raise self.error(node, f"cannot add {a} and {b}", 'write an f-string: f"{a}{b}", or str(x)')
        raise self.error(node, f"cannot compute {a} {symbol} {b}")

    def _numbers(self, symbol: str, left: Typed, right: Typed) -> Typed:
        bases = {left.type.base, right.type.base}
        if symbol == "/":
            made = FLOAT
        elif bases == {Base.INT}:
            made = INT
        else:
            made = FLOAT if Base.FLOAT in bases else NUMBER
        grows = made is not FLOAT and (symbol in "*+-" or left.grows or right.grows)
        return Typed(f"({left.code} {symbol} {right.code})", made, grows=grows)

    def _unknown(self, node: ast.AST, symbol: str, left: Typed, right: Typed) -> Typed:
        """One side's type is known only when it runs."""
        known = right.type if left.type.base is Base.ANY else left.type
        wanted = {"+": (Base.STR, Base.LIST)}.get(symbol, ())
        if not (known.base is Base.ANY or known.numeric or known.base in wanted):
            raise self.error(node, f"cannot compute {left.type} {symbol} {right.type}")
        made = ANY if symbol == "+" and not known.numeric else NUMBER
        if symbol == "+" and known.base in (Base.STR, Base.LIST):
            made = known
        call = {"*": "multiply", "%": "modulo"}.get(symbol)
        if symbol == "+" and not known.numeric:
            call = "concat"
        if call and not (symbol in "*%" and known.base is Base.FLOAT and left.type.base is not Base.ANY):
            return Typed(f"{call}({left.code}, {right.code})", made, grows=made in (NUMBER, ANY))
        return Typed(f"({left.code} {symbol} {right.code})", FLOAT if symbol == "/" else made, grows=symbol != "/")

    def _time_arithmetic(self, node: ast.AST, symbol: str, left: Typed, right: Typed) -> Typed:
        a, b = left.type.base, right.type.base
        if symbol == "-" and a is Base.TIME and b is Base.TIME:
            return Typed(f"(({left.micros()} - {right.micros()}) / 1000000)", FLOAT)
        if symbol in "+-" and a is Base.TIME and (right.type.numeric or b is Base.ANY):
            number = self._guard(node, right, NUMBER)
            return Typed(f"({left.micros()} {symbol} seconds_to_micros({number}))", COMPUTED_TIME)
        if symbol == "+" and b is Base.TIME and (left.type.numeric or a is Base.ANY):
            number = self._guard(node, left, NUMBER)
            return Typed(f"({right.micros()} + seconds_to_micros({number}))", COMPUTED_TIME)
        raise self.error(
            node,
            f"cannot compute {left.type} {symbol} {right.type}",
            "to a time, seconds are added; two times are subtracted",
        )

    def _compare(self, node: ast.Compare) -> Typed:
        parts: list[str] = []
        left_node = node.left
        left = self.visit(left_node, lenient=self._against_null(node))
        for op, right_node in zip(node.ops, node.comparators, strict=True):
            right = self.visit(right_node)
            if len(node.ops) > 1 and not right.is_constant and not right.code.isidentifier():
                temp = self.pool.temp()
                shown = Typed(f"({temp} := {right.code})", right.type)
                parts.append(self._pair(node, op, left_node, left, right_node, shown))
                right = Typed(temp, right.type)
            else:
                parts.append(self._pair(node, op, left_node, left, right_node, right))
            left_node, left = right_node, right
        return Typed(parts[0] if len(parts) == 1 else "(" + " and ".join(parts) + ")", BOOL)

    @staticmethod
    def _against_null(node: ast.Compare) -> bool:
        return len(node.ops) == 1 and (
            (isinstance(node.comparators[0], ast.Constant) and node.comparators[0].value is None)
            or (isinstance(node.comparators[0], ast.Name) and node.comparators[0].id == "null")
        )

    def _pair(self, node: ast.AST, op: ast.cmpop, ln: ast.expr, left: Typed, rn: ast.expr, right: Typed) -> str:
        match op:
            case ast.Is() | ast.IsNot():
                if right.type.base is not Base.NULL:
                    raise self.error(rn, "'is' compares with None only", "write ==")
                return f"({left.code} is{' not' if isinstance(op, ast.IsNot) else ''} None)"
            case ast.Eq() | ast.NotEq():
                symbol = "==" if isinstance(op, ast.Eq) else "!="
                if Base.NULL in (left.type.base, right.type.base):
                    return f"({left.code} {'is' if symbol == '==' else 'is not'} {right.code})"
                return self._equal(node, symbol, left, right)
            case ast.In() | ast.NotIn():
                return self._within(node, "in" if isinstance(op, ast.In) else "not in", left, right)
            case _:
                for side, at in ((left, ln), (right, rn)):
                    if side.type.optional or side.type.base is Base.NULL:
                        raise self._nullable(at, side)
                return self._order(node, _ORDER[type(op)], left, right)

    def _equal(self, node: ast.AST, symbol: str, left: Typed, right: Typed) -> str:
        a, b = left.type.required(), right.type.required()
        if Base.TIME in (a.base, b.base):
            if left.type.optional or right.type.optional:
                raise self._nullable(node, left if left.type.optional else right)
            return self._order(node, symbol, left, right)
        same = a.base is b.base or (a.numeric and b.numeric) or Base.ANY in (a.base, b.base)
        if not same:
            raise self.error(node, f"{a} and {b} are never equal", self._conversion(left, right))
        return f"({left.code} {symbol} {right.code})"

    def _order(self, node: ast.AST, symbol: str, left: Typed, right: Typed) -> str:
        a, b = left.type, right.type
        if Base.TIME in (a.base, b.base):
            if a.base is b.base and a.form is b.form and a.form is not None and a.form.value != "text":
                return f"({left.code} {symbol} {right.code})"
            return f"({self._moment(node, left)} {symbol} {self._moment(node, right)})"
        comparable = (a.numeric and b.numeric) or (a.base is b.base and a.base in (Base.STR, Base.BOOL, Base.LIST))
        if not comparable and Base.ANY not in (a.base, b.base):
            raise self.error(node, f"cannot compare {a} {symbol} {b}", self._conversion(left, right))
        return f"({left.code} {symbol} {right.code})"

    @staticmethod
    def _conversion(left: Typed, right: Typed) -> str:
        bases = {left.type.base, right.type.base}
        if Base.STR not in bases:
            return ""
        text = left if left.type.base is Base.STR else right
        if text.is_constant:
            try:
                float(text.constant)
            except ValueError:
                return ""
            return f"write the number without quotes: {text.constant}"
        return "convert the text: float(x) or int(x)"

    def _moment(self, node: ast.AST, side: Typed) -> str:
        if side.type.base is Base.TIME or side.type.base is Base.ANY:
            return side.micros()
        if side.type == STR and side.is_constant:
            try:
                return repr(moments.from_text(side.constant))
            except ValueError:
                raise self.error(node, f"{side.constant!r} is not a time", "write 2030-01-31T12:00:00Z") from None
        raise self.error(node, f"cannot compare a time with {side.type}", "write time(x) for seconds or text")

    def _within(self, node: ast.AST, word: str, left: Typed, right: Typed) -> str:
        if right.type.optional:
            raise self._nullable(node, right)
        match right.type.base:
            case Base.LIST:
                item = right.type.item or ANY
                if Base.ANY not in (item.base, left.type.base) and not (
                    item.base is left.type.base or (item.numeric and left.type.numeric)
                ):
                    raise self.error(node, f"a {left.type} is never in {right.type}")
                if right.is_constant and all(isinstance(v, str | int | float | bool) for v in right.constant):
                    return f"({left.code} {word} {self.pool.constant(frozenset(right.constant))})"
            case Base.STR:
                return f"({self._guard(node, left, STR)} {word} {right.code})"
            case Base.MAP:
                return f"({self._guard(node, left, STR)} {word} {right.code})"
            case Base.ANY:
                pass
            case _:
                raise self.error(node, f"'in' looks into lists, texts and maps; this is {right.type}")
        return f"({left.code} {word} {right.code})"

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
        body, other = _alike(body, other)
        made, a, b = common(body.type, other.type), body.code, other.code
        return Typed(f"({a} if {test.code} else {b})", made, grows=body.grows or other.grows)

    # --- calls

    def _call(self, node: ast.Call) -> Typed:
        if not isinstance(node.func, ast.Name):
            raise self.error(node.func, "only functions of the table can be called", "write lower(x), not x.lower()")
        name = node.func.id
        match name:
            case "coalesce":
                return self._coalesce(node)
            case "has":
                return self._has(node)
            case "field":
                literal = self._literal(node, 0, "field('name')", 1)
                return self._name(node.args[0], literal, lenient=False)
            case "meta":
                self.pool.uses_meta = True
                return Typed(f"get(mt, {self._literal(node, 0, SPECIAL['meta'][0], 1)!r})", STR.or_null())
            case "matches" | "extract" | "sub":
                return self._regex(node, name)
            case _:
                return self._function(node, name)

    def _function(self, node: ast.Call, name: str) -> Typed:
        function = FUNCTIONS.get(name)
        if function is None:
            raise self.error(
                node.func, f"unknown function {name!r}", name_hint(name, [*FUNCTIONS, *SPECIAL], "functions")
            )
        given = [self.visit(argument) for argument in node.args]
        types = [part.type for part in given]
        chosen = next((s for s in function.signatures if s.fits(types)), None)
        if chosen is None:
            for argument, part in zip(node.args, given, strict=True):
                if part.type.optional and any(s.fits([t.required() for t in types]) for s in function.signatures):
                    raise self._nullable(argument, part)
            shown = ", ".join(map(str, types))
            raise self.error(node, f"{name}({shown}) does not fit", f"write {function.words()}")
        wanted = [kind for _, kind in chosen.params]
        wanted += [wanted[-1]] * (len(given) - len(wanted)) if wanted else []
        code = [self._guard(a, g, w) for a, g, w in zip(node.args, given, wanted, strict=True)]
        grows = any(part.grows for part in given) or name in ("sum", "max", "min", "abs", "clamp")
        return Typed(chosen.code.format(*code, rest=", ".join(code)), chosen.result_for(types), grows=grows)

    def _guard(self, node: ast.AST, given: Typed, wanted: Type) -> str:
        """Code of an argument as the function wants it: checked when it runs if its type is unknown before."""
        if not accepts(wanted, given.type):
            if given.type.optional:
                raise self._nullable(node, given)
            raise self.error(node, f"expected {wanted}, found {given.type}")
        if wanted.base is Base.TIME:
            return given.micros()
        if wanted.base is Base.ANY:
            return _inside(given).code
        if given.type.base is Base.ANY and wanted.base in _GUARDS:
            return f"{_GUARDS[wanted.base]}({given.code})"
        return given.code

    def _coalesce(self, node: ast.Call) -> Typed:
        if len(node.args) < 2:
            raise self.error(node, "coalesce takes two arguments or more", "write coalesce(x, 0)")
        parts = [self.visit(argument, lenient=True) for argument in node.args]
        made = parts[-1]
        for part in reversed(parts[:-1]):
            temp = self.pool.temp()
            if (
                part.type.optional
                and Base.TIME in (part.type.base, made.type.base)
                and part.type.form != made.type.form
            ):
                raise self.error(node, "coalesce takes times of one form", "write x if x is not None else y")
            made = _inside(made) if made.type.required() != part.type.required() else made
            joined = common(part.type.required(), made.type)
            code = f"({temp} if ({temp} := {part.code}) is not None else {made.code})"
            made = Typed(code, joined, grows=part.grows or made.grows)
        return made

    def _has(self, node: ast.Call) -> Typed:
        if len(node.args) != 1 or not isinstance(node.args[0], ast.Name | ast.Attribute | ast.Subscript | ast.Call):
            raise self.error(node, "has takes one field", "write has(temp_c)")
        inner = node.args[0]
        if isinstance(inner, ast.Call):
            call = inner.func
            if not (isinstance(call, ast.Name) and call.id in ("field", "meta")):
                raise self.error(inner, "has takes one field", "write has(temp_c)")
            if call.id == "field":
                found = self.scope.lenient(self._literal(inner, 0, "field('name')", 1))
                return Typed(f"({found.code} is not None)" if found else "False", BOOL)
        return Typed(f"({self.visit(inner, lenient=True).code} is not None)", BOOL)

    def _literal(self, node: ast.Call, index: int, words: str, count: int) -> str:
        if len(node.args) != count:
            raise self.error(node, f"{words} takes {count} argument{'s' if count > 1 else ''}", f"write {words}")
        argument = node.args[index]
        if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
            raise self.error(argument, "this stands in quotes: it must be known before the flow runs", f"write {words}")
        return argument.value

    def _regex(self, node: ast.Call, name: str) -> Typed:
        words = SPECIAL[name][0]
        pattern = self._literal(node, 1, words, 3 if name == "sub" else 2)
        text = self._guard(node.args[0], self.visit(node.args[0]), STR)
        try:
            compiled = regex(pattern)
        except ExpressionError as fault:
            raise self.error(node.args[1], fault.message, fault.hint) from None
        match name:
            case "matches":
                return Typed(f"({self.pool.constant(compiled.search)}({text}) is not None)", BOOL)
            case "extract":
                return Typed(f"{self.pool.constant(_extractor(compiled))}({text})", STR.or_null())
            case _:
                new = self._guard(node.args[2], self.visit(node.args[2]), STR)
                return Typed(f"{self.pool.constant(_substitute(compiled))}({text}, {new})", STR)


def _inside(part: Typed) -> Typed:
    """A value inside a list, a map or a text: there a computed time stands as text."""
    if part.type == COMPUTED_TIME:
        return Typed(f"to_text({part.code})", TIME)
    return part


def _alike(a: Typed, b: Typed) -> tuple[Typed, Typed]:
    """Two values of which one is taken: times of different forms become computed ones."""
    if (
        a.type.base is Base.TIME
        and b.type.base is Base.TIME
        and a.type != b.type
        and not (a.type.optional or b.type.optional)
    ):
        return Typed(a.micros(), COMPUTED_TIME), Typed(b.micros(), COMPUTED_TIME)
    if a.type != b.type:
        return _inside(a), _inside(b)
    return a, b


def _extractor(pattern: Any) -> Any:
    group = 1 if pattern.groups else 0

    def extract(text: str) -> str | None:
        found = pattern.search(text)
        return found.group(group) if found else None

    return extract


def _substitute(pattern: Any) -> Any:
    def substitute(text: str, new: str) -> str:
        # A replacement of ours, never a template: back references in it would be the message's to write.
        pieces, at, size = [], 0, 0
        for found in pattern.finditer(text):
            pieces += [text[at : found.start()], new]
            size += found.start() - at + len(new)
            if size > runtime.MAX_TEXT:
                return runtime.limited(" " * (runtime.MAX_TEXT + 1))
            at = found.end()
        return runtime.limited("".join([*pieces, text[at:]]))

    return substitute
