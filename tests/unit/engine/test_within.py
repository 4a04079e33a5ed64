"""Processes of one resource among themselves: who comes after whom, and who goes with whom."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from streamsd.core.address import Address, UnitId
from streamsd.core.kind import Compiled, Kind, Resource, Spec
from streamsd.core.unit import FileExists, Probe, Probes, Unit
from streamsd.engine.desired import start_levels
from streamsd.testing import Scenario

FIRST, SECOND, THIRD = (f"Chain/c/{role}" for role in ("first", "second", "third"))


class ChainSpec(Spec):
    speed: str = "slow"
    """In every command line but those of the followers."""


class Chain(Kind[ChainSpec]):
    """third follows second, which follows first; `late` comes after third; declared in no helpful order."""

    name = "Chain"
    section = "chains"
    summary = "Processes in a row."
    spec = ChainSpec

    def compile(self, resource: Resource[ChainSpec], context: Any) -> Compiled:
        def unit(role: str, *argv: str, **more: Any) -> Unit:
            return Unit(UnitId(resource.address, role), ("/bin/chain", *argv), **more)

        slow = Probes(startup=Probe(FileExists(Path("/fake")), interval=0.1))
        units = (
            unit("late", after=("third",)),
            unit("third", follows=("second",)),
            unit("second", follows=("first",), probes=slow),
            unit("first", resource.spec.speed),
        )
        return Compiled(units=units, required=frozenset(["first", "second"]))


@pytest.fixture
async def s(tmp_path: Path) -> AsyncIterator[Scenario]:
    async with Scenario(tmp_path, kinds=lambda runtime: [Chain()]) as scenario:
        await scenario.apply({"chains": {"c": {}}}, 1)
        assert scenario.converged
        yield scenario


def order(s: Scenario, verb: str) -> list[str]:
    return [call.split("/")[-1] for call in s.runtime.mutations() if call.startswith(verb)]


async def test_they_start_one_after_the_other_and_end_in_reverse(s: Scenario) -> None:
    assert order(s, "start") == ["first", "second", "third", "late"]
    await s.apply({}, 1)
    assert order(s, "stop") == ["late", "third", "second", "first"]


async def test_a_whole_chain_follows_its_first_in_one_wave(s: Scenario) -> None:
    s.runtime.forget_calls()
    await s.apply({"chains": {"c": {"speed": "fast"}}}, 1)
    assert order(s, "stop") == ["third", "second", "first"], "late only comes after, it does not follow"
    assert order(s, "start") == ["first", "second", "third"]
    assert s.converged
    s.runtime.forget_calls()
    await s.advance(60)
    assert s.runtime.mutations() == []


async def test_the_middle_takes_only_what_follows_it(s: Scenario) -> None:
    s.runtime.forget_calls()
    s.runtime.kill(SECOND, code=1)
    await s.advance(5)
    assert order(s, "start") == ["second", "third"]


async def test_what_comes_after_waits_with_what_waits(s: Scenario) -> None:
    s.runtime.ends_at_start[UnitId.parse(FIRST)] = 1
    s.runtime.kill(FIRST, code=1)
    await s.advance(40)
    s.runtime.kill("Chain/c/late", code=1)
    s.runtime.kill(THIRD, code=1)
    await s.advance(5)
    assert s.runtime.running().keys() == {SECOND, "Chain/c/late", THIRD}, "they do not stand on the first"
    s.runtime.refuse(SECOND, FileExists)
    s.runtime.kill(SECOND, code=1)
    s.runtime.kill(THIRD, code=1)
    s.runtime.ends_at_start.clear()
    await s.advance(40)
    assert s.told("process-failed")[-1]["reason"] == "StartTimeout"
    s.runtime.allow(SECOND, FileExists)
    await s.advance(60)
    assert s.converged


@pytest.mark.parametrize("seed", range(5))
def test_levels_hold_whatever_is_asked_for(seed: int) -> None:
    chance = random.Random(seed)
    address = Address("Chain", "c")
    roles = [f"r{n}" for n in range(8)]
    units = []
    for index, role in enumerate(roles):
        before = tuple(chance.sample(roles[:index], min(index, 2)))
        units.append(Unit(UnitId(address, role), ("/bin/x",), after=before))
    chance.shuffle(units)
    some = set(chance.sample(roles, 5)) | {"unknown"}
    levels = start_levels(Compiled(units=tuple(units)), some)
    assert sorted(role for level in levels for role in level) == sorted(some - {"unknown"})
    done: set[str] = set()
    for level in levels:
        for unit in units:
            if unit.id.role in level:
                assert set(unit.after) & some <= done
        done |= set(level)


def test_a_circle_within_a_kind_hangs_nothing() -> None:
    address = Address("Chain", "c")
    units = tuple(Unit(UnitId(address, a), ("/bin/x",), after=(b,)) for a, b in (("a", "b"), ("b", "a")))
    assert start_levels(Compiled(units=units), {"a", "b"}) == [["a", "b"]]
