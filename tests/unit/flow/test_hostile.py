"""Flows that are made to eat time or memory: refused when they are read, or bounded when they run. Each runs in a
process of its own memory limit, all of them in one."""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from streamsd.flow.expressions.check import compile_expression
from streamsd.flow.expressions.functions import FUNCTIONS
from streamsd.flow.expressions.source import ExpressionError
from streamsd.flow.expressions.typed import Pool
from streamsd.flow.pipeline import Pipeline
from streamsd.flow.rows import Row, Writer
from streamsd.flow.spec import FlowSpec
from streamsd.flow.spec.words import read_type

SCHEMA = {"s": "str", "i": "int", "l": "list[int]"}
_LIMIT = 1 << 30
"""Bytes of address space of the process that runs them; the interpreter and its modules take a quarter of that."""
_SECONDS = 20.0
"""For one message, on a slow and busy machine. Unbounded, each takes hours or all memory."""


def doubled(first: str, step: str, times: int) -> list[dict[str, Any]]:
    """a0 = first, and each next field made of the one before."""
    return [{"set": {f"a{k}": step.replace("?", f"a{k - 1}") if k else first}} for k in range(times)]


BOUNDED: dict[str, tuple[list[dict[str, Any]], str]] = {
    "texts that double": (doubled("s", "? + ?", 40), "too-long"),
    "a text many times": ([{"set": {"x": 'f"' + "{s}" * 190 + '"'}}], "too-long"),
    "a text many times in a list": ([{"set": {"x": f"join([{', '.join(['s'] * 190)}], '')"}}], "too-long"),
    "a text for each letter": ([{"set": {"x": "replace(s, 'a', s)"}}], "too-long"),
    "a text for each match": ([{"set": {"x": "sub(s, 'a', s)"}}], "too-long"),
    "a match at each letter": ([{"set": {"x": "sub(sub(s, '', 'y'), '', 'z')"}}], "too-long"),
    "a piece for each letter": ([{"set": {"x": "split(s, 'a')"}}], "too-long"),
    "padding": ([{"set": {"x": "pad_left(s, 1000000000, 'x')"}}], "bad-value"),
    "lists that double": (doubled("l", "? + ?", 40), "too-long"),
    "a list that holds a list many times": (doubled("[1, 2]", "[" + ", ".join("?" * 100) + "]", 8), "too-long"),
    "a map that holds a map twice": (doubled("i", "{'a': ?, 'b': ?}", 40), "too-long"),
    "lists that are equal after much comparing": (
        [*doubled("l", "[?, ?]", 25), {"filter": "a24 == [a23, [a22, 1]]"}],
        "too-long",
    ),
    "whole numbers that double their digits": (doubled("i * 9999999", "? * ?", 40), "out-of-range"),
    "rounding to many digits": ([{"set": {"x": "round(i, -1000000000)"}}], "bad-value"),
    "decimals": ([{"set": {"x": "format_number(i, 1000000000)"}}], "bad-value"),
    "a power": ([{"set": {"x": "pow(10, 1000000)"}}], "out-of-range"),
    "a time after all calendars": ([{"set": {"x": "year(time(1e15))"}}], "bad-value"),
    "a width in a time": ([{"set": {"x": "format_time(now(), '%1000000000d')"}}], "bad-value"),
    "deep JSON": ([{"set": {"x": "parse_json(replace(s, 'a', '['))"}}], "malformed"),
}


def message() -> bytes:
    return json.dumps({"s": "a" * 900_000, "i": 12345, "l": [1, 2, 3]}).encode()


def fed(steps: list[dict[str, Any]], schema: dict[str, str] | None) -> tuple[list[str], float]:
    """Reasons of the dead letters of one large message, and how long it took."""
    began = time.monotonic()
    spec: dict[str, Any] = {"source": {"generator": {"fields": {"n": "n"}}}, "steps": steps, "sink": {"discard": {}}}
    pipeline = Pipeline(FlowSpec.model_validate({**spec, "schema": schema} if schema else spec), Path())
    pipeline.feed("in", [message()])
    pipeline.finish()
    _, faults = pipeline.plan.sinks["out"].encode(pipeline.results["out"])
    return [letter.reason for letter in pipeline.letters] + [
        str(fault) for fault, _ in faults
    ], time.monotonic() - began


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_LIMIT, _LIMIT))
    told = []
    for name, (steps, _) in BOUNDED.items():
        for schema in (SCHEMA, None):
            reasons, seconds = fed(steps, schema)
            told.append([name, reasons, seconds])
            print(json.dumps(told[-1]), flush=True)


def test_what_grows_is_bounded_in_time_and_memory() -> None:
    argv = [sys.executable, "-c", "from tests.unit.flow.test_hostile import main; main()"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=len(BOUNDED) * 2 * _SECONDS, check=False)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"after {told[-1:]}:\n{done.stderr[-2000:]}"
    assert [(name, reasons) for name, reasons, _ in told] == [
        (name, [reason]) for name, (_, reason) in BOUNDED.items() for _ in range(2)
    ]
    assert [(name, seconds) for name, _, seconds in told if seconds > _SECONDS] == []


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions_nested_as_deep_as_they_may_be_compile(name: str) -> None:
    """The code that is generated nests deeper than the expression: Python must still take it."""
    for given in ("i", "s", "l", "time(i)"):
        nested = given
        for _ in range(37):
            longer = f"{name}({nested})"
            if len(longer) > 2000:
                break
            nested = longer
        pool = Pool()
        with contextlib.suppress(ExpressionError):
            row = Row.closed(Writer(), pool, {field: read_type(kind) for field, kind in SCHEMA.items()}, "m")
            compile(compile_expression(nested, row, pool).kept(), "<flow>", "eval")
