"""Runs the tests that a flow declares: its steps in memory, without its sources and sinks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from streamsd.flow.pipeline import Pipeline
from streamsd.flow.spec.flow import FlowSpec, FlowTest

_NOW = 1_893_456_000_000_000
"""When a test's messages arrive: 2030-01-01T00:00:00Z, so that a test says the same every day. A second for each."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`differences`: one sentence each; empty when the test holds."""

    name: str
    differences: tuple[str, ...]


def run_tests(spec: FlowSpec, base: Path) -> list[Outcome]:
    """Every test of a flow. ProblemsError when the flow itself is wrong."""
    return [Outcome(test.name, tuple(_differences(spec, base, test))) for test in spec.tests]


def _differences(spec: FlowSpec, base: Path, test: FlowTest) -> list[str]:
    pipeline = Pipeline(spec, base)
    names = list(pipeline.plan.sources)
    given = test.input if isinstance(test.input, dict) else {names[0]: test.input}
    unknown = [name for name in given if name not in names]
    if unknown:
        return [f"input names no source {unknown[0]!r}; sources: {', '.join(names)}"]
    now = _NOW
    for name, messages in given.items():
        for message in messages:
            pipeline.feed(name, [_raw(message)], now=now)
            now += 1_000_000
    pipeline.finish(now)
    return [*_results(pipeline, test), *_dead(pipeline, test), *_late(pipeline, test)]


def _raw(message: Any) -> bytes:
    return message.encode() if isinstance(message, str) else msgspec.json.encode(message)


def _results(pipeline: Pipeline, test: FlowTest) -> list[str]:
    if test.output is None:
        return []
    names = list(pipeline.results)
    wanted: Mapping[str, Sequence[Any]]
    wanted = test.output if isinstance(test.output, dict) else {names[0]: test.output}
    unknown = [name for name in wanted if name not in names]
    if unknown:
        return [f"output names no sink {unknown[0]!r}; sinks: {', '.join(names)}"]
    out: list[str] = []
    for name, expected in wanted.items():
        found = [msgspec.json.decode(msgspec.json.encode(row)) for row in pipeline.results[name]]
        left = list(found)
        missing = [row for row in expected if not _take(left, row)]
        where = "" if len(names) == 1 else f" in {name}"
        out += [f"missing{where}: {_shown(row)}" for row in missing]
        out += [f"not expected{where}: {_shown(row)}" for row in left]
    return out


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


def _dead(pipeline: Pipeline, test: FlowTest) -> list[str]:
    found = [letter.reason for letter in pipeline.letters]
    if found == list(test.dead or ()):
        return []
    told = "; ".join(f"{letter.reason}: {letter.message}" for letter in pipeline.letters[:5]) or "none"
    return [f"dead letters: {told}; expected: {', '.join(test.dead or ()) or 'none'}"]


def _late(pipeline: Pipeline, test: FlowTest) -> list[str]:
    if pipeline.late == test.late:
        return []
    return [f"messages that came too late: {pipeline.late}; expected: {test.late}"]


def _shown(row: Any) -> str:
    text = msgspec.json.encode(row).decode()
    return text if len(text) <= 300 else text[:297] + "..."
