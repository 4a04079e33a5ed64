"""The next controller over the same processes: what it says before it has looked, and plans of what was seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamsd.core.address import Address, UnitId
from streamsd.core.runtime import RuntimeFault
from streamsd.core.unit import FileExists, Limits, RestartMode
from streamsd.engine.plan import Plan
from streamsd.testing import Scenario, things

A = UnitId.parse("Thing/a/main")
B = UnitId.parse("Thing/b/main")
C = UnitId.parse("Thing/c/main")


async def planned(s: Scenario) -> Plan:
    return await s.reconciler.survey.plan(s.reconciler.world.generation)


def said(plan: Plan) -> list[str]:
    return [f"{action.action} {action.address}: {action.cause}" for action in plan.actions]


def waits(plan: Plan) -> dict[str, str]:
    return {str(address): why for address, why in plan.waits.items()}


@pytest.mark.parametrize("how", ["edited", "drifted"])
async def test_it_has_not_converged_before_it_has_asked_what_is_live(tmp_path: Path, how: str) -> None:
    async with Scenario(tmp_path) as before:
        await before.apply(things(a={"level": 3}, b={"uses": ["a"]}), 5)
        assert before.converged
    if how == "drifted":
        before.thing.levels[before.runtime.process(A).pid] = 1
    async with before.anew() as s:
        s.runtime.forget_calls()
        s.accept(things(a={"level": 7 if how == "edited" else 3}, b={"uses": ["a"]}))
        s.reconciler._pass()
        assert not s.converged
        assert s.condition("Thing/a", "Progressing").reason == "Observing"
        await s.settle()  # no time has gone by
        assert s.runtime.mutations() == ["patch Thing/a level"]
        await s.advance(1)
        assert s.converged


async def test_what_is_on_the_air_is_known_before_the_first_apply_that_asks(tmp_path: Path) -> None:
    async with Scenario(tmp_path) as before:
        await before.apply(things(a={"level": 3}), 5)
    before.thing.on_air["a"] = "streaming"
    async with before.anew() as s:
        s.accept(things(a={"level": 3}))
        assert Address("Thing", "a") not in s.reconciler.world.measured
        await s.reconciler.survey.acquaint()
        assert s.reconciler.world.measured[Address("Thing", "a")].on_air == "streaming"


async def test_a_plan_tells_the_drift_that_it_is_the_first_to_see(s: Scenario) -> None:
    await s.apply(things(a={"level": 3, "memory": 1 << 20}, b={}, c={}), 5)
    s.thing.levels[s.runtime.process(A).pid] = 1
    s.runtime.alter(A, Limits(memory_bytes=2 << 20))
    s.runtime.kill(B, told=False)
    plan = await planned(s)
    assert said(plan) == [
        "patch Thing/a: limits of main are 2 MiB, any CPU, nice 0, not 1 MiB, any CPU, nice 0; level is 1, not 3",
        "restart Thing/b: main was killed by signal 9",
    ]
    assert not plan.waits
    await s.advance(5)
    assert s.converged
    after = await planned(s)
    assert not after.actions
    assert not after.waits


async def test_a_limit_altered_right_after_the_start_is_seen(s: Scenario) -> None:
    await s.apply(things(a={"memory": 1 << 20}))
    s.runtime.alter(A, Limits(memory_bytes=2 << 20))
    assert [action.address.name for action in (await planned(s)).actions] == ["a"]


async def test_a_plan_says_what_it_waits_for(s: Scenario) -> None:
    s.runtime.refuse(A, FileExists)
    await s.apply(things(a={"probed": True}, b={"near": ["a"]}, c={}), 1)
    assert waits(await planned(s)) == {"Thing/a": "main is starting", "Thing/b": "main waits for Thing/a"}
    s.runtime.allow(A, FileExists)
    await s.advance(5)
    assert waits(await planned(s)) == {}
    s.runtime.ends_at_start[A] = 3
    s.runtime.kill(A, code=3)
    while s.reconciler.world.life(A).retry_at <= s.clock.monotonic():
        await s.advance(0.1)
    assert waits(await planned(s)) == {"Thing/a": "main exited with 3, and is started again after a pause"}


async def test_a_plan_says_that_a_process_is_being_stopped_by_an_earlier_controller(tmp_path: Path) -> None:
    async with Scenario(tmp_path) as before:
        await before.apply(things(a={}), 5)
        before.runtime.stop_takes[A] = 2.0
        before.reconciler.force(A.address, frozenset(["main"]))
        await before.advance(0.1)
    async with before.anew() as s:
        await s.apply(things(a={}))
        plan = await planned(s)
        assert not plan.actions
        assert waits(plan) == {"Thing/a": "main is stopping"}
        assert not s.converged


async def test_a_plan_says_what_did_not_answer(s: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    await s.apply(things(a={"level": 3}), 5)

    async def fails(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(s.thing, "observe", fails)
    assert waits(await planned(s)) == {"Thing/a": "it does not say what it has live: level"}


async def test_there_is_no_plan_of_what_nobody_can_see(s: Scenario) -> None:
    await s.apply(things(a={}), 5)
    s.runtime.lose(unreachable=3)
    with pytest.raises(RuntimeFault):
        await planned(s)
    await s.advance(30)
    assert s.converged
    assert not (await planned(s)).actions


async def test_the_next_controller_adopts_everything_and_asks_for_nothing(tmp_path: Path) -> None:
    profile = things(
        a={"level": 2, "memory": 1 << 20, "probed": True},
        b={"uses": ["a"], "helpers": ["h"], "extras": ["x"]},
        c={"restart": RestartMode.ON_FAILURE},
    )
    async with Scenario(tmp_path) as first:
        await first.apply(profile, 1)
        first.runtime.kill(C, code=0)
        await first.advance(1)
        assert first.converged
    before = first.runtime.running()
    first.runtime.forget_calls()
    async with first.anew() as second:
        await second.advance(1)
        assert not second.converged, "nothing is accepted yet"
        await second.apply(profile, 3)
        assert second.converged
        await second.advance(60)
    assert first.runtime.mutations() == []
    assert first.runtime.running() == before


async def test_what_left_the_profile_while_no_controller_ran_is_ended(tmp_path: Path) -> None:
    async with Scenario(tmp_path) as first:
        await first.apply(things(a={}, b={"uses": ["a"]}), 1)
    first.runtime.forget_calls()
    async with first.anew() as second:
        await second.apply(things(a={"size": "big"}), 3)
        assert second.converged
    assert sorted(first.runtime.mutations()) == ["start Thing/a/main", "stop Thing/a/main", "stop Thing/b/main"]
