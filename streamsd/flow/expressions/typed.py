"""What checking an expression yields: code with a type, and where its names come from."""

from __future__ import annotations

import keyword
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from streamsd.flow.expressions.source import ExpressionError
from streamsd.flow.types import COMPUTED_TIME, TIME, Base, TimeForm, Type

NO_CONSTANT: Any = object()


@dataclass(frozen=True, slots=True)
class Typed:
    """Python code of a value and its type. `constant`: its value where it is a literal. `grows`: a whole number that
    may be larger than its parts, so that it is bounded before it is kept."""

    code: str
    type: Type
    constant: Any = NO_CONSTANT
    grows: bool = False

    @property
    def is_constant(self) -> bool:
        return self.constant is not NO_CONSTANT

    def micros(self) -> str:
        """Code of a time as integer microseconds."""
        match self.type.form:
            case TimeForm.MILLIS:
                return f"({self.code} * 1000)"
            case TimeForm.NANOS:
                return f"({self.code} // 1000)"
            case TimeForm.SECONDS:
                return f"seconds_to_micros({self.code})"
            case TimeForm.TEXT:
                return f"from_text({self.code})"
            case _:
                return f"as_micros({self.code})" if self.type.base is Base.ANY else self.code

    def kept(self) -> str:
        """Code of the value as it may be stored in a row."""
        return f"bounded({self.code})" if self.grows else self.code


class Scope(Protocol):
    """The names an expression can use. `open`: names that are not known are fields of unknown type."""

    open: bool

    def field(self, name: str) -> Typed | None: ...

    def lenient(self, name: str) -> Typed | None:
        """The field, or null where the row lacks it."""
        ...

    def names(self) -> Iterable[str]: ...


@dataclass
class Pool:
    """What generated code needs beside its locals: constants by name, temporary names, and which inputs it uses."""

    constants: dict[str, Any] = field(default_factory=dict)
    uses_meta: bool = False
    _temps: int = 0
    _locals: int = 0

    def constant(self, value: Any) -> str:
        name = f"k{len(self.constants)}"
        self.constants[name] = value
        return name

    def local(self) -> str:
        self._locals += 1
        return f"v{self._locals}"

    def temp(self) -> str:
        self._temps += 1
        return f"t{self._temps}_"


def attribute(name: str) -> str:
    """The Python attribute that holds a field: the name itself where that is an identifier of no other meaning."""
    if name.isidentifier() and name.isascii() and not keyword.iskeyword(name) and not name.startswith("_"):
        return name
    return "x" + name.encode().hex()


def inside(part: Typed) -> Typed:
    """A value inside a list, a map or a text: there a computed time stands as text."""
    if part.type == COMPUTED_TIME:
        return Typed(f"to_text({part.code})", TIME)
    return part


def alike(a: Typed, b: Typed) -> tuple[Typed, Typed]:
    """Two values of which one is taken: times of different forms become computed ones."""
    if (
        a.type.base is Base.TIME
        and b.type.base is Base.TIME
        and a.type != b.type
        and not (a.type.optional or b.type.optional)
    ):
        return Typed(a.micros(), COMPUTED_TIME), Typed(b.micros(), COMPUTED_TIME)
    if a.type != b.type:
        return inside(a), inside(b)
    return a, b


def regex(pattern: str) -> Any:
    """A compiled RE2 pattern, which matches in time linear in the text. ExpressionError when it is not one."""
    try:
        import re2  # type: ignore[import-untyped]  # it ships no types
    except ImportError:
        raise ExpressionError(
            "regular expressions need the Python package google-re2", "install google-re2, or use contains or parse"
        ) from None
    if len(pattern) > 1000:
        raise ExpressionError("a regular expression has at most 1000 characters")
    options = re2.Options()
    options.max_mem = 4 << 20
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as fault:
        words = fault.args[0] if fault.args else ""
        text = words.decode(errors="replace") if isinstance(words, bytes) else str(words)
        raise ExpressionError(
            f"not a regular expression: {text}", "RE2 has no look-around and no back references"
        ) from None
