"""The reconciler in a world where anything happens at any moment: once it calms down, all is as declared."""

from __future__ import annotations

import asyncio
import random
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from streamsd.core.address import Address, UnitId
from streamsd.core.runtime import ProcessState
from streamsd.core.unit import FileExists, Limits, Reports, UnixSocket
from streamsd.testing import Scenario, things

NAMES = ("a", "b", "c", "d")
MOVES = (
    "apply",
    "apply",
    "kill",
    "kill",
    "kill silently",
    "remove",
    "lose",
    "refuse",
    "allow",
    "fail",
    "fail stop",
    "slow",
    "drift",
    "force",
    "hold",
    "patch refused",
)


class Weather:
    """One random thing after another."""

    def __init__(self, s: Scenario, chance: random.Random) -> None:
        self.s = s
        self.chance = chance
        self.profile: dict[str, dict[str, Any]] = things()
        self.refused: set[tuple[UnitId, type]] = set()

    def any_profile(self) -> dict[str, dict[str, Any]]:
        pick = self.chance.choice
        order = self.chance.sample(NAMES, self.chance.randint(1, len(NAMES)))
        named = {}
        for index, name in enumerate(order):
            before = order[:index]
            named[name] = {
                "size": pick(["small", "big"]),
                "identity": pick(["one", "one", "two"]),
                "level": pick([None, 1, 2]),
                "memory": pick([None, 1 << 20]),
                "uses": self.chance.sample(before, min(len(before), pick([0, 1, 1]))),
                "near": self.chance.sample(before, min(len(before), pick([0, 0, 1]))),
                "helpers": pick([[], [], ["h"], ["h", "i"]]),
                "extras": pick([[], [], ["x"]]),
                "probed": pick([False, True]),
                "within": 5.0,
            }
        return things(**named)

    def unit(self) -> UnitId:
        roles = ("main", "main", "main", "h", "x")
        return UnitId(Address("Thing", self.chance.choice(NAMES)), self.chance.choice(roles))

    def runs(self, unit: UnitId) -> bool:
        try:
            return self.s.runtime.process(unit).state is not ProcessState.EXITED
        except KeyError:
            return False

    def move(self) -> None:
        runtime, reconciler, unit = self.s.runtime, self.s.reconciler, self.unit()
        match self.chance.choice(MOVES):
            case "apply":
                self.profile = self.any_profile()
                self.s.accept(self.profile)
            case "kill" if self.runs(unit):
                runtime.kill(unit, self.chance.choice([-9, 0, 1]))
            case "kill silently" if self.runs(unit):
                runtime.kill(unit, told=False)
            case "remove" if self.runs(unit):
                runtime.remove(unit)
            case "lose":
                runtime.lose(unreachable=self.chance.randint(0, 2))
            case "refuse":
                check = self.chance.choice([FileExists, UnixSocket, Reports])
                runtime.refuse(unit, check)
                self.refused.add((unit, check))
            case "allow":
                self.allow_all()
            case "fail":
                runtime.fail(unit, times=self.chance.randint(1, 3))
            case "fail stop":
                runtime.fail_stop(unit)
            case "slow":
                runtime.start_takes[unit] = runtime.stop_takes[unit] = self.chance.choice([0.0, 0.1, 3.0])
            case "drift" if self.runs(unit):
                runtime.alter(unit, Limits(memory_bytes=7))
                self.s.thing.levels[runtime.process(unit).pid] = 9
            case "force" if unit.address in reconciler.world.generation.resources:
                reconciler.force(unit.address, frozenset([unit.role]))
            case "hold" if unit.address in reconciler.world.generation.resources:
                reconciler.hold([unit.address])
            case "patch refused":
                self.s.thing.refuses = self.chance.choice(["", "no"])
            case _:
                pass

    def allow_all(self) -> None:
        for unit, check in self.refused:
            self.s.runtime.allow(unit, check)
        self.refused.clear()

    def calm_down(self) -> None:
        self.allow_all()
        self.s.thing.refuses = ""
        self.s.runtime.start_takes.clear()
        self.s.runtime.stop_takes.clear()
        self.s.runtime.unreachable = 0
        self.s.runtime.work_again()


async def storm(seed: int, directory: Path) -> None:
    chance = random.Random(seed)
    async with Scenario(directory, seed=seed) as s:
        weather = Weather(s, chance)
        for _ in range(chance.randint(3, 25)):
            weather.move()
            await s.advance(chance.choice([0.0, 0.0, 0.05, 0.5, 2.0, 20.0]))
        weather.calm_down()
        await s.apply(weather.profile, 240)
        as_declared(s, seed)
        before = s.runtime.running()
        s.runtime.forget_calls()
        await s.apply(weather.profile, 120)
        assert s.runtime.mutations() == [], f"seed {seed}: nothing is left to do"
        assert s.runtime.running() == before
        as_declared(s, seed)


def as_declared(s: Scenario, seed: int) -> None:
    resources = s.reconciler.world.generation.resources
    state = {
        str(a): {c.type: (c.status, c.reason, c.message) for c in found.all()}
        for a, found in s.reconciler.conditions.items()
    }
    declared = {str(unit.id): unit for desired in resources.values() for unit in desired.compiled.units}
    assert s.runtime.running().keys() == declared.keys(), f"seed {seed}: {state}"
    for unit in declared.values():
        process = s.runtime.process(unit.id)
        desired = resources[unit.id.address]
        assert process.spec_hash == desired.hashes[unit.id.role]
        assert process.limits.memory_bytes == unit.limits.memory_bytes
        level = desired.compiled.live.get("level")
        if level is not None and unit.id.role == "main":
            assert s.thing.levels.get(process.pid, 0) == level.desired
        for target in desired.follows:
            if unit.id.role == "main":
                assert process.started >= s.runtime.process(UnitId(target, "main")).started
    assert s.converged, f"seed {seed}: {state}"
    assert set(s.reconciler.conditions) == set(resources)
    assert {u.address for u in s.reconciler.world.lives} <= set(resources)


@settings(max_examples=15, deadline=None, derandomize=True, database=None)
@given(st.integers(0, 1 << 30))
def test_after_any_weather_all_is_as_declared(seed: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(storm(seed, Path(directory)))
