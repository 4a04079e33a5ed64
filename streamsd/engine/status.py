"""Status: what is true of each resource, judged from what is known of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from streamsd.core.conditions import ConditionType
from streamsd.core.kind import Finding
from streamsd.core.runtime import ProcessState
from streamsd.core.unit import Unit
from streamsd.engine import phase
from streamsd.engine.desired import Desired
from streamsd.engine.phase import Phase
from streamsd.engine.plan import Action
from streamsd.engine.world import World

NOT_READY = "NotReady"

_IN_VAIN = 3
"""Failed changes in a row after which waiting for the next one is in vain."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One condition's value."""

    type: ConditionType
    status: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Setback:
    """A stop or a change in place that failed `count` times in a row, and is tried again at `until` (boot clock)."""

    count: int
    until: float
    why: str


def judge(
    desired: Desired, world: World, *, busy: bool, action: Action | None, blocked: str, setback: Setback | None = None
) -> tuple[Verdict, ...]:
    """All conditions of a resource.

    `busy`: steps of it are under way. `action`: what the planner says it needs (None: nothing). `blocked`: what it
    waits for, in words.
    """
    address = desired.address
    if address in world.held:
        return (
            Verdict(ConditionType.ACCEPTED, True, "Valid", ""),
            Verdict(ConditionType.PROGRESSING, busy, "Stopping" if busy else "Held", "stopped until the next apply"),
            Verdict(ConditionType.READY, False, "Held", "stopped until the next apply"),
            Verdict(ConditionType.DEGRADED, False, "Held", ""),
            Verdict(ConditionType.DRIFTED, False, "Held", ""),
        )
    seen = world.measured.get(address)
    measured = seen.findings if seen else ()
    lacks = [_reasoned(lack, measured) for unit in desired.compiled.units if (lack := _lack(unit, world))]
    needed = [finding for finding in lacks if finding.role in desired.required]
    findings = [*lacks, *(finding for finding in measured if finding not in lacks)]
    looping = next((u for u in desired.compiled.units if _gave_up(u, world)), None)
    return (
        Verdict(ConditionType.ACCEPTED, True, "Valid", ""),
        _progressing(looping, world, busy, action, blocked, needed, setback)
        if not world.unacquainted(desired)
        else Verdict(ConditionType.PROGRESSING, True, "Observing", "it is being asked what it has live"),
        _ready(needed, blocked, setback),
        Verdict(ConditionType.DEGRADED, True, findings[0].reason, _words(findings))
        if findings and not (busy and not any(_failing(u, world) for u in desired.compiled.units))
        else Verdict(ConditionType.DEGRADED, False, "Whole", ""),
        Verdict(ConditionType.DRIFTED, True, "Differs", action.cause)
        if action is not None and action.drift
        else Verdict(ConditionType.DRIFTED, False, "AsDeclared", ""),
        *(
            (Verdict(ConditionType.OVERRIDDEN, True, "Operator", seen.overridden),)
            if seen and seen.overridden
            else (Verdict(ConditionType.OVERRIDDEN, False, "AsDeclared", ""),)
            if seen and (seen.live or seen.on_air)
            else ()
        ),
    )


def _progressing(
    looping: Unit | None,
    world: World,
    busy: bool,
    action: Action | None,
    blocked: str,
    needed: list[Finding],
    setback: Setback | None,
) -> Verdict:
    kind = ConditionType.PROGRESSING
    if looping is not None:
        life = world.life(looping.id)
        if life.phase is Phase.ENDED:
            return Verdict(
                kind, False, life.reason, f"{looping.id.role} {life.message}; its policy is not to restart it"
            )
        reason = life.reason if life.reason in ("ProgramMissing", "SpawnFailed", "StartTimeout") else "CrashLoop"
        return Verdict(
            kind, False, reason, f"{looping.id.role} {life.message}, {life.failures} times; retried at the cap"
        )
    if blocked:
        return Verdict(kind, True, "Waiting", blocked)
    if setback is not None:
        return Verdict(
            kind, setback.count < _IN_VAIN, "ChangeFailed", f"{setback.why}, {setback.count} times; tried again"
        )
    if busy or action is not None:
        return Verdict(kind, True, "Converging", action.cause if action else "steps are under way")
    if needed:
        return Verdict(kind, True, "Starting", needed[0].message)
    return Verdict(kind, False, "Converged", "")


def _ready(needed: list[Finding], blocked: str, setback: Setback | None) -> Verdict:
    if needed:
        return Verdict(ConditionType.READY, False, needed[0].reason, _words(needed))
    if blocked:
        return Verdict(ConditionType.READY, False, "Waiting", blocked)
    if setback is not None:
        return Verdict(ConditionType.READY, False, "ChangeFailed", setback.why)
    return Verdict(ConditionType.READY, True, "Serving", "")


def _lack(unit: Unit, world: World) -> Finding | None:
    """Why a unit does not serve; None when it does, or has ended as it should."""
    life = world.life(unit.id)
    role = unit.id.role
    match life.phase:
        case Phase.ENDED:
            return None if life.done else Finding(life.reason, f"{role} {life.message}", role)
        case Phase.ABSENT:
            return Finding("NotStarted", f"{role} does not run", role)
        case Phase.WAITING:
            return Finding(life.reason or "Exited", f"{role} {life.message}", role)
        case Phase.STARTING:
            return Finding("Starting", f"{role} is starting", role)
        case Phase.RUNNING:
            observed = world.observed(unit.id)
            if observed is None or observed.state is not ProcessState.RUNNING:
                return Finding("Stopping", f"{role} is stopping", role)
            if not life.steady(world.clock.monotonic()):
                return Finding("Recovering", f"{role} has failed {life.failures} times and has only just started", role)
            if unit.probes.readiness is None:
                return None
            ready = world.ready.get(unit.id)
            if ready is None:
                return Finding(NOT_READY, f"{role} has not been asked yet", role)
            return None if ready[0] else Finding(NOT_READY, f"{role}: {ready[1]}", role)


def _reasoned(lack: Finding, measured: tuple[Finding, ...]) -> Finding:
    """Why a process is not ready by its own word, where it has one: more than that its probe says no."""
    if lack.reason != NOT_READY:
        return lack
    return next((finding for finding in measured if finding.role == lack.role), lack)


def _failing(unit: Unit, world: World) -> bool:
    return world.life(unit.id).phase is Phase.WAITING and world.life(unit.id).failures > 0


def _gave_up(unit: Unit, world: World) -> bool:
    """Whether waiting for it is in vain: it fails again and again, or could not even be started twice."""
    life = world.life(unit.id)
    if life.phase is Phase.ENDED:
        return not life.done
    if life.phase is not Phase.WAITING:
        return False
    if life.reason in ("ProgramMissing", "SpawnFailed", "StartTimeout") and life.failures >= 2:
        return True
    return phase.crash_looping(life, unit.restart)


def _words(findings: list[Finding]) -> str:
    words = "; ".join(finding.message for finding in findings[:3])
    return f"{words}; and {len(findings) - 3} more" if len(findings) > 3 else words
