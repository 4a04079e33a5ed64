"""Writes the tables of docs/flows.md from the code: `python -m streamsd.flow.reference docs/flows.md`.

Each stands between `<!-- written: NAME -->` and `<!-- end -->`; a test holds the page to the code.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from streamsd.flow.aggregates import AGGREGATES
from streamsd.flow.expressions.functions import FUNCTIONS, SPECIAL
from streamsd.flow.expressions.grammar import RULES, WORDS
from streamsd.flow.expressions.source import MAX_DEPTH, MAX_LENGTH, MAX_NODES
from streamsd.flow.spec import sinks, sources
from streamsd.flow.spec.sinks import EXACT, Sink
from streamsd.flow.spec.sources import REPLAYABLE, Source
from streamsd.flow.spec.steps import STATEFUL, Step

_GROUPS = {
    "values": "Values",
    "math": "Numbers",
    "text": "Texts",
    "time": "Times",
    "lists": "Lists",
    "hashing": "Hashing",
}
_PART = re.compile(r"(<!-- written: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def functions() -> Iterator[str]:
    """The function table, by group."""
    for group, title in _GROUPS.items():
        yield f"**{title}**\n"
        yield "| function | | example |\n|---|---|---|"
        if group == "values":
            for words, about in SPECIAL.values():
                yield f"| `{words}` | {about} | |"
        for function in FUNCTIONS.values():
            if function.group == group:
                yield f"| `{function.words()}` | {function.about} | `{function.example}` |"
        yield ""


def aggregates() -> Iterator[str]:
    """What stands in a window's `emit`."""
    yield "| aggregate | | example |\n|---|---|---|"
    for aggregate in AGGREGATES.values():
        yield f"| `{aggregate.name}` | {aggregate.about} | `{aggregate.example}` |"


def grammar() -> Iterator[str]:
    """The grammar, with its bounds."""
    yield f"```\n{RULES}```\n"
    yield "| | |\n|---|---|"
    for name, words in WORDS:
        yield f"| `{name}` | {words} |"
    yield "\nWhite space, line ends and comments (`#` to the end of the line) may stand between them. An expression has"
    yield f"at most {MAX_LENGTH} characters and {MAX_NODES} parts, and nests at most {MAX_DEPTH} deep."


def steps() -> Iterator[str]:
    """The steps, with what they keep."""
    yield "| step | | memory |\n|---|---|---|"
    for name, info in Step.model_fields.items():
        yield f"| `{name}` | {info.description} | {'kept' if name in STATEFUL else ''} |"


def ends() -> Iterator[str]:
    """Sources and sinks."""
    yield "| source | | can be read again |\n|---|---|---|"
    for name in sources.TRANSPORTS:
        yield f"| `{name}` | {Source.model_fields[name].description} | {'yes' if name in REPLAYABLE else ''} |"
    yield "\n| sink | | can take back |\n|---|---|---|"
    for name in sinks.TRANSPORTS:
        yield f"| `{name}` | {Sink.model_fields[name].description} | {'yes' if name in EXACT else ''} |"


_PARTS = {part.__name__: part for part in (functions, aggregates, grammar, steps, ends)}


def written(page: str) -> str:
    """The page with its tables as the code has them. KeyError for a name that there is not."""

    def part(found: re.Match[str]) -> str:
        return found[1] + "\n" + "\n".join(_PARTS[found[2]]()).strip() + "\n\n" + found[3]

    return _PART.sub(part, page)


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(written(file.read_text()))
