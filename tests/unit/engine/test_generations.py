"""A generation in the middle of another."""

from __future__ import annotations

from streamsd.core.address import UnitId
from streamsd.core.unit import FileExists
from streamsd.testing import Scenario, things

A, B = (UnitId.parse(f"Thing/{name}/main") for name in "ab")


async def test_a_newer_profile_does_not_wait_for_a_start_it_no_longer_wants(s: Scenario) -> None:
    s.runtime.refuse(A, FileExists)
    await s.apply(things(a={"probed": True, "size": "wrong"}, b={"near": ["a"]}), 2)
    await s.apply(things(a={"probed": False, "size": "right"}, b={"near": ["a"]}), 1)
    assert s.converged
    await s.advance(60)
    assert s.converged


async def test_a_resource_removed_while_it_starts_is_ended_and_what_it_stood_on_after_it(s: Scenario) -> None:
    s.runtime.refuse(B, FileExists)
    await s.apply(things(a={}, b={"probed": True, "uses": ["a"]}), 2)
    s.runtime.forget_calls()
    await s.apply(things(), 1)
    assert s.runtime.mutations() == ["stop Thing/b/main", "stop Thing/a/main"]
    assert s.converged
    assert s.runtime.running() == {}
    assert sorted(s.discarded) == ["Thing/a", "Thing/b"]
    assert not s.reconciler.conditions


async def test_a_resource_declared_again_while_it_is_ended_keeps_its_directory(s: Scenario) -> None:
    await s.apply(things(a={}), 1)
    s.runtime.stop_takes[A] = 5.0
    await s.apply(things(), 1)
    await s.apply(things(a={}), 10)
    assert s.discarded == []
    assert s.runtime.running().keys() == {"Thing/a/main"}
    assert s.converged


async def test_steps_of_an_older_profile_that_have_not_begun_are_left_out(s: Scenario) -> None:
    await s.apply(things(a={}, b={"uses": ["a"]}), 1)
    s.runtime.stop_takes[B] = 5.0
    s.runtime.forget_calls()
    await s.apply(things(a={"size": "big"}, b={"uses": ["a"]}), 1)
    assert s.runtime.mutations() == ["stop Thing/b/main"]
    await s.apply(things(a={}, b={"uses": ["a"]}), 10)
    assert s.runtime.mutations() == ["stop Thing/b/main", "start Thing/b/main"], "a never had to restart"
    assert s.converged


async def test_a_role_that_left_the_profile_before_its_turn_is_not_started(s: Scenario) -> None:
    s.runtime.start_takes[A] = 5.0
    await s.apply(things(a={"helpers": ["h"], "extras": ["x"]}), 1)
    await s.apply(things(a={"helpers": [], "extras": ["x"]}), 20)
    assert s.runtime.running().keys() == {"Thing/a/main", "Thing/a/x"}
    assert s.converged


async def test_two_applies_in_a_row_end_in_the_second(s: Scenario) -> None:
    s.accept(things(a={"size": "one"}, b={}))
    s.accept(things(a={"size": "two"}, c={}))
    await s.advance(1)
    assert s.runtime.running().keys() == {"Thing/a/main", "Thing/c/main"}
    assert s.converged
    assert s.runtime.mutations() == ["start Thing/a/main", "start Thing/c/main"]
    assert s.reconciler.observed_generation == 2


async def test_an_edit_helps_what_could_not_be_started_at_once(s: Scenario) -> None:
    s.runtime.fail(A, "ProgramMissing", "there is no /bin/thing", times=10)
    await s.apply(things(a={}), 60)
    assert s.condition("Thing/a", "Progressing").reason == "ProgramMissing"
    s.runtime._start_faults.clear()
    await s.apply(things(a={"size": "big"}))
    assert s.runtime.running().keys() == {"Thing/a/main"}
