"""What ends by itself, and what its probes say: restarts, backoff, readiness, liveness."""

from __future__ import annotations

from streamsd.core.address import Address, UnitId
from streamsd.core.unit import FileExists, Reports, RestartMode, UnixSocket
from streamsd.testing import Scenario, things

A, B = (UnitId.parse(f"Thing/{name}/main") for name in "ab")


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
