"""The reconciler over a fake runtime: what it does, and above all what it does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streamsd.core.address import Address, UnitId
from streamsd.core.unit import FileExists, Limits, Reports, RestartMode, UnixSocket
from streamsd.testing import Scenario, things


@pytest.fixture
async def s(tmp_path: Path) -> AsyncIterator[Scenario]:
    async with Scenario(tmp_path) as scenario:
        yield scenario


A, B, C = (UnitId.parse(f"Thing/{name}/main") for name in "abc")


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
