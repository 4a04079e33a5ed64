"""What `flow explain` says a change costs is what the planner makes of it, for every field of a flow."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from streamsd.core.address import Address
from streamsd.core.diagnostics import FieldPath, dotted
from streamsd.core.kind import Resource
from streamsd.core.settings import Settings
from streamsd.core.unit import spec_hash
from streamsd.engine.context import HostContext
from streamsd.flow.checks import SHAPE_FILE
from streamsd.flow.compiler import compile_flow
from streamsd.flow.costs import Cost, costs_of
from streamsd.flow.standing import Standing
from streamsd.kinds.flow.kind import KIND
from streamsd.kinds.flow.spec import FlowSpec
from streamsd.testing.kinds import said_against

ADDRESS = Address("Flow", "f")

WINDOWED: dict[str, Any] = {
    "description": "rooms",
    "source": {"tcp": {"listen": "127.0.0.1:9000"}, "limit": {"messages": 100}, "steps": [{"filter": "temp_c > 1"}]},
    "schema": {"room": "str", "temp_c": "float", "ts": "time_ms"},
    "steps": [
        {"filter": "temp_c > 0"},
        {"dedupe": {"key": "room", "within": "5s", "max": 100}},
        {"set": {"f": "temp_c * 2"}},
        {"key": "room"},
        {"window": {"tumbling": "1s", "time": "ts", "lateness": "1s", "late": "drop", "emit": {"n": "count()"}}},
        {"filter": "n > 2"},
    ],
    "sinks": {
        "file": {"file": {"path": "out.ndjson"}, "when": "n > 1"},
        "hook": {"http": {"url": "http://127.0.0.1:1/"}, "steps": [{"set": {"m": "n"}}]},
    },
    "recovery": {"epoch": "1s", "generation": 1},
    "tests": [{"name": "a", "input": []}],
}
JOINED: dict[str, Any] = {
    "sources": {
        "a": {"tcp": {"listen": "127.0.0.1:9000"}, "schema": {"id": "int", "ts": "time_ms"}},
        "b": {"tcp": {"listen": "127.0.0.1:9001"}, "schema": {"id": "int", "ts": "time_ms"}},
    },
    "steps": [
        {
            "join": {
                "left": "a",
                "right": "b",
                "on": "id",
                "within": "5s",
                "time": "ts",
                "lateness": "1s",
                "emit": {"id": "left.id"},
            }
        }
    ],
    "sink": {"discard": {}},
}
OTHER: dict[str, Any] = {
    "description": "halls",
    "source.tcp.listen": "127.0.0.1:9005",
    "source.limit.messages": 200,
    "source.steps[0].filter": "temp_c > 2",
    "schema.room": None,
    "schema.temp_c": "int",
    "schema.ts": None,
    "steps[0].filter": "temp_c > 5",
    "steps[1].dedupe.key": "temp_c",
    "steps[1].dedupe.within": "6s",
    "steps[1].dedupe.max": 200,
    "steps[2].set.f": "temp_c * 3",
    "steps[3].key": "ts",
    "steps[4].window.tumbling": "2s",
    "steps[4].window.time": "ts + 1",
    "steps[4].window.lateness": "2s",
    "steps[4].window.late": "dead_letter",
    "steps[4].window.emit.n": "max(temp_c)",
    "steps[5].filter": "n > 3",
    "sinks.file.file.path": "other.ndjson",
    "sinks.file.when": "n > 9",
    "sinks.hook.http.url": "http://127.0.0.1:2/",
    "sinks.hook.steps[0].set.m": "n + 1",
    "recovery.epoch": "2s",
    "recovery.generation": 2,
    "tests": [],
    "sources.a.tcp.listen": "127.0.0.1:9005",
    "sources.a.schema.id": None,
    "sources.a.schema.ts": "time_us",
    "sources.b.tcp.listen": "127.0.0.1:9006",
    "sources.b.schema.id": "float",
    "sources.b.schema.ts": "time_us",
    "steps[0].join.left": None,
    "steps[0].join.right": None,
    "steps[0].join.on": "[id]",
    "steps[0].join.within": "6s",
    "steps[0].join.time": "ts + 1",
    "steps[0].join.lateness": "2s",
    "steps[0].join.emit.id": "right.ts",
    "sink.discard": None,
}
"""Another value for each; None: there is none that fits by itself."""


@pytest.fixture
def context(tmp_path: Path) -> HostContext:
    return HostContext(Settings(tmp_path / "p", tmp_path / "s", tmp_path / "r", tmp_path / "c"), {})


def with_other(spec: dict[str, Any], path: FieldPath, value: Any) -> FlowSpec:
    made = copy.deepcopy(spec)
    inside: Any = made
    for part in path[:-1]:
        inside = inside[part]
    inside[path[-1]] = value
    return FlowSpec.model_validate(made)


def planned(old: FlowSpec, new: FlowSpec, context: HostContext, base: Path) -> Cost:
    """What comes of it: the kind's own checks against stored state, and what the planner compares."""
    state = context.state_directory(ADDRESS) / "generation-1"
    state.mkdir(exist_ok=True)
    (state / SHAPE_FILE).write_text(compile_flow(old, Standing(base), base).state_shape)
    codes = {problem.code for problem in said_against(KIND, Resource(ADDRESS, new, base=base), context)}
    if codes:
        assert codes == {"flow-state-mismatch"}, codes
        return Cost.RESET
    before, after = (KIND.compile(Resource(ADDRESS, spec, base=base), context) for spec in (old, new))
    if spec_hash(before.unit("runner"), b"k") != spec_hash(after.unit("runner"), b"k"):
        return Cost.RESTART
    return Cost.LIVE if before.live["steps"].desired != after.live["steps"].desired else Cost.NOTHING


@pytest.mark.parametrize("given", [WINDOWED, JOINED], ids=["window", "join"])
def test_what_a_change_is_said_to_cost_is_what_the_planner_makes_of_it(context, tmp_path, given) -> None:
    spec = FlowSpec.model_validate(given)
    told = dict(costs_of(spec))
    assert {dotted(path) for path in told} <= set(OTHER), "a field without another value"
    for path, cost in told.items():
        value = OTHER[dotted(path)]
        if value is not None:
            assert planned(spec, with_other(given, path, value), context, tmp_path) == cost, dotted(path)
    assert set(told.values()) >= {Cost.RESTART, Cost.RESET}
