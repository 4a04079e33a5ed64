"""What is changed in place and measured: limits, live parts, what processes tell of."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from streamsd.core.address import UnitId
from streamsd.core.kind import Happening
from streamsd.core.unit import Limits
from streamsd.testing import Scenario, things

A = UnitId.parse("Thing/a/main")


async def test_altered_limits_and_live_parts_are_set_again_in_place(s: Scenario) -> None:
    await s.apply(things(a={"memory": 1 << 30, "level": 5}), 1)
    assert s.thing.levels == {100: 5}
    s.runtime.forget_calls()
    s.runtime.alter(A, Limits(memory_bytes=1))
    await s.advance(31)
    assert s.runtime.mutations() == ["limit Thing/a/main"]
    s.thing.levels[100] = 1
    await s.advance(4)
    assert s.runtime.mutations() == ["limit Thing/a/main", "patch Thing/a level"]
    assert [a["cause"] for a in s.told("action")][-1] == "level is 1, not 5 (drift)"
    assert s.runtime.running() == {"Thing/a/main": 100}
    assert s.converged


async def test_a_change_that_is_refused_is_tried_again_ever_more_rarely(s: Scenario) -> None:
    await s.apply(things(a={"level": 1}), 1)
    s.thing.refuses = "no such mode"
    s.runtime.forget_calls()
    await s.apply(things(a={"level": 2}), 300)
    assert 5 < len(s.runtime.mutations()) < 40
    assert s.condition("Thing/a", "Ready").message == "no such mode"
    assert s.failed() == ["Thing/a"]
    s.thing.refuses = ""
    await s.apply(things(a={"level": 3}), 1)
    assert s.thing.levels == {100: 3}, "a new profile is tried at once"
    assert s.converged


@pytest.mark.parametrize("what", ["limits", "parts"])
async def test_a_change_that_does_not_hold_makes_no_hot_loop(s: Scenario, what: str) -> None:
    await s.apply(things(a={"level": 1}), 1)
    s.runtime.limits_stick = s.thing.takes = False
    s.runtime.forget_calls()
    await s.apply(things(a={"level": 1, "memory": 1} if what == "limits" else {"level": 2}), 100)
    assert 2 < len(s.runtime.mutations()) < 30
    assert s.failed() == ["Thing/a"]


async def test_a_new_process_gets_its_live_parts(s: Scenario) -> None:
    await s.apply(things(a={"level": 4}), 1)
    s.runtime.kill(A)
    await s.advance(1)
    assert s.thing.levels[s.runtime.process(A).pid] == 4


async def test_what_a_process_tells_of_is_told_once(s: Scenario) -> None:
    def happened(*numbers: int) -> tuple[Happening, ...]:
        at = datetime(2026, 1, 1, tzinfo=UTC)
        return tuple(Happening(n, at, "thing-moved", "main", {"by": n}) for n in numbers)

    def told() -> list[object]:
        return [e.fields["by"] for e in s.events if e.event == "thing-moved"]

    s.thing.happened["a"] = happened(5, 7)
    await s.apply(things(a={"level": 1}), 10)
    assert told() == [5, 7]
    s.thing.happened["a"] = happened(7, 8, 9)
    await s.advance(10)
    assert told() == [5, 7, 8, 9]
    event = next(e for e in s.events if e.event == "thing-moved")
    assert (event.address, event.at.year, event.fields["role"]) == ("Thing/a", 2026, "main")


async def test_a_fault_inside_a_kind_is_its_resources_alone(s: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    await s.apply(things(a={"level": 1}, b={"level": 1}), 1)

    async def breaks(*_: object) -> None:
        raise KeyError("a secret")

    monkeypatch.setattr(s.thing, "patch", breaks)
    await s.apply(things(a={"level": 2}, b={"level": 1}), 1)
    assert s.condition("Thing/a", "Ready").message.startswith("level: KeyError at test_drift.py:")
    assert "secret" not in str([event.line() for event in s.events])
    assert s.condition("Thing/b", "Ready").status
