"""The types and the code of signs and arithmetic."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from streamsd.flow.expressions.typed import NO_CONSTANT, Typed
from streamsd.flow.types import ANY, BOOL, COMPUTED_TIME, FLOAT, INT, NUMBER, Base, common

if TYPE_CHECKING:
    from streamsd.flow.expressions.check import Checker

_ARITHMETIC = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%"}


def unary(checker: Checker, node: ast.UnaryOp) -> Typed:
    """A sign, or `not`."""
    if isinstance(node.op, ast.Not):
        return Typed(f"(not {checker.condition(node.operand).code})", BOOL)
    typed = checker.operand(node.operand)
    if typed.type.base is not Base.ANY and not typed.type.numeric:
        raise checker.error(node, f"a sign stands before numbers; this is {typed.type}")
    sign = "-" if isinstance(node.op, ast.USub) else "+"
    value = NO_CONSTANT if not typed.is_constant else (-typed.constant if sign == "-" else typed.constant)
    return Typed(f"({sign}{typed.code})", typed.type, value)


def binary(checker: Checker, node: ast.BinOp) -> Typed:
    """Arithmetic; texts and lists are put together with +, to times seconds are added."""
    left, right = checker.operand(node.left), checker.operand(node.right)
    symbol = _ARITHMETIC[type(node.op)]
    a, b = left.type, right.type
    if Base.TIME in (a.base, b.base):
        return _time_arithmetic(checker, node, symbol, left, right)
    if a.numeric and b.numeric:
        return _numbers(checker, symbol, left, right)
    if symbol == "+" and a.base is b.base and a.base in (Base.STR, Base.LIST):
        return Typed(f"concat({left.code}, {right.code})", common(a, b))
    if Base.ANY in (a.base, b.base):
        return _unknown(checker, node, symbol, left, right)
    if symbol == "+" and Base.STR in (a.base, b.base):
        raise checker.error(node, f"cannot add {a} and {b}", 'write an f-string: f"{a}{b}", or str(x)')
    raise checker.error(node, f"cannot compute {a} {symbol} {b}")


def _numbers(checker: Checker, symbol: str, left: Typed, right: Typed) -> Typed:
    bases = {left.type.base, right.type.base}
    if symbol == "/":
        made = FLOAT
    elif bases == {Base.INT}:
        made = INT
    else:
        made = FLOAT if Base.FLOAT in bases else NUMBER
    grows = made is not FLOAT and (symbol in "*+-" or left.grows or right.grows)
    return Typed(f"({left.code} {symbol} {right.code})", made, grows=grows)


def _unknown(checker: Checker, node: ast.AST, symbol: str, left: Typed, right: Typed) -> Typed:
    """One side's type is known only when it runs."""
    known = right.type if left.type.base is Base.ANY else left.type
    wanted = {"+": (Base.STR, Base.LIST)}.get(symbol, ())
    if not (known.base is Base.ANY or known.numeric or known.base in wanted):
        raise checker.error(node, f"cannot compute {left.type} {symbol} {right.type}")
    made = ANY if symbol == "+" and not known.numeric else NUMBER
    if symbol == "+" and known.base in (Base.STR, Base.LIST):
        made = known
    call = {"*": "multiply", "%": "modulo"}.get(symbol)
    if symbol == "+" and not known.numeric:
        call = "concat"
    if call and not (symbol in "*%" and known.base is Base.FLOAT and left.type.base is not Base.ANY):
        return Typed(f"{call}({left.code}, {right.code})", made, grows=made in (NUMBER, ANY))
    return Typed(f"({left.code} {symbol} {right.code})", FLOAT if symbol == "/" else made, grows=symbol != "/")


def _time_arithmetic(checker: Checker, node: ast.AST, symbol: str, left: Typed, right: Typed) -> Typed:
    a, b = left.type.base, right.type.base
    if symbol == "-" and a is Base.TIME and b is Base.TIME:
        return Typed(f"(({left.micros()} - {right.micros()}) / 1000000)", FLOAT)
    if symbol in "+-" and a is Base.TIME and (right.type.numeric or b is Base.ANY):
        number = checker.guard(node, right, NUMBER)
        return Typed(f"({left.micros()} {symbol} seconds_to_micros({number}))", COMPUTED_TIME)
    if symbol == "+" and b is Base.TIME and (left.type.numeric or a is Base.ANY):
        number = checker.guard(node, left, NUMBER)
        return Typed(f"({right.micros()} + seconds_to_micros({number}))", COMPUTED_TIME)
    raise checker.error(
        node,
        f"cannot compute {left.type} {symbol} {right.type}",
        "to a time, seconds are added; two times are subtracted",
    )
