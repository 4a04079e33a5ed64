"""What is written about flows is true of them: the tables are the code's, the examples' tests hold."""

from __future__ import annotations

import re
import time
from pathlib import Path

import msgspec
import pytest

from streamsd.core.diagnostics import dotted
from streamsd.document.load import load
from streamsd.flow.compiler import compile_flow, problems_of
from streamsd.flow.pipeline import Pipeline
from streamsd.flow.reference import written
from streamsd.flow.spec import FlowSpec
from streamsd.flow.taps import Tap
from streamsd.flow.trial import Outcome, run_test
from streamsd.kinds import load_kinds

ROOT = Path(__file__).parents[3]
PROFILES = sorted([*ROOT.glob("examples/flows/*.yaml"), ROOT / "streamsd/kinds/flow/example.yaml"])


def run_tests(spec: FlowSpec, base: Path) -> list[Outcome]:
    return [run_test(spec, base, number) for number in range(len(spec.tests))]


def test_the_tables_of_the_page_are_the_code_s() -> None:
    page = (ROOT / "docs/flows.md").read_text()
    assert page == written(page), "run `python -m streamsd.flow.reference docs/flows.md`"


def test_the_page_names_every_reason_of_a_dead_letter() -> None:
    page = (ROOT / "docs/flows.md").read_text()
    code = "".join(
        path.read_text() for path in [*ROOT.glob("streamsd/flow/**/*.py"), *ROOT.glob("streamsd/programs/flow/*.py")]
    )
    reasons = set(re.findall(r'RowFault\(\s*"([a-z-]+)"', code)) | set(re.findall(r'return "([a-z]+-[a-z-]+)",', code))
    assert len(reasons) > 8
    assert [reason for reason in sorted(reasons) if f"`{reason}`" not in page] == []


@pytest.mark.parametrize("profile", PROFILES, ids=[path.stem for path in PROFILES])
def test_the_tests_of_every_example_hold(profile: Path) -> None:
    loaded = load(profile, load_kinds(), host="anywhere", environ={})
    assert loaded.valid, loaded.diagnostics
    for address, resource in loaded.resources.items():
        if address.kind == "Flow":
            assert problems_of(resource.spec, resource.base.absolute()) == ()
            outcomes = run_tests(resource.spec, resource.base.absolute())
            assert outcomes, "an example has tests"
            assert [outcome for outcome in outcomes if outcome.problems] == []


DATA = {"sensors": "sensors", "bridge": "plant", "clicks": "clicks", "caption": "scores"}


@pytest.mark.parametrize("name", DATA)
def test_the_data_of_an_example_goes_through_it(name: str) -> None:
    loaded = load(ROOT / f"examples/flows/{name}.yaml", load_kinds(), host="anywhere", environ={})
    assert loaded.diagnostics == ()
    resource = next(found for address, found in loaded.resources.items() if address.kind == "Flow")
    pipeline = Pipeline(resource.spec, resource.base.absolute())
    lines = (ROOT / f"examples/flows/data/{DATA[name]}.ndjson").read_bytes().splitlines()
    pipeline.feed("in", lines, now=time.time_ns() // 1000)
    pipeline.finish()
    assert pipeline.letters == []
    assert any(pipeline.results.values())


def test_a_test_that_does_not_hold_says_what_differs(tmp_path: Path) -> None:
    spec = FlowSpec.model_validate(
        {
            "source": {"generator": {"fields": {"n": "n"}}},
            "schema": {"x": "int"},
            "steps": [{"set": {"y": "10 / x"}}],
            "sink": {"discard": {}},
            "tests": [
                {"name": "wrong", "input": [{"x": 5}, {"x": 0}], "output": [{"x": 5, "y": 3}], "late": 1},
                {
                    "name": "right",
                    "input": [{"x": 5}, {"x": 0}],
                    "output": [{"x": 5, "y": 2}],
                    "dead": ["division-by-zero"],
                },
                {"name": "lost", "input": {"other": []}},
            ],
        }
    )
    wrong, right, lost = run_tests(spec, tmp_path)
    assert right.problems == ()
    assert [(dotted(problem.path), problem.message) for problem in wrong.problems] == [
        ("tests[0].output[0].y", "wrong: y is 2.0, not 3"),
        ("tests[0].dead", "wrong: dead letters: division-by-zero: division by zero; expected: none"),
        ("tests[0].late", "wrong: 0 messages come too late for their window, not 1"),
    ]
    assert [problem.message for problem in lost.problems] == ["lost: there is no source 'other'"]


def test_missing_and_unexpected_results_are_told_each(tmp_path: Path) -> None:
    rows = [{"x": 1}, {"x": 2, "y": 1}]
    spec = FlowSpec.model_validate(
        {
            "source": {"generator": {"fields": {"n": "n"}}},
            "sink": {"discard": {}},
            "tests": [
                {"name": "a", "input": rows, "output": [{"x": 2}, {"x": 1}, {"x": 3}]},
                {"name": "b", "input": rows, "output": []},
                {"name": "c", "input": rows[:1], "output": [{"x": 1, "z": 1}]},
            ],
        }
    )
    assert [[(dotted(p.path), p.message) for p in outcome.problems] for outcome in run_tests(spec, tmp_path)] == [
        [("tests[0].output[0]", "a: the result has y too: 1"), ("tests[0].output[2]", 'a: no such result: {"x":3}')],
        [
            ("tests[1].output", 'b: a result that is not expected: {"x":1}'),
            ("tests[1].output", 'b: a result that is not expected: {"x":2,"y":1}'),
        ],
        [("tests[2].output[0].z", "c: the result has no z")],
    ]


@pytest.mark.parametrize("name", DATA)
def test_looking_into_an_example_at_any_place_changes_nothing(name: str) -> None:
    loaded = load(ROOT / f"examples/flows/{name}.yaml", load_kinds(), host="anywhere", environ={})
    resource = next(found for address, found in loaded.resources.items() if address.kind == "Flow")
    base, now = resource.base.absolute(), time.time_ns() // 1000
    lines = (ROOT / f"examples/flows/data/{DATA[name]}.ndjson").read_bytes().splitlines()

    def run(tap: Tap | None) -> Pipeline:
        pipeline = Pipeline(resource.spec, base)
        half = len(lines) // 2
        pipeline.feed("in", lines[:half], now=now)
        if tap is not None:
            pipeline.front.plan = pipeline.plan = compile_flow(resource.spec, pipeline.standing, base, tap)
        pipeline.feed("in", lines[half:], now=now)
        pipeline.finish(now)
        return pipeline

    plain = run(None)
    wanted = [msgspec.json.encode(rows) for rows in plain.results.values()]
    for stage in plain.plan.stages:
        tap = Tap(stage.place, 10)
        tapped = run(tap)
        assert [msgspec.json.encode(rows) for rows in tapped.results.values()] == wanted
        assert tapped.letters == []
        if stage.does not in ("window", "join") and not stage.place.startswith("sink"):
            assert tap.rows
            assert tap.total >= len(tap.rows)
        if stage.fields is not None and tap.rows:
            assert list(tap.rows[0]) == list(stage.fields)
