"""What is wrong with a profile, where, and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from streamsd.core.answers import DiagnosticAnswer

FieldPath: TypeAlias = tuple[str | int, ...]
Span: TypeAlias = tuple[int, int]


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, order=True, slots=True)
class Source:
    """A range of a file. Lines and columns count from 1; the end is exclusive."""

    file: str
    line: int
    column: int
    end_line: int = 0
    end_column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """A fault found by somebody who knows a resource's spec but not its text: `path` is relative to the spec. `within`:
    the characters of the text there that are meant (from 0, the end exclusive), where it is not all of it."""

    code: str
    message: str
    hint: str = ""
    path: FieldPath = ()
    severity: Severity = Severity.ERROR
    within: Span | None = None


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One fault or warning, with its place in the text. Codes are kebab-case and part of the contract."""

    code: str
    message: str
    hint: str = ""
    at: Source | None = None
    path: FieldPath = ()
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        where = f"{self.at}: " if self.at else ""
        return f"{where}{self.severity}: {self.message} [{self.code}]"

    def to_json(self) -> DiagnosticAnswer:
        """The shape of `streamsd validate --json`."""
        at = self.at
        return {
            "code": self.code,
            "severity": self.severity.value,
            "message": self.message,
            "hint": self.hint,
            "file": at.file if at else None,
            "line": at.line if at else None,
            "column": at.column if at else None,
            "end_line": (at.end_line or None) if at else None,
            "end_column": (at.end_column or None) if at else None,
            "path": dotted(self.path),
        }


class ProblemsError(Exception):
    """Raised by a kind's compiler for faults that only compiling shows."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(p.message for p in self.problems))


def dotted(path: FieldPath) -> str:
    """`("streams", "desktop", "steps", 0)` as `streams.desktop.steps[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice a person most likely meant, or None when nothing is close."""
    # Twice what two texts share is at least 0.6 of both: of very different lengths they are never close.
    alike = [choice for choice in choices if 2 * min(len(choice), len(word)) >= 0.6 * (len(choice) + len(word))]
    found = difflib.get_close_matches(word, alike, n=1, cutoff=0.6) if alike else []
    return found[0] if found else None


def name_hint(word: str, choices: Iterable[str], what: str = "declared") -> str:
    """A hint for an unknown name: the nearest one, and the names there are."""
    names = sorted(choices)
    close = nearest(word, names)
    listing = f"{what}: {', '.join(names)}" if names else f"{what}: none"
    return f"did you mean {close!r}? {listing}" if close else listing
