"""From decisions to steps: what stops and starts in which order. Pure, as the planner is."""

from __future__ import annotations

from collections.abc import Mapping

from streamsd.core.address import Address
from streamsd.engine.decision import Decision
from streamsd.engine.desired import Generation, start_levels
from streamsd.engine.plan import Patch, Start, Step, Stop
from streamsd.engine.view import ResourceView

_NO_VIEW = ResourceView()


def steps_of(
    decisions: Mapping[Address, Decision],
    generation: Generation,
    previous: Generation,
    views: Mapping[Address, ResourceView],
) -> tuple[tuple[Step, ...], Mapping[int, frozenset[int]]]:
    """The steps, and for the index of each the indices of those that must have succeeded before it."""
    steps: list[Step] = []
    stop_of: dict[Address, int] = {}
    last_of: dict[Address, int] = {}
    after: dict[int, set[int]] = {}

    def add(step: Step) -> int:
        steps.append(step)
        index = len(steps) - 1
        after[index] = set()
        if step.address in last_of:
            after[index].add(last_of[step.address])
        last_of[step.address] = index
        return index

    for address, decision in decisions.items():
        if decision.stop or decision.delete:
            levels = _stop_levels(address, decision.stop, generation, previous)
            stop_of[address] = add(Stop(address, frozenset(decision.stop), decision.delete, levels))
    first_other: dict[Address, int] = {}
    for address, decision in decisions.items():
        if decision.start:
            # it sets every live part that differs, of the processes that stay too
            first_other[address] = add(Start(address, frozenset(decision.start)))
            if decision.limits:
                add(Patch(address, frozenset(), frozenset(decision.limits)))
        elif decision.patch or decision.limits:
            first_other[address] = add(Patch(address, frozenset(decision.patch), frozenset(decision.limits)))
    if len(steps) > 1:
        _edges(decisions, generation, previous, views, stop_of, first_other, last_of, after)
    return tuple(steps), {i: frozenset(befores) for i, befores in after.items()}


def _stop_levels(
    address: Address, roles: set[str], generation: Generation, previous: Generation
) -> tuple[tuple[str, ...], ...]:
    """The reverse of the order they were started in, as far as it is known; what is not comes first."""
    known = previous.resources.get(address) or generation.resources.get(address)
    levels = start_levels(known.compiled, roles) if known else []
    rest = roles.difference(*levels)
    return tuple(tuple(sorted(level)) for level in ([rest] if rest else []) + levels[::-1])


def _edges(
    decisions: Mapping[Address, Decision],
    generation: Generation,
    previous: Generation,
    views: Mapping[Address, ResourceView],
    stop_of: Mapping[Address, int],
    first_other: Mapping[Address, int],
    last_of: Mapping[Address, int],
    after: Mapping[int, set[int]],
) -> None:
    """Dependents stop first and start last; a change in place comes between. What takes over a port or a display waits
    until its holder has let go of it."""
    holders = {
        claim.thing: index
        for address, index in stop_of.items()
        if address in previous.resources
        for claim in previous.resources[address].compiled.claims
    }
    # what has ended by itself comes back without waiting for those that lost it to let go
    gone = {
        address
        for address in first_other
        if decisions[address].start
        and not any(views.get(address, _NO_VIEW).unit(role).running for role in decisions[address].stop)
    }
    for address in decisions:
        desired = generation.resources.get(address)
        if desired is None:
            continue
        for target in desired.dependencies:
            if target not in gone:
                _stops_before(address, target, stop_of, first_other, after)
            if target in decisions and address in first_other:
                after[first_other[address]].add(last_of[target])
        for claim in desired.compiled.claims if holders else ():
            holder = holders.get(claim.thing)
            if holder is not None and address in first_other and holder != stop_of.get(address):
                after[first_other[address]].add(holder)
    for address in stop_of:
        was = previous.resources.get(address)
        now = generation.resources.get(address)
        for target in was.dependencies if was else ():
            if target in gone or (now is not None and target in now.dependencies):
                continue
            # a reference that has been turned round: the new direction counts, or the two would wait for each other
            if target in stop_of and _waits_for(stop_of[address], stop_of[target], after):
                continue
            _stops_before(address, target, stop_of, first_other, after)


def _stops_before(
    address: Address,
    target: Address,
    stop_of: Mapping[Address, int],
    first_other: Mapping[Address, int],
    after: Mapping[int, set[int]],
) -> None:
    if address in stop_of:
        for index in (stop_of.get(target), first_other.get(target)):
            if index is not None:
                after[index].add(stop_of[address])


def _waits_for(step: int, other: int, after: Mapping[int, set[int]]) -> bool:
    """Whether a step comes after another, directly or through others."""
    waiting, seen = [step], {step}
    while waiting:
        for before in after[waiting.pop()] - seen:
            if before == other:
                return True
            seen.add(before)
            waiting.append(before)
    return False
