"""Plans as printed: one file a case. `STREAMSD_WRITE_GOLDEN=1` writes them anew, for a person to read what differs."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from streamsd.core.address import Address
from streamsd.core.unit import Limits, Reports
from streamsd.engine import planner
from streamsd.engine.plan import Plan
from streamsd.testing import Scenario, plan_text, things

HERE = Path(__file__).parent
Profile: TypeAlias = dict[str, dict[str, Any]]

# desk <- wall (uses desk) <- show (uses wall, near clock); clock stands alone
BASE = things(
    desk={"level": 1, "helpers": ["cookie"]},
    clock={},
    wall={"uses": ["desk"], "extras": ["web", "disk"], "port": 80},
    show={"uses": ["wall"], "near": ["clock"]},
)


def changed(**edits: dict[str, Any] | None) -> Profile:
    """BASE with fields edited; None removes a thing."""
    named = {name: {**spec, **(edits.get(name) or {})} for name, spec in BASE["things"].items() if name not in edits}
    named |= {name: {**BASE["things"].get(name, {}), **spec} for name, spec in edits.items() if spec is not None}
    return things(**named)


async def nothing(s: Scenario) -> None:
    return


async def disturbed(s: Scenario) -> None:
    """Limits altered, a live part moved, a process vanished: what only looking shows."""
    s.runtime.alter("Thing/clock/main", Limits(memory_bytes=64 << 20, cpu_percent=50))
    s.thing.levels[s.runtime.process("Thing/desk/main").pid] = 9
    s.runtime.remove("Thing/wall/web")
    await s.reconciler.survey.look_closely(s.reconciler.world.generation.resources.values())


Edit: TypeAlias = tuple[Profile, Callable[[Scenario], Awaitable[None]]]
EDITS: dict[str, Edit] = {
    "nothing": (BASE, nothing),
    "note": (changed(desk={"note": "for people"}), nothing),
    "patch-live": (changed(desk={"level": 2}), nothing),
    "patch-limits": (changed(desk={"memory": 512 << 20}), nothing),
    "restart-a-leaf": (changed(show={"size": "big"}), nothing),
    "restart-a-root": (changed(desk={"size": "big"}), nothing),
    "restart-and-patch": (changed(desk={"size": "big", "level": 2}, clock={"memory": 1 << 30}), nothing),
    "restart-what-may-be-missing": (changed(wall={"extra_size": "big"}), nothing),
    "replace": (changed(desk={"identity": "two"}), nothing),
    "add-a-thing": (changed(new={"uses": ["desk"]}), nothing),
    "add-a-role": (changed(wall={"extras": ["web", "disk", "rtmp"]}), nothing),
    "remove-a-role": (changed(wall={"extras": ["web"]}), nothing),
    "remove-a-leaf": (changed(show=None), nothing),
    "remove-everything": (things(), nothing),
    "rename-with-its-port": (changed(wall=None, show={"uses": ["hall"]}, hall={"uses": ["desk"], "port": 80}), nothing),
    "turn-a-reference-round": (
        changed(desk={"uses": ["wall"], "size": "big"}, wall={"uses": [], "size": "big"}),
        nothing,
    ),
    "drift": (BASE, disturbed),
}


@pytest.mark.parametrize("name", EDITS)
async def test_an_edit(name: str, tmp_path: Path) -> None:
    profile, happens = EDITS[name]
    async with Scenario(tmp_path) as s:
        await s.apply(BASE, 1)
        assert s.converged
        s.runtime.forget_calls()
        await happens(s)
        compare(name, s.preview(profile))
        assert s.runtime.mutations() == [], "a preview touches nothing"


async def test_a_first_apply(tmp_path: Path) -> None:
    async with Scenario(tmp_path) as s:
        compare("first", s.preview(BASE))


async def test_a_failed_leader_is_ended_alone_and_started_by_its_own_rules(tmp_path: Path) -> None:
    async with Scenario(tmp_path) as s:
        await s.apply(BASE, 1)
        s.reconciler.world.condemned[s.runtime.process("Thing/desk/main").id] = "does not live: stands still"
        compare("condemned", planned(s))


async def test_what_waits_for_its_next_try_holds_back_what_stands_on_it(tmp_path: Path) -> None:
    async with Scenario(tmp_path) as s:
        await s.apply(BASE, 1)
        for _ in range(4):
            s.runtime.ends_at_start[s.runtime.process("Thing/desk/main").id] = 1
        s.runtime.kill("Thing/desk/main")
        await s.advance(60)
        s.runtime.kill("Thing/wall/main")
        compare("waiting", planned(s, generation=changed(wall={"size": "big"}, show={"size": "big"})))


async def test_a_restart_that_was_asked_for(tmp_path: Path) -> None:
    async with Scenario(tmp_path) as s:
        await s.apply(BASE, 1)
        compare("forced", planned(s, forced={Address("Thing", "wall"): frozenset(["main", "web"])}))


async def test_held_resources_are_ended_dependents_first(tmp_path: Path) -> None:
    async with Scenario(tmp_path) as s:
        await s.apply(BASE, 1)
        s.reconciler.world.held |= {Address("Thing", name) for name in ("desk", "wall", "show")}
        compare("held", planned(s))


async def test_a_scope_leaves_everything_else_alone(tmp_path: Path) -> None:
    async with Scenario(tmp_path) as s:
        await s.apply(BASE, 1)
        scope = {Address("Thing", "show")}
        compare("scope", planned(s, generation=changed(show={"size": "big"}, clock={"size": "big"}), scope=scope))


async def test_the_runtime_has_what_nobody_declared(tmp_path: Path) -> None:
    async with Scenario(tmp_path) as first:
        await first.apply(BASE, 1)
        first.runtime.refuse("Thing/show/main", Reports)
    async with first.anew() as s:
        compare("undeclared", s.preview(changed(show=None, clock=None)))


def planned(s: Scenario, generation: Profile | None = None, **more: Any) -> Plan:
    """A plan of what is, for the accepted generation or another."""
    world = s.reconciler.world
    wanted = s.generation(generation) if generation else world.generation
    return planner.plan(wanted, world.views(), world.generation, **more)


def compare(name: str, plan: Plan) -> None:
    path = HERE / f"{name}.txt"
    text = plan_text(plan)
    if os.environ.get("STREAMSD_WRITE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text(), f"{path.name}: see the module's docstring"


def test_every_file_is_a_case() -> None:
    cases = {*EDITS, "first", "condemned", "waiting", "forced", "held", "scope", "undeclared"}
    assert {path.stem for path in HERE.glob("*.txt")} == cases
