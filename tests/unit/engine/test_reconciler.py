"""The reconciler over a fake runtime: what it does, and above all what it does not."""

from __future__ import annotations

from streamsd.core.address import Address, UnitId
from streamsd.core.unit import FileExists, UnixSocket
from streamsd.testing import Scenario, things

A, B = (UnitId.parse(f"Thing/{name}/main") for name in "ab")


async def test_a_first_apply_starts_in_order_and_converges(s: Scenario) -> None:
    await s.apply(things(c={"uses": ["b"]}, b={"uses": ["a"]}, a={}), 1)
    assert s.runtime.mutations() == ["start Thing/a/main", "start Thing/b/main", "start Thing/c/main"]
    assert s.converged
    assert s.reconciler.observed_generation == 1
    assert s.condition("Thing/c", "Ready").reason == "Serving"


async def test_an_unchanged_apply_asks_for_nothing(s: Scenario) -> None:
    profile = things(a={"level": 3, "memory": 1 << 20}, b={"uses": ["a"], "helpers": ["h"], "extras": ["x"]})
    await s.apply(profile, 1)
    before = s.runtime.running()
    s.runtime.forget_calls()
    await s.apply(profile, 1)
    await s.apply(things(**{n: {**spec, "note": "changed"} for n, spec in profile["things"].items()}), 60)
    assert s.runtime.mutations() == []
    assert s.runtime.running() == before
    assert s.converged
    assert s.reconciler.observed_generation == 3


async def test_it_has_not_converged_before_everything_serves(s: Scenario) -> None:
    s.runtime.refuse(A, FileExists)
    s.runtime.refuse(B, UnixSocket)
    await s.apply(things(a={"probed": True}, b={"probed": True, "near": ["a"]}))
    assert not s.converged
    assert s.condition("Thing/a", "Ready").reason == "Starting"
    assert s.condition("Thing/b", "Progressing").reason == "Waiting"
    s.runtime.allow(A, FileExists)
    await s.advance(5)
    assert not s.converged, "b does not serve yet"
    assert s.condition("Thing/b", "Ready").reason == "NotReady"
    s.runtime.allow(B, UnixSocket)
    await s.advance(2)
    assert s.converged


async def test_a_forced_restart_takes_what_follows_along(s: Scenario) -> None:
    await s.apply(things(a={"helpers": ["h"], "extras": ["x"]}, b={"uses": ["a"]}, c={}), 1)
    s.runtime.forget_calls()
    s.reconciler.force(Address("Thing", "a"), frozenset(["main"]))
    await s.advance(1)
    assert s.runtime.mutations() == [
        "stop Thing/b/main",
        "stop Thing/a/h",
        "stop Thing/a/main",
        "start Thing/a/main",
        "start Thing/a/h",
        "start Thing/b/main",
    ]
    assert s.converged


async def test_held_resources_stay_down_until_the_next_apply(s: Scenario) -> None:
    profile = things(a={}, b={"uses": ["a"]}, c={})
    await s.apply(profile, 1)
    s.runtime.forget_calls()
    assert s.reconciler.hold([Address("Thing", "a")]) == {Address("Thing", "a"), Address("Thing", "b")}
    await s.advance(100)
    assert s.runtime.mutations() == ["stop Thing/b/main", "stop Thing/a/main"]
    assert s.condition("Thing/a", "Ready").reason == "Held"
    assert not s.converged
    await s.apply(profile, 1)
    assert s.runtime.mutations()[2:] == ["start Thing/a/main", "start Thing/b/main"]
    assert s.converged


async def test_a_hold_ends_a_start_that_is_under_way(s: Scenario) -> None:
    s.runtime.refuse(A, FileExists)
    await s.apply(things(a={"probed": True}, b={"near": ["a"]}), 1)
    s.reconciler.hold([Address("Thing", "a")])
    await s.advance(1)
    assert s.runtime.running() == {}


async def test_a_stop_that_fails_is_tried_again(s: Scenario) -> None:
    await s.apply(things(a={}, b={"uses": ["a"]}), 1)
    s.runtime.fail_stop(B, times=3)
    await s.apply(things(), 60)
    assert s.runtime.running() == {}
    assert s.converged


async def test_it_is_not_ready_while_it_restarts(s: Scenario) -> None:
    await s.apply(things(a={}), 1)
    s.runtime.stop_takes[A] = s.runtime.start_takes[A] = 2.0
    await s.apply(things(a={"size": "big"}), 3)
    assert not s.condition("Thing/a", "Ready").status
    await s.advance(3)
    assert s.condition("Thing/a", "Ready").status


async def test_a_slow_start_does_not_hold_up_a_crowd(s: Scenario) -> None:
    crowd = {f"t{n}": {"probed": True} for n in range(60)}
    for name in crowd:
        s.runtime.refuse(f"Thing/{name}/main", FileExists)
    await s.apply(things(a={}, **crowd), 3)
    s.runtime.kill(A)
    await s.settle()
    assert "Thing/a/main" in s.runtime.running()
