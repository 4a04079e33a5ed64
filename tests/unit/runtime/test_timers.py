"""Timers: what is due is called, once, and nothing else."""

from __future__ import annotations

from streamsd.runtime.supervisord.timers import Timers


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_calls_are_made_in_order_of_time() -> None:
    clock, called = Clock(), list[str]()
    timers = Timers(failed=lambda: None, clock=clock)
    timers.call(2.0, lambda: called.append("late"))
    timers.call(1.0, lambda: called.append("early"))
    never = timers.call(1.0, lambda: called.append("never"))
    never.cancel()
    assert timers.remaining(10.0) == 1.0
    assert timers.remaining(0.5) == 0.5
    timers.run_due()
    assert called == []
    clock.now += 5
    assert timers.remaining(10.0) == 0.0
    timers.run_due()
    timers.run_due()
    assert called == ["early", "late"]
    assert timers.remaining(10.0) == 10.0


def test_a_call_made_by_a_call_waits_for_the_next_round() -> None:
    called = list[int]()
    timers = Timers(failed=lambda: None, clock=Clock())

    def again() -> None:
        called.append(1)
        timers.call(0.0, again)

    timers.call(0.0, again)
    timers.run_due()
    assert len(called) == 1
    timers.run_due()
    assert len(called) == 2


def test_one_that_fails_is_reported_and_the_others_go_on() -> None:
    failed, called = list[str](), list[str]()
    timers = Timers(failed=lambda: failed.append("reported"), clock=Clock())
    timers.call(0.0, lambda: called.extend(7))  # type: ignore[arg-type]  # the fault under test
    timers.call(0.0, lambda: called.append("other"))
    timers.run_due()
    assert (failed, called) == (["reported"], ["other"])
