"""The planner, held to what must be true of every plan in every world."""

from __future__ import annotations

import itertools
import random
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamsd.core.address import Address, UnitId
from streamsd.core.kind import Registry, Resource
from streamsd.core.runtime import ObservedUnit, ProcessState
from streamsd.core.settings import Settings
from streamsd.core.unit import Limits
from streamsd.engine.compiler import Compiler
from streamsd.engine.context import HostContext
from streamsd.engine.desired import Generation, start_levels
from streamsd.engine.plan import Patch, Plan, Start, Stop
from streamsd.engine.planner import plan
from streamsd.engine.view import ResourceView, UnitView
from streamsd.testing import FakeClock, FakeRuntime, ThingKind, ThingSpec, plan_text

quick = settings(
    max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)
NAMES = ("a", "b", "c", "d", "e")
Profile = dict[str, dict[str, Any]]


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    """Up to five things; each refers only to ones before it in a drawn order, so that two profiles may turn a reference
    round."""
    order = draw(st.permutations(NAMES))[: draw(st.integers(0, len(NAMES)))]
    profile: Profile = {}
    for index, name in enumerate(order):
        before = order[:index]
        some = st.lists(st.sampled_from(before), max_size=2, unique=True) if before else st.just([])
        roles = st.lists(st.sampled_from(["p", "q"]), max_size=2, unique=True)
        helpers = draw(roles)
        profile[name] = {
            "size": draw(st.sampled_from(["small", "big"])),
            "identity": draw(st.sampled_from(["one", "two"])),
            "level": draw(st.sampled_from([None, 1, 2])),
            "memory": draw(st.sampled_from([None, 1 << 20, 1 << 30])),
            "uses": draw(some),
            "near": draw(some),
            "helpers": helpers,
            "extras": [role for role in draw(roles) if role not in helpers],
            "port": draw(st.sampled_from([None, None, NAMES.index(name), 9])),
        }
    taken: set[int] = set()
    for spec in profile.values():
        if spec["port"] in taken:
            spec["port"] = None
        elif spec["port"] is not None:
            taken.add(spec["port"])
    return profile


def compiled(profile: Profile, order: list[str] | None = None) -> Generation:
    registry = Registry([ThingKind(FakeRuntime(FakeClock()))])
    nowhere = Path(tempfile.gettempdir()) / "streamsd-nothing-is-written-here"
    context = HostContext(Settings(nowhere, nowhere, nowhere, nowhere), {})
    resources = {}
    for name in order or list(profile):
        address = Address("Thing", name)
        resources[address] = Resource(address, ThingSpec.model_validate(profile[name]))
    found, problems = Compiler(registry, context, b"key").compile(resources, frozenset())
    assert not problems
    return Generation(1, "", found)


@dataclass
class Simulated:
    """A world that does what a plan says."""

    moments: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    units: dict[UnitId, UnitView] = field(default_factory=dict)
    levels: dict[Address, int] = field(default_factory=dict)

    def views(self) -> dict[Address, ResourceView]:
        found: dict[Address, dict[str, UnitView]] = {}
        for unit, view in self.units.items():
            found.setdefault(unit.address, {})[unit.role] = view
        return {
            address: ResourceView(roles, {"level": self.levels[address]} if self.runs(address, "main") else {})
            for address, roles in found.items()
        }

    def runs(self, address: Address, role: str) -> bool:
        return self.units.get(UnitId(address, role), UnitView()).running

    def apply(self, todo: Plan, generation: Generation, chance: random.Random) -> None:
        """Carry out all steps, in one of the orders that the plan allows."""
        left = dict(enumerate(todo.steps))
        while left:
            ready = [i for i in left if not any(before in left for before in todo.after.get(i, ()))]
            assert ready, f"steps wait for each other:\n{plan_text(todo)}"
            self.do(left.pop(chance.choice(ready)), generation)

    def do(self, step: Stop | Start | Patch, generation: Generation) -> None:
        match step:
            case Stop(address, roles, _, levels):
                assert sorted(role for level in levels for role in level) == sorted(roles)
                self.may_stop(address, roles, generation)
                for role in roles:
                    del self.units[UnitId(address, role)]
            case Start(address, roles):
                self.may_start(address, generation)
                desired = generation.resources[address]
                for role in itertools.chain.from_iterable(start_levels(desired.compiled, roles)):
                    unit = desired.compiled.unit(role)
                    assert not self.runs(address, role)
                    assert all(self.runs(address, before) for before in unit.after)
                    moment, spec_hash = next(self.moments), desired.hashes[role]
                    observed = ObservedUnit(
                        unit.id, ProcessState.RUNNING, moment, moment, spec_hash, limits=unit.limits
                    )
                    self.units[unit.id] = UnitView(observed, ready=True)
                    if role == "main":
                        self.levels[address] = 0
                self.set_level(address, generation)
            case Patch(address, parts, limits):
                for role in limits:
                    view = self.units[UnitId(address, role)]
                    assert view.observed
                    now = replace(view.observed, limits=generation.resources[address].compiled.unit(role).limits)
                    self.units[UnitId(address, role)] = replace(view, observed=now)
                if parts:
                    self.set_level(address, generation)

    def set_level(self, address: Address, generation: Generation) -> None:
        part = generation.resources[address].compiled.live.get("level")
        if part is not None and self.runs(address, "main"):
            assert isinstance(part.desired, int)
            self.levels[address] = part.desired

    def may_start(self, address: Address, generation: Generation) -> None:
        """What it depends on runs, and nobody else has what it claims."""
        for target in generation.resources[address].dependencies:
            for role in generation.resources[target].required:
                assert self.runs(target, role), f"{address} starts before {target}"

    def may_stop(self, address: Address, roles: frozenset[str], generation: Generation) -> None:
        """No process is taken away under one that follows it and is going to be restarted for that."""
        stopping = [self.units[UnitId(address, role)] for role in roles if self.runs(address, role)]
        for follower, desired in generation.resources.items():
            if address in desired.follows and stopping and roles & generation_required(generation, address):
                assert not self.runs(follower, "main"), f"{address} stops under {follower}"

    def disturb(self, chance: random.Random) -> None:
        """What happens to processes, and what somebody does to them."""
        for unit, view in list(self.units.items()):
            assert view.observed
            match chance.choice(["", "", "exit", "wait", "vanish", "limits", "level"]):
                case "exit" | "wait" as what:
                    ended = replace(view.observed, state=ProcessState.EXITED, exit_code=1)
                    self.units[unit] = UnitView(ended, due=what == "exit", last="exited with 1")
                case "vanish":
                    del self.units[unit]
                case "limits":
                    self.units[unit] = replace(view, observed=replace(view.observed, limits=Limits(memory_bytes=3)))
                case "level":
                    self.levels[unit.address] = 7


def generation_required(generation: Generation, address: Address) -> frozenset[str]:
    desired = generation.resources.get(address)
    return desired.required if desired else frozenset()


def world_of(generation: Generation, chance: random.Random) -> Simulated:
    world = Simulated()
    world.apply(plan(generation, {}, Generation()), generation, chance)
    return world


@quick
@given(profiles(), profiles(), st.integers(0, 1 << 30), st.booleans())
def test_applying_a_plan_makes_the_next_one_empty(old: Profile, new: Profile, seed: int, calm: bool) -> None:
    chance = random.Random(seed)
    before, after = compiled(old), compiled(new)
    world = world_of(before, chance)
    if not calm:
        world.disturb(chance)
    todo = plan(after, world.views(), before)
    world.apply(todo, after, chance)
    assert plan_text(plan(after, world.views(), after)) == ""
    declared = {unit.id for desired in after.resources.values() for unit in desired.compiled.units}
    assert set(world.units) <= declared
    if calm:
        assert set(world.units) == declared
        assert all(v.observed and v.observed.spec_hash == _hash(after, unit) for unit, v in world.units.items())


@quick
@given(profiles(), st.integers(0, 1 << 30))
def test_nothing_starts_on_what_does_not_run(profile: Profile, seed: int) -> None:
    """Simulated.may_start says so for every step; here the world is as bad as it gets."""
    chance = random.Random(seed)
    generation = compiled(profile)
    world = world_of(generation, chance)
    for _ in range(4):
        world.disturb(chance)
        world.apply(plan(generation, world.views(), generation), generation, chance)
        assert plan_text(plan(generation, world.views(), generation)) == ""


def _hash(generation: Generation, unit: UnitId) -> str:
    return generation.resources[unit.address].hashes[unit.role]


@quick
@given(profiles(), profiles(), st.integers(0, 1 << 30))
def test_the_order_of_the_file_does_not_matter(old: Profile, new: Profile, seed: int) -> None:
    chance = random.Random(seed)
    before = compiled(old)
    views = world_of(before, chance).views()
    other = chance.sample(list(new), len(new))
    shuffled = dict(chance.sample(list(views.items()), len(views)))
    assert plan_text(plan(compiled(new, other), shuffled, before)) == plan_text(plan(compiled(new), views, before))


@quick
@given(profiles(), profiles(), st.integers(0, 1 << 30))
def test_every_action_says_why_and_every_step_belongs_to_one(old: Profile, new: Profile, seed: int) -> None:
    chance = random.Random(seed)
    before, after = compiled(old), compiled(new)
    world = world_of(before, chance)
    world.disturb(chance)
    todo = plan(after, world.views(), before)
    assert {step.address for step in todo.steps} == {action.address for action in todo.actions}
    assert len({action.address for action in todo.actions}) == len(todo.actions)
    for action in todo.actions:
        assert action.cause
        assert set(action.interrupts) <= set(after.resources) | set(before.resources)


EDITS: tuple[Mapping[str, Any], ...] = (
    {"note": "new"},
    {"level": 9},
    {"memory": 9},
    {"size": "huge"},
    {"identity": "three"},
    {"extra_size": "huge"},
)


@quick
@given(profiles(), st.sampled_from(NAMES), st.sampled_from(EDITS), st.integers(0, 1 << 30))
def test_an_edit_touches_only_what_depends_on_it(old: Profile, name: str, edit: Mapping[str, Any], seed: int) -> None:
    if name not in old:
        return
    chance = random.Random(seed)
    before = compiled(old)
    world = world_of(before, chance)
    after = compiled({**old, name: {**old[name], **edit}})
    pids = {unit: view.observed.pid for unit, view in world.units.items() if view.observed}
    todo = plan(after, world.views(), before)
    world.apply(todo, after, chance)
    moved = {u.address.name for u, v in world.units.items() if v.observed and v.observed.pid != pids[u]}
    touched = {action.address.name for action in todo.actions}
    edited = next(iter(edit))
    match edited:
        case "note":
            assert not todo.actions
        case "level" | "memory":
            assert touched == {name}
            assert not moved, "changed in place"
        case "extra_size":
            assert touched <= {name}
            assert moved <= {name}
            assert UnitId(Address("Thing", name), "main") not in {
                u for u, v in world.units.items() if v.observed and v.observed.pid != pids[u]
            }
        case "size" | "identity":
            # an identity is in the command line of whoever refers to it; a restart is felt by those who follow
            assert name in moved
            assert moved == touched
            assert moved <= _reach(old, name)
            direct = {
                n for n, spec in old.items() if name in spec["uses"] or (edited == "identity" and name in spec["near"])
            }
            assert direct <= moved


def _reach(profile: Profile, name: str) -> set[str]:
    found, waiting = {name}, [name]
    while waiting:
        target = waiting.pop()
        for other, spec in profile.items():
            if other not in found and target in (*spec["uses"], *spec["near"]):
                found.add(other)
                waiting.append(other)
    return found
