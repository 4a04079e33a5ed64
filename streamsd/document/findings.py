"""Where the stages of reading a profile put what they find wrong."""

from __future__ import annotations

from collections.abc import Iterable

from streamsd.core.diagnostics import Diagnostic, FieldPath, Severity, Source, name_hint, nearest

_FEW = 20
_MOST_COMPARED = 200
MOST = 100
"""More errors than this help nobody; the rest are counted."""


class Findings:
    """Collects diagnostics in one pass; `ordered` gives them by place."""

    def __init__(self) -> None:
        self._all: dict[tuple[str, str, Source | None], Diagnostic] = {}
        self._left_out = 0
        self.errors = 0

    def error(self, code: str, message: str, at: Source | None, *, hint: str = "", path: FieldPath = ()) -> None:
        self.add(Diagnostic(code, message, hint, at, path))

    def warning(self, code: str, message: str, at: Source | None, *, hint: str = "", path: FieldPath = ()) -> None:
        self.add(Diagnostic(code, message, hint, at, path, Severity.WARNING))

    @property
    def full(self) -> bool:
        """Whether what is found now is only counted: its words need not be looked for."""
        return len(self._all) >= MOST

    def add(self, diagnostic: Diagnostic) -> None:
        """The same fault at the same place counts once: a base that two resources extend is read twice."""
        key = (diagnostic.code, diagnostic.message, diagnostic.at)
        if key in self._all and diagnostic.at is not None:
            return
        is_error = diagnostic.severity is Severity.ERROR
        self.errors += is_error
        if len(self._all) >= MOST:
            self._left_out += is_error
            return
        self._all[key] = diagnostic

    @property
    def room(self) -> int:
        """How many more are kept whole."""
        return MOST - len(self._all)

    def leave_out(self, errors: int) -> None:
        """Count errors that are not put into words, once there are too many."""
        self.errors += errors
        self._left_out += errors

    def extend(self, diagnostics: Iterable[Diagnostic]) -> None:
        for diagnostic in diagnostics:
            self.add(diagnostic)

    def ordered(self) -> tuple[Diagnostic, ...]:
        """By file, line and column; what has no place first, the count of what was left out last."""
        found = sorted(
            self._all.values(), key=lambda d: (d.at is not None, d.at or Source("", 0, 0), d.code, d.message)
        )
        if self._left_out:
            found.append(Diagnostic("too-many-errors", f"{self._left_out} more errors are not shown"))
        return tuple(found)


def shown(value: object, limit: int = 40) -> str:
    """A value in quotes for a message: short, on one line, without control characters."""
    return f"'{bare(value, limit)}'"


def bare(value: object, limit: int = 40) -> str:
    """The same without quotes."""
    whole = str(value)
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in whole[: limit + 1])
    return text if len(whole) <= limit else f"{text[: limit - 3]}..."


def hint_among(word: str, names: Iterable[str], what: str = "declared") -> str:
    """`name_hint` for names that may be thousands: a few are listed, and only alike ones are compared."""
    known = sorted(names)
    if len(known) <= _FEW:
        return name_hint(word, known, what)
    close = nearest(word, [n for n in known if n[:1] == word[:1] and abs(len(n) - len(word)) <= 3][:_MOST_COMPARED])
    listing = f"{what}: {', '.join(known[:_FEW])} and {len(known) - _FEW} more"
    return f"did you mean {close!r}? {listing}" if close else listing
