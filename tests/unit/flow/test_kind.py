"""The kind Flow: what a spec comes to, and what a change costs."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from streamsd.core.address import Address
from streamsd.core.change import OnChange, changed_fields
from streamsd.core.diagnostics import dotted
from streamsd.core.kind import Compiled, Resource
from streamsd.core.secret import Secret
from streamsd.core.settings import Settings
from streamsd.core.unit import spec_hash
from streamsd.engine.context import HostContext
from streamsd.flow.checks import SHAPE_FILE
from streamsd.flow.compiler import compile_flow
from streamsd.flow.split import joined, split
from streamsd.flow.standing import Standing
from streamsd.kinds.flow.kind import KIND
from streamsd.kinds.flow.spec import FlowSpec
from streamsd.testing.kinds import said_against
from tests.programs_needed import need_bytewax

ADDRESS = Address("Flow", "rooms")
WINDOW = {"tumbling": "1s", "key": "room", "time": "ts", "emit": {"n": "count()"}}
SPEC: dict[str, Any] = {
    "source": {"tcp": {"listen": "127.0.0.1:9000"}, "limit": {"messages": 100}},
    "schema": {"room": "str", "temp_c": "float", "ts": "time_ms"},
    "steps": [{"filter": "temp_c > 0"}, {"window": WINDOW}],
    "sink": {"file": {"path": "out.ndjson"}, "when": "n > 1"},
}


@pytest.fixture
def context(tmp_path: Path) -> HostContext:
    return HostContext(Settings(tmp_path / "p", tmp_path / "s", tmp_path / "r", tmp_path / "c"), {})


def compiled(context: HostContext, spec: dict[str, Any], base: Path) -> Compiled:
    resource = Resource(ADDRESS, FlowSpec.model_validate(spec), base=base)
    assert list(said_against(KIND, resource, context)) == []
    return KIND.compile(resource, context)


def changed(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(SPEC), **changes}


def test_a_flow_is_one_process_whose_files_hold_its_spec(context, tmp_path):
    made = compiled(context, SPEC, tmp_path)
    unit = made.unit("runner")
    held, live = (json.loads(file.data()) for file in unit.files)
    assert joined(held, live) == FlowSpec.model_validate(SPEC)
    assert {claim.which for claim in made.claims} == {"9000", str(tmp_path / "out.ndjson")}
    assert [claim.what for claim in made.claims] == ["tcp-port", "file"]


@pytest.mark.parametrize(
    ("spec", "live", "restarts"),
    [
        (changed(), False, False),
        (changed(description="x", tests=[{"name": "t", "input": []}]), False, False),
        (changed(steps=[{"filter": "temp_c > 5"}, {"window": WINDOW}]), True, False),
        (changed(steps=[{"window": WINDOW}]), True, False),
        (changed(steps=[{"filter": "temp_c > 0"}, {"window": WINDOW}, {"set": {"x": "n + 1"}}]), True, False),
        (changed(sink={"file": {"path": "out.ndjson"}, "when": "n > 2"}), True, False),
        (changed(source={"tcp": {"listen": "127.0.0.1:9000"}}), True, False),
        (changed(source={"tcp": {"listen": "127.0.0.1:9001"}}), True, True),
        (changed(sink={"file": {"path": "new.ndjson"}, "when": "n > 1"}), False, True),
        (changed(steps=[{"filter": "temp_c > 0"}, {"window": {**WINDOW, "tumbling": "2s"}}]), True, True),
        (changed(recovery={"generation": 2}), False, True),
        (changed(processes=2), False, True),
    ],
)
def test_steps_limits_and_conditions_are_live_and_the_rest_restarts(context, tmp_path, spec, live, restarts):
    if spec.get("processes", 1) > 1:
        need_bytewax()
    before, after = compiled(context, SPEC, tmp_path), compiled(context, spec, tmp_path)
    assert (before.live["steps"].desired != after.live["steps"].desired) is live
    assert (spec_hash(before.unit("runner"), b"k") != spec_hash(after.unit("runner"), b"k")) is restarts


def test_what_is_written_on_the_fields_is_what_a_change_costs():
    def cost(spec: dict[str, Any]) -> set[OnChange]:
        return {c.policy for c in changed_fields(FlowSpec.model_validate(SPEC), FlowSpec.model_validate(spec))}

    assert cost(changed(description="x")) == {OnChange.NONE}
    assert cost(changed(steps=[{"window": WINDOW}])) == {OnChange.PATCH}
    assert cost(changed(sink={"file": {"path": "out.ndjson"}})) == {OnChange.PATCH}
    assert cost(changed(processes=2)) == {OnChange.RESTART}
    assert cost(changed(source={"tcp": {"listen": "127.0.0.1:9000"}, "limit": {"messages": 5}})) == {OnChange.PATCH}
    assert cost(changed(source={"tcp": {"listen": "127.0.0.1:1"}, "limit": {"messages": 100}})) == {OnChange.RESTART}


def test_an_edit_is_told_at_the_step_that_differs():
    edited = FlowSpec.model_validate(changed(steps=[{"filter": "temp_c > 5"}, {"window": WINDOW}]))
    told = [(dotted(c.path), c.before, c.after) for c in changed_fields(FlowSpec.model_validate(SPEC), edited)]
    assert told == [("steps[0].filter", "temp_c > 0", "temp_c > 5")]


def test_a_secret_is_in_private_files_only(context, tmp_path):
    spec = changed(
        steps=[{"redact": {"fields": ["room"], "with": "hash", "key": Secret("hush-hush")}}], sink={"discard": {}}
    )
    made = compiled(context, spec, tmp_path)
    unit = made.unit("runner")
    assert "hush" not in repr(made)
    assert "hush" not in " ".join(unit.argv)
    assert b"hush-hush" in unit.files[1].data()


def test_a_window_that_does_not_fit_the_stored_state_is_a_problem_with_a_way_out(context, tmp_path):
    spec = FlowSpec.model_validate(SPEC)
    state = context.state_directory(ADDRESS) / "generation-1"
    state.mkdir()
    (state / SHAPE_FILE).write_text(compile_flow(spec, Standing(tmp_path), tmp_path).state_shape)
    fine = changed(steps=[{"filter": "temp_c > 9"}, {"window": {**WINDOW, "lateness": "5s"}}])
    assert list(said_against(KIND, Resource(ADDRESS, FlowSpec.model_validate(fine), base=tmp_path), context)) == []
    wider = changed(steps=[{"window": {**WINDOW, "key": "ts"}}])
    problems = list(said_against(KIND, Resource(ADDRESS, FlowSpec.model_validate(wider), base=tmp_path), context))
    assert [p.code for p in problems] == ["flow-state-mismatch"]
    assert "recovery.generation 2" in problems[0].hint
    anew = {**wider, "recovery": {"generation": 2}}
    assert list(said_against(KIND, Resource(ADDRESS, FlowSpec.model_validate(anew), base=tmp_path), context)) == []


@pytest.mark.parametrize(
    ("spec", "code", "path", "words"),
    [
        (changed(source={"stdin": {}}), "flow-source", ("source", "stdin"), "standard input"),
        (
            changed(source={"file": {"path": "x"}}, sink={"stdout": {}, "delivery": "exactly_once"}),
            "flow-delivery",
            ("sink", "delivery"),
            "cannot take back",
        ),
        (
            changed(sink={"file": {"path": "x"}, "delivery": "exactly_once"}),
            "flow-delivery",
            ("sink", "delivery"),
            "cannot be read again",
        ),
        (
            changed(source={"mqtt": {"topics": ["x"]}, "limit": {"each": {"messages": 1}}}),
            "flow-limit",
            ("source", "limit", "each"),
            "a source of mqtt does not tell the peer of a message",
        ),
    ],
)
def test_promises_that_cannot_be_kept_are_problems(context, tmp_path, spec, code, path, words):
    problems = list(said_against(KIND, Resource(ADDRESS, FlowSpec.model_validate(spec), base=tmp_path), context))
    assert [(p.code, p.path) for p in problems] == [(code, path)]
    assert words in problems[0].message


def test_a_spec_is_the_same_after_it_was_split_and_joined():
    spec = {
        "sources": {
            "a": {
                "generator": {"fields": {"x": "n"}},
                "steps": [{"dedupe": {"key": "x", "within": "1m"}}, {"filter": "x > 1"}],
            },
            "b": {"file": {"path": "b"}, "limit": {"bytes": 10}},
        },
        "steps": [
            {"set": {"y": "x"}},
            {"key": "x"},
            {"window": {"tumbling": "1s", "emit": {"n": "count()"}}},
            {"drop": ["n"]},
        ],
        "sinks": {"one": {"discard": {}, "steps": [{"set": {"z": "1"}}]}, "two": {"discard": {}, "when": "true"}},
    }
    model = FlowSpec.model_validate(spec)
    held, live = split(model)
    assert joined(json.loads(json.dumps(held)), json.loads(json.dumps(live))) == model
    assert [next(iter(step)) for step in held["steps"]] == ["key", "window"]
