"""What others test with has to be right itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from streamsd.core.address import Address, UnitId
from streamsd.core.runtime import Exited, ProcessState, RuntimeFault, RuntimeLost
from streamsd.core.unit import FileExists, ProcessAlive, Unit
from streamsd.testing import FakeClock, FakeRuntime, Scenario, settle, things

A = UnitId(Address("Thing", "a"), "main")
UNIT = Unit(A, ("/bin/true",))


async def test_sleepers_wake_in_the_order_of_their_moments_at_their_moments() -> None:
    clock = FakeClock()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, *seconds: float) -> None:
        for each in seconds:
            await clock.sleep(each)
            woken.append((name, clock.monotonic() - 1000.0))

    tasks = [asyncio.ensure_future(sleeper(*each)) for each in (("long", 5.0), ("short", 2.0, 1.0), ("now", 0.0))]
    await settle()
    assert woken == [("now", 0.0)]
    await clock.advance(3.0)
    assert woken[1:] == [("short", 2.0), ("short", 3.0)]
    tasks[0].cancel()
    await clock.advance(10.0)
    assert len(woken) == 3
    assert clock.sleeping() == 0
    assert clock.now().isoformat() == "2026-01-01T00:00:13+00:00"
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_spins_is_found_out() -> None:
    async def spins() -> None:
        while True:
            await asyncio.sleep(0)

    task = asyncio.ensure_future(spins())
    with pytest.raises(AssertionError, match="hot loop"):
        await settle()
    task.cancel()


async def test_the_runtime_keeps_the_protocols_promises() -> None:
    clock = FakeClock()
    runtime = FakeRuntime(clock)
    with pytest.raises(RuntimeFault):
        await runtime.observe()
    await runtime.connect()
    process = await runtime.start(UNIT, "hash")
    assert (process.state, process.spec_hash, process.started) == (ProcessState.RUNNING, "hash", clock.monotonic())
    with pytest.raises(RuntimeFault, match="runs already"):
        await runtime.start(UNIT, "hash")
    runtime.kill(A, code=3)
    event = await runtime.next_event()
    assert isinstance(event, Exited)
    assert event.unit.exit_code == 3
    assert (await runtime.observe())[A].state is ProcessState.EXITED
    assert (await runtime.start(UNIT, "hash")).pid != process.pid
    await runtime.stop(A)
    await runtime.stop(A)
    assert await runtime.observe() == {}
    runtime.lose()
    assert isinstance(await runtime.next_event(), Exited), "of the stop"
    assert isinstance(await runtime.next_event(), RuntimeLost)
    assert runtime.mutations() == ["start Thing/a/main"] * 3 + ["stop Thing/a/main"] * 2


async def test_probes_answer_by_the_clock_and_as_told() -> None:
    clock = FakeClock()
    runtime = FakeRuntime(clock)
    await runtime.connect()
    pid = (await runtime.start(UNIT, "hash")).pid
    alive = runtime.asker(ProcessAlive(2.0), env={})
    assert not (await alive.ask(pid, 1.0)).ok
    await clock.advance(2.0)
    assert (await alive.ask(pid, 1.0)).ok
    there = runtime.asker(FileExists(Path("/x")), env={})
    runtime.refuse(A, FileExists, "no file")
    assert (await there.ask(pid, 1.0)).message == "no file"
    runtime.allow(A, FileExists)
    assert (await there.ask(pid, 1.0)).ok
    runtime.kill(A)
    assert not (await alive.ask(pid, 1.0)).ok


async def test_a_scenario_says_when_the_engine_has_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor may the engine itself go on as if nothing were: `Reconciler.broken` is what the daemon ends by."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    async def breaks() -> None:
        async with Scenario(tmp_path) as s:
            monkeypatch.setattr("streamsd.engine.planner.plan", broken)
            await s.apply(things(a={}))

    with pytest.raises(ZeroDivisionError):
        await breaks()


def test_a_bad_profile_is_no_generation(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no-good"):
        Scenario(tmp_path).generation(things(a={"bad": "no-good"}))
