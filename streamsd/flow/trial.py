"""Runs the tests that a flow declares: its steps in memory, without its sources and sinks.

`custom` steps run in this process, and may never return: `trial_room` does it in another one, with a limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from streamsd.core.diagnostics import FieldPath, Problem, name_hint
from streamsd.flow.pipeline import Pipeline
from streamsd.flow.spec.flow import FlowSpec

Watch: TypeAlias = Callable[[str], None]

_NOW = 1_893_456_000_000_000
"""When a test's messages arrive: 2030-01-01T00:00:00Z, so that a test says the same every day. A second for each."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`problems`: what differs, with paths in the flow's spec; empty when the test holds."""

    name: str
    problems: tuple[Problem, ...]


def run_test(spec: FlowSpec, base: Path, number: int, watch: Watch | None = None) -> Outcome:
    """One test of a flow, by its place. ProblemsError when the flow itself is wrong. `watch`: see `Standing`."""
    return Outcome(spec.tests[number].name, tuple(_Trial(spec, base, number, watch).run()))


def failed(spec: FlowSpec, number: int, message: str, hint: str = "", path: FieldPath = ()) -> Problem:
    """What a test that does not hold is told as. `path`: within the test."""
    words = f"{spec.tests[number].name}: {message}"
    return Problem("flow-test-failed", words, hint, ("tests", number, *path))


class _Trial:
    def __init__(self, spec: FlowSpec, base: Path, number: int, watch: Watch | None) -> None:
        self.spec = spec
        self.number = number
        self.test = spec.tests[number]
        self.pipeline = Pipeline(spec, base, watch)

    def run(self) -> Iterator[Problem]:
        names = list(self.pipeline.plan.sources)
        given = self.test.input if isinstance(self.test.input, dict) else {names[0]: self.test.input}
        unknown = [name for name in given if name not in names]
        for name in unknown:
            yield self._wrong(("input", name), f"there is no source {name!r}", name_hint(name, names, "sources"))
        if unknown:
            return
        now = _NOW
        for name, messages in given.items():
            for message in messages:
                self.pipeline.feed(name, [_raw(message)], now=now)
                now += 1_000_000
        self.pipeline.finish(now)
        yield from self._results()
        yield from self._dead()
        if self.pipeline.late != self.test.late:
            found, wanted = self.pipeline.late, self.test.late
            yield self._wrong(("late",), f"{found} messages come too late for their window, not {wanted}")

    def _wrong(self, path: FieldPath, message: str, hint: str = "") -> Problem:
        return failed(self.spec, self.number, message, hint, path)

    def _results(self) -> Iterator[Problem]:
        output = self.test.output
        if output is None:
            return
        names = list(self.pipeline.results)
        several = isinstance(output, dict)
        wanted = output if isinstance(output, dict) else {names[0]: output}
        for name, expected in wanted.items():
            path: FieldPath = ("output", name) if several else ("output",)
            if name not in names:
                yield self._wrong(path, f"there is no sink {name!r}", name_hint(name, names, "sinks"))
                continue
            found = [msgspec.json.decode(msgspec.json.encode(row)) for row in self.pipeline.results[name]]
            yield from self._compared(expected, found, path)

    def _compared(self, expected: Sequence[Any], found: list[Any], path: FieldPath) -> Iterator[Problem]:
        """Results come in any order. One that is missing is compared with the one left that is most like it."""
        missing = [(number, row) for number, row in enumerate(expected) if not _take(found, row)]
        for number, row in missing:
            here = (*path, number)
            other = max(found, key=lambda candidate: _likeness(candidate, row), default=None)
            if other is None or not _likeness(other, row):
                yield self._wrong(here, f"no such result: {_shown(row)}")
                continue
            found.remove(other)
            for field in dict.fromkeys([*row, *other]):
                if field not in other:
                    yield self._wrong((*here, field), f"the result has no {field}", f"it is {_shown(other)}")
                elif field not in row:
                    yield self._wrong(here, f"the result has {field} too: {_shown(other[field])}")
                elif not _same(other[field], row[field]):
                    words = f"{field} is {_shown(other[field])}, not {_shown(row[field])}"
                    yield self._wrong((*here, field), words, f"the result is {_shown(other)}")
        for row in found:
            yield self._wrong(path, f"a result that is not expected: {_shown(row)}")

    def _dead(self) -> Iterator[Problem]:
        letters = self.pipeline.letters
        if [letter.reason for letter in letters] == list(self.test.dead or ()):
            return
        told = "; ".join(f"{letter.reason}: {letter.message}" for letter in letters[:5]) or "none"
        yield self._wrong(("dead",), f"dead letters: {told}; expected: {', '.join(self.test.dead or ()) or 'none'}")


def _likeness(found: Any, wanted: Any) -> int:
    """How many fields of two results are the same."""
    return sum(field in found and _same(found[field], value) for field, value in wanted.items())


def _raw(message: Any) -> bytes:
    return message.encode() if isinstance(message, str) else msgspec.json.encode(message)


def _take(left: list[Any], row: Any) -> bool:
    for place, found in enumerate(left):
        if _same(found, row):
            del left[place]
            return True
    return False


def _same(found: Any, wanted: Any) -> bool:
    """Floats may differ in their last digits: the order of additions is not part of a flow's meaning."""
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    if isinstance(found, int | float) and isinstance(wanted, int | float):
        return math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(found, dict) and isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(_same(found[key], wanted[key]) for key in found)
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(_same, found, wanted))
    return bool(found == wanted)


def _shown(row: Any) -> str:
    text = msgspec.json.encode(row).decode()
    return text if len(text) <= 300 else text[:297] + "..."
