"""Texts with expressions in braces: `rooms/{room}/{format_time(ts, '%H')}`. `{{` and `}}` are braces."""

from __future__ import annotations

from streamsd.flow.expressions.check import compile_expression
from streamsd.flow.expressions.source import ExpressionError, gathered
from streamsd.flow.expressions.typed import Pool, Scope, Typed
from streamsd.flow.types import COMPUTED_TIME, STR, Base


def compile_template(text: str, scope: Scope, pool: Pool) -> Typed:
    """Code of the text. ExpressionError with its place in the whole of it."""
    parts: list[str] = []
    constant = ""
    faults: list[ExpressionError] = []
    at = 0
    while at < len(text):
        if text[at : at + 2] in ("{{", "}}"):
            constant += text[at]
            at += 2
            continue
        if text[at] == "}":
            raise ExpressionError("a brace closes nothing", "write }} for a brace", at, at + 1)
        if text[at] != "{":
            constant += text[at]
            at += 1
            continue
        end = _closing(text, at)
        if constant:
            parts.append(repr(constant))
            constant = ""
        try:
            parts.append(_part(text[at + 1 : end], at + 1, scope, pool))
        except ExpressionError as fault:
            faults.append(fault)
        at = end + 1
    if faults:
        raise gathered(faults)
    if not parts:
        return Typed(repr(constant), STR, constant)
    if constant:
        parts.append(repr(constant))
    return Typed(f"joined(({', '.join(parts)},))", STR)


def _closing(text: str, start: int) -> int:
    """Where the brace that opens at `start` closes; quotes and inner braces are passed over."""
    depth, quote = 0, ""
    for at in range(start, len(text)):
        char = text[at]
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "{":
            depth += 1
        elif char == "}":
            depth -= 1
            if depth == 0:
                return at
    raise ExpressionError("a brace is not closed", "write {{ for a brace", start, start + 1)


def _part(text: str, start: int, scope: Scope, pool: Pool) -> str:
    try:
        typed = compile_expression(text, scope, pool)
    except ExpressionError as fault:
        raise fault.behind(start) from None
    if typed.type.optional or typed.type.base is Base.NULL:
        raise ExpressionError(
            f"{text.strip()!r} may be null", f"write coalesce({text.strip()}, …)", start, start + len(text)
        )
    if typed.type == COMPUTED_TIME:
        return f"to_text({typed.code})"
    return typed.code if typed.type == STR else f"to_str({typed.code})"
