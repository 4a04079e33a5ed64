"""What the YAML scanner says, in words of somebody who has the file open."""

from __future__ import annotations

import re

from yaml.error import MarkedYAMLError

from streamsd.core.diagnostics import Diagnostic, Source
from streamsd.document.nodes import MAX_DEPTH

BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
"""What libyaml counts as the end of a line."""

_FIXED: dict[str, tuple[str, str]] = {
    "did not find expected '-' indicator": (
        "a list ends here without its indentation",
        "begin every item with '- ' in the same column",
    ),
    "did not find expected <document start>": ("something stands outside of the profile's mapping", ""),
    "did not find expected node content": ("a value is missing here", ""),
    "found unknown escape character": (
        "an unknown escape in a text in double quotes",
        "write two backslashes, or put the text in single quotes",
    ),
    "found invalid Unicode character escape code": ("an escape that is no character", ""),
    "found undefined tag handle": ("an unknown tag", "a text that begins with '!' goes in quotes"),
    "found unknown directive name": ("a line that begins with '%'", "a text that begins with '%' goes in quotes"),
    "found incompatible YAML document": ("this is not YAML 1.1 or 1.2", ""),
    "found duplicate %YAML directive": ("%YAML stands twice", ""),
    "block sequence entries are not allowed in this context": (
        "a list cannot begin on the line of its key",
        "begin it on the next line, or write [a, b]",
    ),
    "did not find expected comment or line break": (
        "something stands behind '|' or '>'",
        "begin the text on the next line",
    ),
}


def fault(error: MarkedYAMLError, text: str, file: str) -> Diagnostic:
    """The scanner's error as a diagnostic `yaml-syntax` (or `yaml-tab`)."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    begun = (error.context_mark.line, error.context_mark.column) if error.context_mark else (line, column)
    lines = BREAK.split(text)
    here = lines[line] if line < len(lines) else ""
    char = here[column] if column < len(here) else ""
    problem = error.problem or "not YAML"

    def at(place: tuple[int, int], width: int = 0) -> Source:
        row, col = place
        return Source(file, row + 1, col + 1, row + 1 if width else 0, col + 1 + width if width else 0)

    if char == "\t" or "tab character" in problem:
        return Diagnostic("yaml-tab", "a tab where YAML wants spaces", "indent with spaces", at((line, column), 1))
    if problem == "exceeded maximum nesting depth":
        return Diagnostic("yaml-depth", f"nested deeper than {MAX_DEPTH} levels", "", at((line, column)))
    if problem == "found unexpected end of stream" and "quoted" in (error.context or ""):
        return _syntax("a text in quotes has no end", "close the quotes that open here", at(begun, 1))
    if "expected ',' or" in problem:
        close = problem[-2]
        if "${" in here[begun[1] if begun[0] == line else 0 :]:
            return _syntax(
                "an expression in brackets", 'inside of { } and [ ] put it in quotes: "${...}"', at(begun, 1)
            )
        what = "list" if close == "]" else "mapping"
        goes_on = f"close it with '{close}', or put a comma before column {column + 1} of line {line + 1}"
        return _syntax(f"a {what} in brackets has no end", goes_on, at(begun, 1))
    if problem == "found character that cannot start any token":
        return _syntax(f"a text cannot begin with {char!r}", "put the text in quotes", at((line, column), 1))
    if "alphabetic or numeric" in problem:
        return _syntax(
            "'*' and '&' begin an alias and an anchor in YAML",
            "a text that begins with one goes in quotes",
            at(begun, 1),
        )
    if problem == "mapping values are not allowed in this context":
        return _colon(here, column, at((line, column), 1))
    if problem == "did not find expected key":
        return _expected_key(here, column, at((line, column), 1))
    message, hint = _FIXED.get(problem, (problem.removeprefix("found ").replace("did not find", "there is no"), ""))
    return _syntax(message, hint, at((line, column), 1 if char else 0))


def _syntax(message: str, hint: str, at: Source) -> Diagnostic:
    return Diagnostic("yaml-syntax", message, hint, at)


def _colon(here: str, column: int, at: Source) -> Diagnostic:
    if ": " in here[:column]:
        return _syntax("a second ': ' on one line", "put a text that holds ': ' in quotes", at)
    return _syntax(
        "a key stands where the value above goes on",
        "align it with the keys beside it, and end the key above with ':'",
        at,
    )


def _expected_key(here: str, column: int, at: Source) -> Diagnostic:
    before = here[:column].rstrip()
    if before.endswith(("'", '"')):
        return _syntax("something stands behind a text in quotes", "put the whole value in quotes", at)
    if not before:
        return _syntax("this line's indentation fits no line above", "align it with the keys it belongs to", at)
    return _syntax("a key is wanted here", "write key: value", at)
