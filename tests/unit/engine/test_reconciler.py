"""The reconciler over a fake runtime: what it does, and above all what it does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streamsd.core.address import Address, UnitId
from streamsd.core.kind import Happening
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


# -- what ends by itself


async def test_a_crash_is_restarted_at_once_and_alone(s: Scenario) -> None:
    await s.apply(things(a={}, b={}, c={}), 1)
    s.runtime.forget_calls()
    s.runtime.kill(A, code=1)
    await s.settle()
    assert s.runtime.mutations() == ["stop Thing/a/main", "start Thing/a/main"]
    await s.advance(1)
    assert s.converged or s.condition("Thing/a", "Ready").status
    assert s.told("process-exited")[0] | {"at": ""} == {
        "at": "",
        "event": "process-exited",
        "address": "Thing/a",
        "role": "main",
        "pid": 100,
        "code": 1,
        "reason": "Exited",
        "retry_in": 0.0,
    }


async def test_what_follows_a_crashed_one_starts_anew_and_what_is_near_does_not(s: Scenario) -> None:
    await s.apply(things(a={}, b={"uses": ["a"]}, c={"near": ["a"]}), 1)
    before = s.runtime.running()
    s.runtime.forget_calls()
    s.runtime.kill(A)
    await s.advance(1)
    after = s.runtime.running()
    assert [unit for unit in after if after[unit] != before[unit]] == ["Thing/a/main", "Thing/b/main"]
    assert s.runtime.mutations()[-2:] == ["stop Thing/b/main", "start Thing/b/main"]
    await s.advance(60)
    assert s.runtime.running() == after


async def test_a_crash_loop_backs_off_says_so_and_is_retried(s: Scenario) -> None:
    await s.apply(things(a={}, b={}), 1)
    s.runtime.forget_calls()
    s.runtime.ends_at_start[A] = 3
    s.runtime.kill(A, code=3)
    await s.advance(600)
    starts = [call.at for call in s.runtime.calls if str(call) == "start Thing/a/main"]
    gaps = [later - earlier for earlier, later in zip(starts, starts[1:], strict=False)]
    assert gaps[0] <= 1.1
    assert all(15 <= gap <= 31 for gap in gaps[5:])
    assert len(starts) < 50
    progressing = s.condition("Thing/a", "Progressing")
    assert (progressing.status, progressing.reason) == (False, "CrashLoop")
    assert "exited with 3" in progressing.message
    assert s.failed() == ["Thing/a"]
    assert "Thing/b/main" not in str(s.runtime.mutations())
    s.runtime.ends_at_start.clear()
    await s.advance(60)
    assert s.converged
    assert s.failed() == []


async def test_the_first_restart_after_a_healthy_while_is_immediate(s: Scenario) -> None:
    await s.apply(things(a={}), 1)
    for _ in range(8):
        s.runtime.kill(A)
        await s.settle()
        assert "Thing/a/main" in s.runtime.running()
        await s.advance(31)
    assert s.converged


async def test_a_program_that_ends_before_its_start_is_answered_is_seen_to_end(s: Scenario) -> None:
    s.runtime.ends_at_start[A] = 7
    await s.apply(things(a={}))
    assert s.told("process-exited")[0]["code"] == 7
    assert s.condition("Thing/a", "Ready").reason in ("Exited", "Starting")
    s.runtime.ends_at_start.clear()
    await s.advance(10)
    assert s.converged


async def test_a_one_shot_that_ended_well_is_done_and_what_needs_it_runs(s: Scenario) -> None:
    await s.apply(things(a={"restart": RestartMode.ON_FAILURE}, b={"near": ["a"]}), 1)
    s.runtime.kill(A, code=0)
    s.runtime.kill(B, code=0)
    await s.advance(5)
    assert s.runtime.running().keys() == {"Thing/b/main"}
    assert s.converged
    s.runtime.forget_calls()
    await s.apply(things(a={"restart": RestartMode.ON_FAILURE, "size": "big"}, b={"near": ["a"]}), 1)
    assert s.runtime.mutations() == ["stop Thing/a/main", "start Thing/a/main"]


async def test_one_that_failed_and_is_not_to_be_restarted_is_not_ready(s: Scenario) -> None:
    await s.apply(things(a={"restart": RestartMode.NEVER}), 1)
    s.runtime.forget_calls()
    s.runtime.kill(A, code=1)
    await s.advance(100)
    assert s.runtime.mutations() == []
    assert s.condition("Thing/a", "Ready").message == "main exited with 1"
    assert s.failed() == ["Thing/a"]
    s.reconciler.force(Address("Thing", "a"), frozenset(["main"]))
    await s.advance(5)
    assert s.condition("Thing/a", "Ready").status


async def test_what_may_be_missing_degrades_and_no_more(s: Scenario) -> None:
    s.runtime.fail("Thing/a/x", "ProgramMissing", "there is no /bin/beside", times=99)
    await s.apply(things(a={"extras": ["x", "y"]}, b={"uses": ["a"]}), 1)
    assert s.runtime.running().keys() == {"Thing/a/main", "Thing/a/y", "Thing/b/main"}
    assert s.condition("Thing/a", "Ready").status
    assert s.condition("Thing/a", "Degraded").message == "x there is no /bin/beside"
    before = s.runtime.running()
    await s.advance(120)
    assert s.runtime.running() == before


# -- probes


async def test_a_start_that_does_not_become_ready_is_given_up_and_tried_again(s: Scenario) -> None:
    s.runtime.refuse(A, FileExists, "no file")
    await s.apply(things(a={"probed": True, "within": 5.0}, b={"near": ["a"]}), 4)
    assert s.runtime.running() == {"Thing/a/main": 100}
    await s.advance(2)
    assert s.told("process-failed")[0]["message"] == "did not start within 5 s: no file"
    await s.advance(30)
    gave_up = {"type": "Progressing", "status": False, "reason": "StartTimeout"}
    assert any(gave_up.items() <= told.items() for told in s.told("condition-changed"))
    assert "Thing/b/main" not in s.runtime.running()
    s.runtime.allow(A, FileExists)
    await s.advance(60)
    assert s.converged


async def test_readiness_flips_and_nothing_restarts(s: Scenario) -> None:
    await s.apply(things(a={"probed": True}), 1)
    s.runtime.forget_calls()
    s.runtime.refuse(A, UnixSocket, "refused")
    await s.advance(3.9)
    assert s.condition("Thing/a", "Ready").status, "two of three failures are not enough"
    await s.advance(4)
    assert s.condition("Thing/a", "Ready").message == "main: refused"
    s.runtime.allow(A, UnixSocket)
    await s.advance(2)
    assert s.condition("Thing/a", "Ready").status
    assert s.runtime.mutations() == []


async def test_what_does_not_live_is_replaced_with_backoff(s: Scenario) -> None:
    await s.apply(things(a={"probed": True}, b={"uses": ["a"]}), 1)
    s.runtime.forget_calls()
    s.runtime.refuse(A, Reports, "stands still")
    await s.advance(3)
    a_first = ["stop Thing/a/main", "start Thing/a/main"]
    assert [call for call in s.runtime.mutations() if "Thing/a" in call] == a_first
    assert s.runtime.mutations()[0] == a_first[0]
    assert s.told("process-replaced")[0]["why"] == "does not live: stands still"
    await s.advance(300)
    starts = [call for call in s.runtime.calls if str(call) == "start Thing/a/main"]
    assert 6 < len(starts) < 40, "neither given up nor hurried"
    assert s.told("condition-changed")[-1]["type"] in ("Ready", "Progressing", "Degraded")
    s.runtime.allow(A, Reports)
    await s.advance(60)
    assert s.converged


async def test_other_probes_are_asked_from_the_apply_on(s: Scenario) -> None:
    await s.apply(things(a={}), 1)
    s.runtime.forget_calls()
    s.runtime.refuse(A, UnixSocket, "refused")
    await s.apply(things(a={"probed": True}), 10)
    assert not s.condition("Thing/a", "Ready").status
    await s.apply(things(a={}), 10)
    assert s.condition("Thing/a", "Ready").status
    s.runtime.refuse(A, Reports)
    await s.advance(30)
    assert s.runtime.mutations() == []


# -- the runtime


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


# -- drift


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


# -- adoption


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


# -- a generation in the middle of another


async def test_a_newer_profile_does_not_wait_for_a_start_it_no_longer_wants(s: Scenario) -> None:
    s.runtime.refuse(A, FileExists)
    await s.apply(things(a={"probed": True, "size": "wrong"}, b={"near": ["a"]}), 2)
    await s.apply(things(a={"probed": False, "size": "right"}, b={"near": ["a"]}), 1)
    assert s.converged
    await s.advance(60)
    assert s.converged


async def test_a_resource_removed_while_it_starts_is_ended_and_what_it_stood_on_after_it(s: Scenario) -> None:
    s.runtime.refuse(B, FileExists)
    await s.apply(things(a={}, b={"probed": True, "uses": ["a"]}), 2)
    s.runtime.forget_calls()
    await s.apply(things(), 1)
    assert s.runtime.mutations() == ["stop Thing/b/main", "stop Thing/a/main"]
    assert s.converged
    assert s.runtime.running() == {}
    assert sorted(s.discarded) == ["Thing/a", "Thing/b"]
    assert not s.reconciler.conditions


async def test_a_resource_declared_again_while_it_is_ended_keeps_its_directory(s: Scenario) -> None:
    await s.apply(things(a={}), 1)
    s.runtime.stop_takes[A] = 5.0
    await s.apply(things(), 1)
    await s.apply(things(a={}), 10)
    assert s.discarded == []
    assert s.runtime.running().keys() == {"Thing/a/main"}
    assert s.converged


async def test_steps_of_an_older_profile_that_have_not_begun_are_left_out(s: Scenario) -> None:
    await s.apply(things(a={}, b={"uses": ["a"]}), 1)
    s.runtime.stop_takes[B] = 5.0
    s.runtime.forget_calls()
    await s.apply(things(a={"size": "big"}, b={"uses": ["a"]}), 1)
    assert s.runtime.mutations() == ["stop Thing/b/main"]
    await s.apply(things(a={}, b={"uses": ["a"]}), 10)
    assert s.runtime.mutations() == ["stop Thing/b/main", "start Thing/b/main"], "a never had to restart"
    assert s.converged


async def test_a_role_that_left_the_profile_before_its_turn_is_not_started(s: Scenario) -> None:
    s.runtime.start_takes[A] = 5.0
    await s.apply(things(a={"helpers": ["h"], "extras": ["x"]}), 1)
    await s.apply(things(a={"helpers": [], "extras": ["x"]}), 20)
    assert s.runtime.running().keys() == {"Thing/a/main", "Thing/a/x"}
    assert s.converged


async def test_two_applies_in_a_row_end_in_the_second(s: Scenario) -> None:
    s.accept(things(a={"size": "one"}, b={}))
    s.accept(things(a={"size": "two"}, c={}))
    await s.advance(1)
    assert s.runtime.running().keys() == {"Thing/a/main", "Thing/c/main"}
    assert s.converged
    assert s.runtime.mutations() == ["start Thing/a/main", "start Thing/c/main"]
    assert s.reconciler.observed_generation == 2


async def test_an_edit_helps_what_could_not_be_started_at_once(s: Scenario) -> None:
    s.runtime.fail(A, "ProgramMissing", "there is no /bin/thing", times=10)
    await s.apply(things(a={}), 60)
    assert s.condition("Thing/a", "Progressing").reason == "ProgramMissing"
    s.runtime._start_faults.clear()
    await s.apply(things(a={"size": "big"}))
    assert s.runtime.running().keys() == {"Thing/a/main"}


# -- by hand


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
    assert s.condition("Thing/a", "Ready").message.startswith("level: KeyError at test_reconciler.py:")
    assert "secret" not in str([event.line() for event in s.events])
    assert s.condition("Thing/b", "Ready").status
