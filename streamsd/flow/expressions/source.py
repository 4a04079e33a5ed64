"""From text to a tree that holds nothing but what the language has, with bounds, and errors that say where."""

from __future__ import annotations

import ast
import re
import unicodedata
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace

from streamsd.core.diagnostics import FieldPath, Problem

MAX_LENGTH = 2000
MAX_NODES = 400
MAX_DEPTH = 40
MAX_LITERAL = 10**18
_MOST_FAULTS = 20


class ExpressionError(Exception):
    """A fault in an expression. `start` and `end` count characters of the text from 0; `end` is exclusive. `others`:
    the faults behind it that have nothing to do with it."""

    def __init__(
        self, message: str, hint: str = "", start: int = 0, end: int = 0, others: Iterable[ExpressionError] = ()
    ) -> None:
        self.others = tuple(others)
        self.message = message
        self.hint = hint
        self.start = start
        self.end = max(end, start)
        super().__init__(message)

    @property
    def all(self) -> tuple[ExpressionError, ...]:
        return self, *self.others

    def problems(self, text: str, path: FieldPath) -> list[Problem]:
        return [
            Problem("flow-expression", fault.place(text), fault.hint, path, within=(fault.start, fault.end))
            for fault in self.all
        ]

    def behind(self, start: int) -> ExpressionError:
        """The same where the expression stands so far within a text."""
        others = [other.behind(start) for other in self.others]
        return ExpressionError(self.message, self.hint, start + self.start, start + self.end, others)

    def place(self, text: str) -> str:
        """The message with its place: `unknown field 'temp' (at character 9: 'temp')`."""
        piece = text[self.start : self.end].replace("\n", " ")
        piece = piece if len(piece) <= 40 else piece[:37] + "..."
        shown = f": {piece!r}" if piece and piece != text.strip() else ""
        return f"{self.message} (at character {self.start + 1}{shown})"


def gathered(faults: Iterable[ExpressionError]) -> ExpressionError:
    """All of them as one, by place. None is told twice, and none that may only follow from another within it."""
    found = sorted((one for fault in faults for one in fault.all), key=lambda one: (one.start, one.end))
    kept: list[ExpressionError] = []
    for place, fault in enumerate(found):
        inner = [o for o in found if o is not fault and fault.start <= o.start and o.end <= fault.end]
        same = any((one.start, one.end) == (fault.start, fault.end) for one in found[:place])
        narrower = any((one.start, one.end) != (fault.start, fault.end) for one in inner)
        if not (same or narrower or any(one.message == fault.message for one in kept)):
            kept.append(fault)
    first, *rest = kept[:_MOST_FAULTS]
    return ExpressionError(first.message, first.hint, first.start, first.end, rest)


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed expression and what is needed to say where a node stands in its text. `faults`: what of it the language
    has not; `refused`: the ids of those nodes."""

    text: str
    tree: ast.expr
    lines: tuple[str, ...]
    faults: tuple[ExpressionError, ...] = ()
    refused: frozenset[int] = frozenset()

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Characters of the text that the node covers. Python counts bytes of UTF-8 within a line."""
        line = getattr(node, "lineno", 1)
        end_line = getattr(node, "end_lineno", line) or line
        start = self._at(line, getattr(node, "col_offset", 0))
        return start, self._at(end_line, getattr(node, "end_col_offset", 0) or 0)

    def _at(self, line: int, byte: int) -> int:
        before = sum(len(text) for text in self.lines[: line - 1])
        within = self.lines[line - 1] if line <= len(self.lines) else ""
        # One character was put in front (a parenthesis, so that an expression may go over several lines).
        return max(0, before + len(within.encode()[:byte].decode(errors="replace")) - 1)

    def before(self, node: ast.AST) -> str:
        """The last character before the node that is no white space."""
        return self.text[: self.span(node)[0]].rstrip()[-1:]

    def has_third_colon(self, piece: ast.Slice) -> bool:
        """Whether a slice without a step has the colon of one all the same, which the tree does not say."""
        start, end = self.span(piece)
        text = self.text[start:end].rstrip()
        if piece.upper is None:
            text = text.removesuffix(":").rstrip()
        return text.endswith(":")

    def error(self, node: ast.AST, message: str, hint: str = "") -> ExpressionError:
        start, end = self.span(node)
        return ExpressionError(message, hint, start, end)


_LONE_EQUALS = re.compile("(?<![=!<>:])=(?!=)")
_ALLOWED: tuple[type[ast.AST], ...] = (
    ast.Constant,
    ast.Name,
    ast.Attribute,
    ast.Subscript,
    ast.Slice,
    ast.Call,
    ast.BinOp,
    ast.UnaryOp,
    ast.BoolOp,
    ast.Compare,
    ast.IfExp,
    ast.List,
    ast.Dict,
    ast.JoinedStr,
    ast.FormattedValue,
)

_REFUSED: dict[str, tuple[str, str]] = {
    "Lambda": ("functions cannot be defined", "use the function table, or a `custom` step"),
    "ListComp": (
        "comprehensions are not part of the language",
        "use `flatten`, or functions such as sum, sort, unique",
    ),
    "SetComp": ("comprehensions are not part of the language", "use functions such as unique"),
    "DictComp": ("comprehensions are not part of the language", ""),
    "GeneratorExp": ("comprehensions are not part of the language", "use functions such as sum or mean"),
    "NamedExpr": ("':=' does not assign", "give the value a name in a `set` or `map` step"),
    "Await": ("'await' is not part of the language", ""),
    "Yield": ("'yield' is not part of the language", ""),
    "YieldFrom": ("'yield' is not part of the language", ""),
    "Starred": ("'*' cannot spread a list", ""),
    "Tuple": ("a comma makes a tuple, which the language does not have", "write a list: [a, b]"),
    "Set": ("sets are not part of the language", "write a list: [a, b]"),
}


def read(text: str) -> Source:
    """ExpressionError when it is too long or not an expression. What of it the language has not is in `Source.faults`:
    the rest can be looked at too."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(
            f"an expression has at most {MAX_LENGTH} characters; this has {len(text)}", "split it over `set` steps"
        )
    if not text.strip():
        raise ExpressionError("an expression is empty", "write a condition such as temp_c > -40")
    try:
        with warnings.catch_warnings(record=True) as warned:
            # '\\d' in a pattern is what people write, and Python takes it as it stands
            warnings.simplefilter("always")
            tree = ast.parse(f"({text}\n)", mode="eval").body
    except SyntaxError as fault:
        raise _syntax(text, fault) from None
    except (RecursionError, MemoryError, ValueError):
        raise ExpressionError("this nests too deep to be read", f"at most {MAX_DEPTH} levels") from None
    source = Source(text, tree, tuple(f"({text}".splitlines(keepends=True)))
    if isinstance(tree, ast.Tuple) and not tree.elts:
        raise ExpressionError("an expression is empty", "write a condition such as temp_c > -40")
    # What a comma or a `for` makes begins with the parenthesis that was put around all.
    if (tree.lineno, tree.col_offset) == (1, 0) and not isinstance(tree, ast.Tuple | ast.GeneratorExp):
        raise ExpressionError("a parenthesis is closed that was not opened", "take it away", *_unopened(text))
    if any("literal" in str(warning.message) for warning in warned):
        raise ExpressionError("a number ends where a word begins", "write a space between them")
    return _bounded(source)


def _bounded(source: Source) -> Source:
    """Walk without recursion: the tree of a hostile text may be deeper than the interpreter's stack."""
    pending: list[tuple[ast.AST, int]] = [(source.tree, 1)]
    count = 0
    faults: list[ExpressionError] = []
    refused: list[int] = []
    while pending:
        node, depth = pending.pop()
        if isinstance(node, ast.expr_context | ast.operator | ast.unaryop | ast.boolop | ast.cmpop):
            continue
        count += 1
        if count > MAX_NODES:
            raise ExpressionError(f"an expression has at most {MAX_NODES} parts", "split it over `set` steps")
        if depth > MAX_DEPTH:
            raise source.error(node, f"an expression nests at most {MAX_DEPTH} deep")
        if not isinstance(node, _ALLOWED) and not isinstance(node, ast.keyword):
            faults.append(_foreign_node(source, node))
            refused.append(id(node))
            continue
        try:
            _check_node(source, node)
        except ExpressionError as fault:
            faults.append(fault)
            refused.append(id(node))
        pending += [(child, depth + 1) for child in ast.iter_child_nodes(node)]
    return replace(source, faults=tuple(faults), refused=frozenset(refused))


def _foreign_node(source: Source, node: ast.AST) -> ExpressionError:
    message, hint = _REFUSED.get(type(node).__name__, ("this is not part of the language", ""))
    return source.error(node, message, hint)


def _unopened(text: str) -> tuple[int, int]:
    at = max(0, text.find(")"))
    return at, at + 1


def _check_node(source: Source, node: ast.AST) -> None:
    match node:
        case ast.Call(func=func) if not isinstance(func, _ALLOWED):
            raise _foreign_node(source, func)
        case ast.Call(func=func) if not isinstance(func, ast.Name) or source.span(func)[0] != source.span(node)[0]:
            raise source.error(func, "only functions of the table can be called", "write lower(x), not x.lower()")
        case (
            ast.Attribute(value=ast.Constant(value=int() | float()) as inner)
            | ast.Subscript(value=ast.Constant(value=int() | float()) as inner)
        ) if not isinstance(inner.value, bool) and source.span(inner)[0] == source.span(node)[0]:
            raise source.error(node, "a number has no fields and no items")
        case ast.Slice() if node.step is not None or source.has_third_colon(node):
            raise source.error(node.step or node, "a slice takes no step")
        case ast.Dict(keys=keys):
            for key in keys:
                if not (isinstance(key, ast.Constant) and isinstance(key.value, str)) or source.before(key) == "(":
                    raise source.error(key or node, "a key of a map is a text in quotes")
        case ast.Compare(ops=ops, comparators=comparators):
            for op, right in zip(ops, comparators, strict=True):
                if isinstance(op, ast.Is | ast.IsNot) and not (is_null(right) and source.before(right) != "("):
                    raise source.error(right, "'is' compares with None only", "write ==")
        case ast.Constant(value=int() as number) if not isinstance(number, bool) and abs(number) > MAX_LITERAL:
            raise source.error(node, f"whole numbers are at most {MAX_LITERAL}")
        case ast.Constant(value=value) if isinstance(value, complex | bytes) or value is Ellipsis:
            raise source.error(node, "this is not a value of the language")
        case ast.Constant(value=str() as text) if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise source.error(node, "half a surrogate pair is no letter, and cannot be written anywhere")
        case ast.BinOp(op=ast.Pow()):
            raise source.error(node, "'**' is not part of the language", "write pow(x, y)")
        case ast.BinOp(op=ast.LShift() | ast.RShift() | ast.BitAnd() | ast.BitOr() | ast.BitXor() | ast.MatMult()):
            raise source.error(node, "bit operators are not part of the language", "for conditions write 'and', 'or'")
        case ast.UnaryOp(op=ast.Invert()):
            raise source.error(node, "'~' is not part of the language", "write 'not'")
        case ast.FormattedValue(conversion=conversion, format_spec=spec) if conversion != -1 or spec is not None:
            raise source.error(node, "f-strings take no format", "write {format_number(x, 2)}")
        case ast.Call(keywords=[first, *_]):
            raise source.error(first, "arguments have no names", "write them in the order of the function table")
        case _:
            pass


def _syntax(text: str, fault: SyntaxError) -> ExpressionError:
    lines = f"({text}\n)".splitlines(keepends=True)
    line = max(1, fault.lineno or 1)
    start = max(0, sum(len(part) for part in lines[: line - 1]) + (fault.offset or 1) - 2)
    start = min(start, max(0, len(text) - 1))
    for wrong, right in (("&&", "and"), ("||", "or")):
        if wrong in text:
            at = text.index(wrong)
            return ExpressionError(f"{wrong!r} is not an operator", f"write {right!r}", at, at + 2)
    bang = next((i for i, c in enumerate(text) if c == "!" and text[i + 1 : i + 2] != "="), None)
    if bang is not None and "'" not in text and '"' not in text:
        return ExpressionError("'!' is not an operator", "write 'not'", bang, bang + 1)
    if "Maybe you meant '==' or ':=' instead of '='" in fault.msg or "cannot assign" in fault.msg:
        lone = _LONE_EQUALS.search(text)
        start = lone.start() if lone else start
        return ExpressionError("'=' does not compare", "write '=='", start, start + 1)
    if "too many nested" in fault.msg:
        return ExpressionError("this nests too deep to be read", f"at most {MAX_DEPTH} levels", start, start)
    return ExpressionError(f"this is not an expression: {fault.msg.split('.')[0]}", "", start, start + 1)


def is_null(node: ast.AST) -> bool:
    """Whether it is written `None` or `null`."""
    return (isinstance(node, ast.Constant) and node.value is None) or (isinstance(node, ast.Name) and node.id == "null")


def foreign(name: str) -> str:
    """Letters of a name that look like others, in words for a hint: what is written is not what is seen."""
    letters = [c for c in dict.fromkeys(name) if not c.isascii()]
    return "".join(f"; it is written with {unicodedata.name(c, 'an unknown letter')}" for c in letters[:2])
