"""The life of a process, whatever happens to it in whatever order."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamsd.core.unit import RestartMode, RestartPolicy
from streamsd.engine import phase
from streamsd.engine.phase import Life, Phase

POLICIES = st.builds(
    RestartPolicy,
    mode=st.sampled_from(RestartMode),
    base=st.floats(0.01, 5),
    cap=st.floats(5, 60),
    healthy=st.floats(1, 60),
    crash_loop=st.integers(2, 8),
)
EVENTS = st.lists(
    st.tuples(st.sampled_from(["spawned", "started", "stopped", "exited", "unspawnable"]), st.floats(0, 100)),
    max_size=30,
)
quick = settings(max_examples=100, deadline=None, derandomize=True)


def step(life: Life, policy: RestartPolicy, what: str, now: float, chance: random.Random) -> Life:
    """What the executor would do in that phase; nothing where it cannot happen."""
    match what, life.phase:
        case "spawned", Phase.ABSENT | Phase.WAITING | Phase.ENDED:
            return phase.spawned(life, now)
        case "started", Phase.STARTING:
            return phase.started(life, now)
        case "stopped", _:
            return phase.stopped(life, now)
        case ("exited", Phase.STARTING | Phase.RUNNING) | ("unspawnable", Phase.ABSENT | Phase.WAITING):
            code = 1 if what == "exited" else None
            return phase.exited(life, policy, code=code, reason="R", message="m", now=now, chance=chance)
        case _:
            return life


@quick
@given(POLICIES, EVENTS, st.integers(0, 1 << 30))
def test_what_holds_of_every_life(policy: RestartPolicy, events: list[tuple[str, float]], seed: int) -> None:
    chance = random.Random(seed)
    life, now = Life(), 0.0
    for what, passes in events:
        now += passes
        before, life = life, step(life, policy, what, now, chance)
        assert life.since <= now
        assert 0 <= life.retry_at <= now + policy.cap
        assert life.restarts >= before.restarts
        if life is before:
            continue
        assert life.since == now
        if life.phase is Phase.WAITING:
            assert life.failures >= 1
            assert life.reason
            assert life.due(life.retry_at)
            if life.failures == 1:
                assert life.due(now), "the first restart is immediate"
        if life.phase in (Phase.STARTING, Phase.RUNNING, Phase.ENDED):
            assert not life.due(now + 1e9), "only what does not run and should is started"
        if life.phase is Phase.ENDED:
            assert policy.mode is not RestartMode.ALWAYS
        if life.phase is Phase.ABSENT:
            assert life.failures == 0


@quick
@given(POLICIES, st.integers(0, 40), st.integers(0, 1 << 30))
def test_the_wait_grows_up_to_the_cap_and_is_never_beyond(policy: RestartPolicy, failures: int, seed: int) -> None:
    wait = phase.delay(policy, failures, random.Random(seed))
    if failures == 0:
        assert wait == 0
    elif failures >= policy.crash_loop:
        assert policy.cap / 2 <= wait <= policy.cap
    else:
        assert 0 <= wait <= min(policy.cap, policy.base * 2**failures)


@quick
@given(POLICIES, st.integers(1, 20))
def test_a_healthy_while_clears_what_was(policy: RestartPolicy, failures: int) -> None:
    life = Life(Phase.RUNNING, since=0.0, failures=failures)

    def ends(now: float) -> Life:
        return phase.exited(life, policy, code=1, reason="R", message="m", now=now, chance=random.Random(1))

    assert ends(policy.healthy).failures == 1
    assert ends(policy.healthy * 0.99).failures == failures + 1


@pytest.mark.parametrize(
    ("mode", "code", "again"),
    [
        (RestartMode.ALWAYS, 0, True),
        (RestartMode.ALWAYS, 1, True),
        (RestartMode.ON_FAILURE, 0, False),
        (RestartMode.ON_FAILURE, -9, True),
        (RestartMode.NEVER, 0, False),
        (RestartMode.NEVER, 1, False),
    ],
)
def test_its_policy_says_whether_it_is_started_again(mode: RestartMode, code: int, again: bool) -> None:
    running = Life(Phase.RUNNING, since=0.0)
    policy = RestartPolicy(mode=mode)
    life = phase.exited(running, policy, code=code, reason="R", message="m", now=1.0, chance=random.Random(1))
    assert life.phase is (Phase.WAITING if again else Phase.ENDED)
    assert life.done is (code == 0 and not again)


def test_what_could_not_be_spawned_is_tried_again_whatever_its_policy() -> None:
    policy = RestartPolicy(mode=RestartMode.NEVER)
    life = phase.exited(Life(), policy, code=None, reason="R", message="m", now=1.0, chance=random.Random(1))
    assert life.phase is Phase.WAITING


def test_a_life_is_steady_and_settled_only_after_a_while_when_it_failed() -> None:
    fresh = Life(Phase.RUNNING, since=0.0)
    assert fresh.steady(0.0)
    assert not fresh.settled(0.0)
    assert fresh.settled(1.0)
    shaky = Life(Phase.RUNNING, since=0.0, failures=3)
    assert not shaky.steady(1.0)
    assert not shaky.settled(1.0)
    assert shaky.steady(3.0)
    assert shaky.settled(3.0)
