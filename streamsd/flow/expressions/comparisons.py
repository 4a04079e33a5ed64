"""The types and the code of comparisons."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from streamsd.flow import moments
from streamsd.flow.expressions.source import is_null
from streamsd.flow.expressions.typed import Typed
from streamsd.flow.types import ANY, BOOL, NULL, STR, Base

if TYPE_CHECKING:
    from streamsd.flow.expressions.check import Checker

_ORDER = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}


def compare(checker: Checker, node: ast.Compare) -> Typed:
    """One comparison or a chain of them, each part computed once."""
    parts: list[str] = []
    left_node = node.left
    left = checker.visit(left_node, lenient=_against_null(node))
    for op, right_node in zip(node.ops, node.comparators, strict=True):
        right = checker.visit(right_node)
        if len(node.ops) > 1 and not right.is_constant and not right.code.isidentifier():
            temp = checker.pool.temp()
            shown = Typed(f"({temp} := {right.code})", right.type)
            parts.append(_pair(checker, node, op, left_node, left, right_node, shown))
            right = Typed(temp, right.type)
        else:
            parts.append(_pair(checker, node, op, left_node, left, right_node, right))
        left_node, left = right_node, right
    return Typed(parts[0] if len(parts) == 1 else "(" + " and ".join(parts) + ")", BOOL)


def _against_null(node: ast.Compare) -> bool:
    return len(node.ops) == 1 and is_null(node.comparators[0])


def _pair(checker: Checker, node: ast.AST, op: ast.cmpop, ln: ast.expr, left: Typed, rn: ast.expr, right: Typed) -> str:
    match op:
        case ast.Is() | ast.IsNot():
            return f"({left.code} is{' not' if isinstance(op, ast.IsNot) else ''} None)"
        case ast.Eq() | ast.NotEq():
            symbol = "==" if isinstance(op, ast.Eq) else "!="
            if Base.NULL in (left.type.base, right.type.base):
                return f"({left.code} {'is' if symbol == '==' else 'is not'} {right.code})"
            return _equal(checker, node, symbol, left, right)
        case ast.In() | ast.NotIn():
            return _within(checker, node, "in" if isinstance(op, ast.In) else "not in", left, right)
        case _:
            empty = [(side, at) for side, at in ((left, ln), (right, rn)) if side.type.optional or side.type == NULL]
            if empty:
                for side, at in empty:
                    checker.told(checker.nullable(at, side))
                return "False"
            return _order(checker, node, _ORDER[type(op)], left, right)


def _equal(checker: Checker, node: ast.AST, symbol: str, left: Typed, right: Typed) -> str:
    a, b = left.type.required(), right.type.required()
    if Base.TIME in (a.base, b.base):
        if left.type.optional or right.type.optional:
            raise checker.nullable(node, left if left.type.optional else right)
        return _order(checker, node, symbol, left, right)
    same = a.base is b.base or (a.numeric and b.numeric) or Base.ANY in (a.base, b.base)
    if not same:
        raise checker.error(node, f"{a} and {b} are never equal", _conversion(left, right))
    return f"({left.code} {symbol} {right.code})"


def _order(checker: Checker, node: ast.AST, symbol: str, left: Typed, right: Typed) -> str:
    a, b = left.type, right.type
    if Base.TIME in (a.base, b.base):
        if a.base is b.base and a.form is b.form and a.form is not None and a.form.value != "text":
            return f"({left.code} {symbol} {right.code})"
        return f"({_moment(checker, node, left)} {symbol} {_moment(checker, node, right)})"
    comparable = (a.numeric and b.numeric) or (a.base is b.base and a.base in (Base.STR, Base.BOOL, Base.LIST))
    if not comparable and Base.ANY not in (a.base, b.base):
        raise checker.error(node, f"cannot compare {a} {symbol} {b}", _conversion(left, right))
    return f"({left.code} {symbol} {right.code})"


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


def _moment(checker: Checker, node: ast.AST, side: Typed) -> str:
    if side.type.base is Base.TIME or side.type.base is Base.ANY:
        return side.micros()
    if side.type == STR and side.is_constant:
        try:
            return repr(moments.from_text(side.constant))
        except ValueError:
            raise checker.error(node, f"{side.constant!r} is not a time", "write 2030-01-31T12:00:00Z") from None
    raise checker.error(node, f"cannot compare a time with {side.type}", "write time(x) for seconds or text")


def _within(checker: Checker, node: ast.AST, word: str, left: Typed, right: Typed) -> str:
    if right.type.optional:
        raise checker.nullable(node, right)
    match right.type.base:
        case Base.LIST:
            item = right.type.item or ANY
            if Base.ANY not in (item.base, left.type.base) and not (
                item.base is left.type.base or (item.numeric and left.type.numeric)
            ):
                raise checker.error(node, f"a {left.type} is never in {right.type}")
            if right.is_constant and all(isinstance(v, str | int | float | bool) for v in right.constant):
                return f"({left.code} {word} {checker.pool.constant(frozenset(right.constant))})"
        case Base.STR:
            return f"({checker.guard(node, left, STR)} {word} {right.code})"
        case Base.MAP:
            return f"({checker.guard(node, left, STR)} {word} {right.code})"
        case Base.ANY:
            pass
        case _:
            raise checker.error(node, f"'in' looks into lists, texts and maps; this is {right.type}")
    return f"({left.code} {word} {right.code})"
