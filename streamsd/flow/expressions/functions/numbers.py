"""Functions of numbers."""

from __future__ import annotations

from collections.abc import Iterable

from streamsd.flow.expressions.functions.signature import Function, function, number_item, same, signature, widest
from streamsd.flow.types import BOOL, FLOAT, INT


def numbers() -> Iterable[Function]:
    yield function(
        "abs", "math", "The value without its sign.", "abs(-3) == 3", signature("abs({0})", same, "x: number")
    )
    yield function(
        "ceil",
        "math",
        "The smallest whole number not below.",
        "ceil(1.2) == 2",
        signature("ceil({0})", INT, "x: number"),
    )
    yield function(
        "floor",
        "math",
        "The largest whole number not above.",
        "floor(-1.2) == -2",
        signature("floor({0})", INT, "x: number"),
    )
    yield function(
        "round",
        "math",
        "The nearest whole number, or that many decimals; halves go to the even neighbour.",
        "round(2.345, 1) == 2.3",
        signature("round_int({0})", INT, "x: number"),
        signature("round_to({0}, {1})", same, "x: number, digits: int"),
    )
    yield function("sqrt", "math", "The square root.", "sqrt(9) == 3", signature("sqrt({0})", FLOAT, "x: number"))
    yield function("exp", "math", "e to the power of x.", "exp(0) == 1", signature("exp({0})", FLOAT, "x: number"))
    yield function(
        "log",
        "math",
        "The natural logarithm, or that of a base.",
        "log(8, 2) == 3",
        signature("log({0})", FLOAT, "x: number"),
        signature("log({0}, {1})", FLOAT, "x: number, base: number"),
    )
    yield function(
        "pow",
        "math",
        "x to the power of y, as a float.",
        "pow(2, 10) == 1024",
        signature("power({0}, {1})", FLOAT, "x: number, y: number"),
    )
    yield function("sign", "math", "-1, 0 or 1.", "sign(-7) == -1", signature("sign({0})", INT, "x: number"))
    yield function(
        "min",
        "math",
        "The smallest of its arguments, or of a list.",
        "min(3, 1, 2) == 1",
        signature("min({rest})", widest, "x: number, y: number, …"),
        signature("min({0})", number_item, "values: list[number]"),
    )
    yield function(
        "max",
        "math",
        "The largest of its arguments, or of a list.",
        "max([3, 1, 2]) == 3",
        signature("max({rest})", widest, "x: number, y: number, …"),
        signature("max({0})", number_item, "values: list[number]"),
    )
    yield function(
        "clamp",
        "math",
        "x, but within low and high.",
        "clamp(9, 0, 5) == 5",
        signature("clamp({0}, {1}, {2})", widest, "x: number, low: number, high: number"),
    )
    yield function(
        "is_finite",
        "math",
        "Whether it is neither infinite nor not a number.",
        "is_finite(1.5)",
        signature("is_finite({0})", BOOL, "x: number"),
    )
