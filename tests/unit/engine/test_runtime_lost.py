"""The runtime: lost, joined again, and asked for what it did not tell."""

from __future__ import annotations

from streamsd.core.address import Address, UnitId
from streamsd.testing import Scenario, things

A, B = (UnitId.parse(f"Thing/{name}/main") for name in "ab")


async def test_a_lost_runtime_is_joined_again_and_everything_started_in_order(s: Scenario) -> None:
    await s.apply(things(a={}, b={"uses": ["a"]}, c={"uses": ["b"]}), 1)
    s.runtime.forget_calls()
    s.runtime.lose(unreachable=3)
    await s.advance(20)
    starts = [call for call in s.runtime.mutations() if call.startswith("start")]
    assert starts[-3:] == ["start Thing/a/main", "start Thing/b/main", "start Thing/c/main"]
    assert s.converged
    assert len(s.told("runtime-unreachable")) == 3


async def test_a_runtime_lost_in_the_middle_of_a_start(s: Scenario) -> None:
    s.runtime.start_takes[A] = 5.0
    await s.apply(things(a={}, b={"uses": ["a"]}), 2)
    s.runtime.start_takes.clear()
    s.runtime.lose()
    await s.advance(20)
    assert s.runtime.running().keys() == {"Thing/a/main", "Thing/b/main"}
    assert s.converged


async def test_what_nobody_told_is_found_out(s: Scenario) -> None:
    await s.apply(things(a={}, b={}, c={}), 1)
    s.runtime.forget_calls()
    s.runtime.kill(A, told=False)
    s.runtime.remove(B)
    await s.advance(40)
    assert sorted(s.runtime.mutations()) == ["start Thing/a/main", "start Thing/b/main", "stop Thing/a/main"]
    assert s.converged


async def test_an_exit_told_twice_counts_once(s: Scenario) -> None:
    await s.apply(things(a={}), 1)
    s.runtime.start_takes[A] = 100.0
    s.runtime.kill(A, told=False)
    await s.reconciler.survey.look_closely([])
    from streamsd.core.runtime import Exited

    s.runtime._events.put_nowait(Exited(s.runtime.process(A)))
    await s.settle()
    assert s.reconciler.world.life(A).failures == 1


async def test_a_process_that_was_replaced_behind_our_back_is_adopted(s: Scenario) -> None:
    await s.apply(things(a={}), 1)
    spec_hash = s.runtime.process(A).spec_hash
    s.runtime.remove(A)
    unit = s.reconciler.world.generation.resources[Address("Thing", "a")].compiled.unit("main")
    await s.runtime.start(unit, spec_hash)
    s.runtime.forget_calls()
    await s.advance(60)
    assert s.runtime.mutations() == []
    assert s.converged
