"""Who does what in a flow of several processes."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from streamsd.flow.checks import check_processes
from streamsd.flow.compiler import compile_flow
from streamsd.flow.faults import Dead
from streamsd.flow.keyed import KeyedWork
from streamsd.flow.layout import Layout
from streamsd.flow.meeting import Told
from streamsd.flow.spec import FlowSpec
from streamsd.flow.standing import Standing
from streamsd.flow.windows import SHARDS, Work
from streamsd.programs.flow.sink_parts import DEAD, is_none, parts_of

FILES = {name: {"file": {"path": name}} for name in "abc"}
WINDOW = {"window": {"tumbling": "1s", "key": "k", "emit": {"n": "count()"}}}


def spec(**changes: Any) -> FlowSpec:
    return FlowSpec.model_validate({"processes": 2, "sources": FILES, "sink": {"file": {"path": "out"}}, **changes})


def test_sources_and_sinks_are_spread():
    layout = Layout(spec())
    assert [layout.sources(process) for process in range(2)] == [["a", "c"], ["b"]]
    assert (layout.owner("b", ""), layout.owner("gone", "")) == (1, -1)
    assert layout.sink("out") == 1


def test_the_end_of_an_epoch_is_told_in_every_process():
    """At a sink's part the journals of a process are waited for."""
    made = spec(processes=3)
    plan = compile_flow(made, Standing(Path()), Path())
    parts = [parts_of(Layout(made), plan, process) for process in range(3)]
    assert parts == [[DEAD], ["none@1"], ["sink out"]]
    assert [is_none(part) for own in parts for part in own] == [False, True, False]


@pytest.mark.parametrize(
    ("shard", "work"),
    [
        (3, Work([(7, [("k", [1, 0.5, {"a"}])])], 6, None)),
        (3, KeyedWork([("k", 5, 4, 0, (1,), b"raw")], 4)),
        (SHARDS, ([{"k": 1}], [Dead("late", "too late", b"raw", "in")])),
    ],
    ids=["panes", "keyed", "passing"],
)
def test_what_is_told_to_another_process_comes_as_it_was(shard: int, work: Any):
    told = Told(1, shard, work, 300, -5)
    assert pickle.loads(pickle.dumps(told, 5)) == told


def test_partitions_are_divided_and_brokers_written_to_by_all():
    kafka = {"kafka": {"brokers": ["x:1"], "topics": ["t"], "group": "g"}}
    layout = Layout(spec(sources={"a": FILES["a"], "k": kafka}, sink={"kafka": {"brokers": ["x:1"], "topic": "u"}}))
    assert [layout.sources(process) for process in range(2)] == [["a", "k"], ["k"]]
    assert [layout.owner("k", f"t/{number}") for number in range(4)] == [1, 0, 1, 0]
    assert layout.sink("out") is None


def test_what_must_see_all_messages_is_in_one_process():
    layout = Layout(spec(steps=[{"dedupe": {"key": "k", "within": "1m"}}, WINDOW]))
    assert [layout.sources(process) for process in range(2)] == [["a", "b", "c"], []]


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"steps": [WINDOW, {"throttle": {"rate": 1}}]}, ("steps", 1, "throttle")),
        ({"sink": {"file": {"path": "out"}, "steps": [{"throttle": {"rate": 1}}]}}, ("sink", "steps", 0, "throttle")),
    ],
)
def test_a_throttle_of_a_part_of_the_results_is_refused(changes, path):
    found = [problem for problem in check_processes(spec(**changes)) if problem.code == "flow-processes"]
    assert [problem.path for problem in found] == [path]
    assert list(check_processes(spec(**changes, processes=1))) == []
