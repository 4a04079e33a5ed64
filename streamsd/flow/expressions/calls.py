"""The types and the code of calls: functions of the table, and those that the compiler itself looks at."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from streamsd.core.diagnostics import nearest
from streamsd.flow.expressions import runtime
from streamsd.flow.expressions.functions import FUNCTIONS, SPECIAL
from streamsd.flow.expressions.source import ExpressionError
from streamsd.flow.expressions.typed import Typed, inside, regex
from streamsd.flow.faults import RowFault
from streamsd.flow.types import BOOL, STR, Base, common

if TYPE_CHECKING:
    from streamsd.flow.expressions.check import Checker


def call(checker: Checker, node: ast.Call) -> Typed:
    """A call of a function by its name; there are no others."""
    assert isinstance(node.func, ast.Name)  # read has seen to that
    name = node.func.id
    match name:
        case "coalesce":
            return _coalesce(checker, node)
        case "has":
            return _has(checker, node)
        case "field":
            literal = _literal(checker, node, 0, "field('name')", 1)
            return checker.name(node.args[0], literal, lenient=False)
        case "meta":
            checker.pool.uses_meta = True
            return Typed(f"get(mt, {_literal(checker, node, 0, SPECIAL['meta'][0], 1)!r})", STR.or_null())
        case "matches" | "extract" | "sub":
            return _regex(checker, node, name)
        case _:
            return _function(checker, node, name)


def _function(checker: Checker, node: ast.Call, name: str) -> Typed:
    function = FUNCTIONS.get(name)
    given = [checker.visit(argument) for argument in node.args]
    if function is None:
        known = sorted([*FUNCTIONS, *SPECIAL])
        close = nearest(name, known)
        hint = f"did you mean {close!r}?" if close else f"functions: {', '.join(known)}"
        raise checker.error(node.func, f"unknown function {name!r}", hint)
    types = [part.type for part in given]
    chosen = next((s for s in function.signatures if s.fits(types)), None)
    if chosen is None:
        for argument, part in zip(node.args, given, strict=True):
            if part.type.optional and any(s.fits([t.required() for t in types]) for s in function.signatures):
                raise checker.nullable(argument, part)
        shown = ", ".join(map(str, types))
        raise checker.error(node, f"{name}({shown}) does not fit", f"write {function.words()}")
    wanted = [kind for _, kind in chosen.params]
    wanted += [wanted[-1]] * (len(given) - len(wanted)) if wanted else []
    code = [checker.guard(a, g, w) for a, g, w in zip(node.args, given, wanted, strict=True)]
    grows = any(part.grows for part in given) or name in ("sum", "max", "min", "abs", "clamp")
    return Typed(chosen.code.format(*code, rest=", ".join(code)), chosen.result_for(types), grows=grows)


def _coalesce(checker: Checker, node: ast.Call) -> Typed:
    if len(node.args) < 2:
        raise checker.error(node, "coalesce takes two arguments or more", "write coalesce(x, 0)")
    parts = [checker.visit(argument, lenient=True) for argument in node.args]
    made = parts[-1]
    for part in reversed(parts[:-1]):
        temp = checker.pool.temp()
        if part.type.optional and Base.TIME in (part.type.base, made.type.base) and part.type.form != made.type.form:
            raise checker.error(node, "coalesce takes times of one form", "write x if x is not None else y")
        made = inside(made) if made.type.required() != part.type.required() else made
        joined = common(part.type.required(), made.type)
        code = f"({temp} if ({temp} := {part.code}) is not None else {made.code})"
        made = Typed(code, joined, grows=part.grows or made.grows)
    return made


def _has(checker: Checker, node: ast.Call) -> Typed:
    if len(node.args) != 1 or not isinstance(node.args[0], ast.Name | ast.Attribute | ast.Subscript | ast.Call):
        raise checker.error(node, "has takes one field", "write has(temp_c)")
    inner = node.args[0]
    if isinstance(inner, ast.Call):
        call = inner.func
        if not (isinstance(call, ast.Name) and call.id in ("field", "meta")):
            raise checker.error(inner, "has takes one field", "write has(temp_c)")
        if call.id == "field":
            found = checker.scope.lenient(_literal(checker, inner, 0, "field('name')", 1))
            return Typed(f"({found.code} is not None)" if found else "False", BOOL)
    return Typed(f"({checker.visit(inner, lenient=True).code} is not None)", BOOL)


def _literal(checker: Checker, node: ast.Call, index: int, words: str, count: int) -> str:
    if len(node.args) != count:
        raise checker.error(node, f"{words} takes {count} argument{'s' if count > 1 else ''}", f"write {words}")
    argument = node.args[index]
    if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
        raise checker.error(argument, "this stands in quotes: it must be known before the flow runs", f"write {words}")
    return argument.value


def _regex(checker: Checker, node: ast.Call, name: str) -> Typed:
    words = SPECIAL[name][0]
    given = [checker.visit(argument) for argument in node.args]
    pattern = _literal(checker, node, 1, words, 3 if name == "sub" else 2)
    text = checker.guard(node.args[0], given[0], STR)
    try:
        compiled = regex(pattern)
    except ExpressionError as fault:
        raise checker.error(node.args[1], fault.message, fault.hint) from None
    match name:
        case "matches":
            return Typed(f"({checker.pool.constant(compiled.search)}({text}) is not None)", BOOL)
        case "extract":
            return Typed(f"{checker.pool.constant(_extractor(compiled))}({text})", STR.or_null())
        case _:
            new = checker.guard(node.args[2], given[2], STR)
            return Typed(f"{checker.pool.constant(_substitute(compiled))}({text}, {new})", STR)


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
            if size > runtime.MAX_TEXT or len(pieces) > 2 * runtime.MAX_ITEMS:
                raise RowFault("too-long", "a text grew too long, or too much of it was replaced")
            at = found.end()
        return runtime.limited("".join([*pieces, text[at:]]))

    return substitute
