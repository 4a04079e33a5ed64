"""The life of one process, as one value that pure functions move on."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from enum import StrEnum

from streamsd.core.unit import RestartMode, RestartPolicy


class Phase(StrEnum):
    ABSENT = "absent"
    """Never started, or stopped on purpose."""
    STARTING = "starting"
    """Spawned; its startup probe has not succeeded yet."""
    RUNNING = "running"
    WAITING = "waiting"
    """It ended and is started again at `retry_at`."""
    ENDED = "ended"
    """It ended and its policy says that this is how it should be."""


@dataclass(frozen=True, slots=True)
class Life:
    """`since`: boot-clock seconds at which the phase began. `restarts`: starts after an end that nobody asked for, in
    this controller's time. `failures`: ends in a row without a healthy while between them; one that ended as it should
    has none. `reason`: why it last ended, in CamelCase; `message`: in words."""

    phase: Phase = Phase.ABSENT
    since: float = 0.0
    restarts: int = 0
    failures: int = 0
    retry_at: float = 0.0
    reason: str = ""
    message: str = ""

    def due(self, now: float) -> bool:
        """Whether it may be started now."""
        match self.phase:
            case Phase.ABSENT:
                return True
            case Phase.WAITING:
                return now >= self.retry_at
            case Phase.STARTING | Phase.RUNNING | Phase.ENDED:
                return False

    @property
    def done(self) -> bool:
        """Whether it has ended well: an ended one that failed is not started again either, but serves nobody."""
        return self.phase is Phase.ENDED and self.failures == 0

    def steady(self, now: float) -> bool:
        """Whether it can be believed to run: one that failed again and again has to live a while first."""
        return self.phase is Phase.RUNNING and (self.failures < 2 or now - self.since >= STEADY)

    def settled(self, now: float) -> bool:
        """Whether an apply may call it done: it outlived the moment in which a broken command ends."""
        least = STEADY if self.failures else SETTLED
        return self.done or (self.phase is Phase.RUNNING and now - self.since >= least)


STEADY = 3.0
SETTLED = 0.3


def spawned(life: Life, now: float) -> Life:
    """The runtime has started it."""
    again = life.phase in (Phase.WAITING, Phase.ENDED)
    return replace(life, phase=Phase.STARTING, since=now, restarts=life.restarts + again)


def started(life: Life, now: float) -> Life:
    """Its startup probe succeeded."""
    return replace(life, phase=Phase.RUNNING, since=now, reason="", message="")


def adopted(now: float) -> Life:
    """An earlier controller started it, and it runs."""
    return Life(Phase.RUNNING, since=now)


def stopped(life: Life, now: float) -> Life:
    """Ended on purpose: what it did wrong before no longer counts."""
    return replace(life, phase=Phase.ABSENT, since=now, failures=0, retry_at=0.0, reason="", message="")


def exited(
    life: Life, policy: RestartPolicy, *, code: int | None, reason: str, message: str, now: float, chance: random.Random
) -> Life:
    """It ended by itself, was killed by a probe, or could not be spawned (`code` None)."""
    lived = now - life.since if life.phase is Phase.RUNNING else 0.0
    failures = 0 if lived >= policy.healthy else life.failures
    ran = life.phase in (Phase.STARTING, Phase.RUNNING)
    wanted = policy.mode is RestartMode.ALWAYS or (policy.mode is RestartMode.ON_FAILURE and code != 0)
    if ran and not wanted:  # what could not even be spawned is tried again whatever its policy: it has not run once
        failures = 0 if code == 0 else failures + 1
        return replace(life, phase=Phase.ENDED, since=now, failures=failures, reason=reason, message=message)
    return replace(
        life,
        phase=Phase.WAITING,
        since=now,
        failures=failures + 1,
        retry_at=now + delay(policy, failures, chance),
        reason=reason,
        message=message,
    )


def delay(policy: RestartPolicy, failures: int, chance: random.Random) -> float:
    """Seconds to wait after `failures` earlier ones: none for the first, then full jitter under an exponential
    ceiling (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015); in a crash loop the upper half of the cap.
    """
    if failures == 0:
        return 0.0
    if failures >= policy.crash_loop:
        return chance.uniform(policy.cap / 2, policy.cap)
    return chance.uniform(0.0, min(policy.cap, policy.base * 2.0**failures))


def crash_looping(life: Life, policy: RestartPolicy) -> bool:
    return life.failures >= policy.crash_loop
