"""Where recordings go: a path with strftime's directives, and how to know our own files again."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

SUFFIX = ".mkv"
"""Matroska: readable up to its last cluster however it ended."""

_DEFAULT_NAME = "%H-%M-%S"
_DIGITS = {"Y": 4, "m": 2, "d": 2, "H": 2, "M": 2, "S": 2, "I": 2, "j": 3, "y": 2, "U": 2, "W": 2, "V": 2, "G": 4}
_DIRECTIVE = re.compile(r"%(.)")


@dataclass(frozen=True, slots=True)
class Pattern:
    """`text` is absolute. Without the suffix it names a directory, and files in it are named by their time of day."""

    text: str

    @property
    def file(self) -> str:
        """The pattern of whole file names."""
        return self.text if self.text.endswith(SUFFIX) else f"{self.text.rstrip('/')}/{_DEFAULT_NAME}{SUFFIX}"

    @property
    def root(self) -> Path:
        """The deepest directory that is the same for all of them."""
        fixed = self.file.split("%", 1)[0]
        return Path(fixed.rpartition("/")[0] or "/")

    def name(self, started: float) -> Path:
        """The file for a segment that started then (local time)."""
        return Path(time.strftime(self.file, time.localtime(started)))

    def free_name(self, started: float) -> Path:
        """The same, with `-2`, `-3` … where there is a file of that name already: none is ever overwritten."""
        path = self.name(started)
        number = 2
        found = path
        while found.exists():
            found = path.with_name(f"{path.stem}-{number}{SUFFIX}")
            number += 1
        return found

    def files(self) -> list[Path]:
        """Our recordings that are there, in no order. Other people's files are never among them."""
        inner = self.file[len(str(self.root)) :].lstrip("/")
        expected = re.compile(_regex(inner.removesuffix(SUFFIX)) + r"(-\d+)?" + re.escape(SUFFIX))
        depth = inner.count("/")
        level = [self.root]
        for _ in range(depth):
            level = [child for parent in level for child in _children(parent) if child.is_dir()]
        paths = (child for parent in level for child in _children(parent))
        return [p for p in paths if expected.fullmatch(str(p.relative_to(self.root))) and p.is_file()]


def _children(directory: Path) -> list[Path]:
    try:
        return [child for child in directory.iterdir() if not child.name.startswith(".") and not child.is_symlink()]
    except OSError:
        return []


def _regex(text: str) -> str:
    out, at = "", 0
    for match in _DIRECTIVE.finditer(text):
        out += re.escape(text[at : match.start()])
        letter = match[1]
        if letter == "%":
            out += "%"
        else:
            out += rf"\d{{{_DIGITS[letter]}}}" if letter in _DIGITS else r"[^/]+?"
        at = match.end()
    return out + re.escape(text[at:])
