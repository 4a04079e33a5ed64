"""The planner: desired state and a view of the world to a plan. Pure: no I/O, no clock, no chance.

Level-triggered: it looks at what is, not at what happened. A process that follows another is stale when it is older
than what it follows, whoever restarted that and whenever. Applying a plan makes the next plan empty.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from streamsd.core.address import Address
from streamsd.core.change import FieldChange, OnChange, changed_fields
from streamsd.core.diagnostics import dotted
from streamsd.core.kind import Spec
from streamsd.core.unit import Limits
from streamsd.engine.decision import Decision
from streamsd.engine.desired import Desired, Generation
from streamsd.engine.plan import Action, ActionKind, Plan
from streamsd.engine.steps import steps_of
from streamsd.engine.view import ResourceView, UnitView

_NO_VIEW = ResourceView()
_CHANGED = " changed"


def plan(
    generation: Generation,
    views: Mapping[Address, ResourceView],
    previous: Generation,
    scope: Collection[Address] | None = None,
    forced: Mapping[Address, frozenset[str]] | None = None,
) -> Plan:
    """What must be done so that what is seen becomes what `generation` says.

    `previous` gives the words for causes: which fields changed since. `scope`: only these resources (and nothing that
    needs others first); None: all. `forced`: roles that somebody asked to be restarted.
    """
    asked = forced or {}
    decisions: dict[Address, Decision] = {}
    wanted = set(generation.resources) | set(views) if scope is None else set(scope)
    for address in sorted(a for a in wanted if a not in generation.resources):
        if address in views and views[address].units:
            roles = set(views[address].units)
            decisions[address] = Decision(stop=roles, delete=True, causes=["no longer declared"])
    for address in _in_order(generation, wanted):
        desired = generation.resources[address]
        view = views.get(address, _NO_VIEW)
        decision = _decide(desired, view, generation, previous, asked.get(address, frozenset()))
        gated = _gated(desired, views, decisions, generation)
        _follow(decision, desired, views, decisions, generation, gated)
        _follow_within(decision, desired, view)
        _gate_within(decision, desired, view)
        if gated:
            # nothing starts before what it depends on runs or is about to; what has to end ends all the same
            decision.start.clear()
            decision.stop = {role for role in decision.stop if view.unit(role).running}
        # what starts anew is started with its limits and live parts
        decision.limits -= decision.stop
        decision.patch -= {key for key in decision.patch if desired.compiled.live[key].role in decision.stop}
        if not decision.empty:
            decisions[address] = decision
    return _build(decisions, generation, previous, views)


def _in_order(generation: Generation, wanted: set[Address]) -> list[Address]:
    """generation.resources is in dependency order already."""
    if len(wanted) * 8 < len(generation.resources):
        order = {a: i for i, a in enumerate(generation.resources)} if len(wanted) > 1 else {}
        return sorted((a for a in wanted if a in generation.resources), key=lambda a: order.get(a, 0))
    return [a for a in generation.resources if a in wanted]


def _decide(
    desired: Desired, view: ResourceView, generation: Generation, previous: Generation, asked: frozenset[str]
) -> Decision:
    decision = Decision(fresh=not view.units)
    if view.held:
        running = {role for role, unit in view.units.items() if unit.running}
        if running:
            decision.stop |= running
            decision.causes.append("held stopped until the next apply")
        return decision
    before = previous.resources.get(desired.address)
    if before is not None and before is not desired:
        decision.fields = _fields(before.resource.spec, desired.resource.spec)
    declared = {unit.id.role for unit in desired.compiled.units}
    for role in sorted(set(view.units) - declared):
        decision.stop.add(role)
        decision.causes.append(f"{role} is no longer declared")
    for unit in desired.compiled.units:
        role = unit.id.role
        seen = view.unit(role)
        edited = before is not None and before.hashes.get(role) != desired.hashes[role]
        why = _edit_words(desired, generation, previous) if edited and not decision.fields else ""
        _decide_unit(decision, desired.hashes[role], role, seen, role in asked, why)
        if seen.observed and seen.observed.spec_hash != desired.hashes[role] and not edited:
            decision.drift = before is not None and not decision.fields
        if seen.running and role not in decision.stop and not limits_agree(_limits_of(seen), unit.limits):
            decision.limits.add(role)
            decision.drift = before is not None and not decision.fields
            words = f"{_limits_text(_limits_of(seen))}, not {_limits_text(unit.limits)}"
            decision.causes.append(f"limits of {role} are {words}")
    for key, part in desired.compiled.live.items():
        known = key in view.live and view.unit(part.role).running and part.role not in decision.stop
        if known and view.live[key] != part.desired:
            was = before.compiled.live.get(key) if before is not None else None
            edited = was is not None and was.desired != part.desired
            decision.patch.add(key)
            decision.drift = before is not None and not decision.fields and not edited
            decision.causes.append(
                (edited and _edit_words(desired, generation, previous))
                or (f"{key}: not as declared" if part.opaque else f"{key} is {view.live[key]}, not {part.desired}")
            )
    return decision


def _decide_unit(decision: Decision, wanted: str, role: str, seen: UnitView, asked: bool, why: str) -> None:
    """`wanted`: the spec hash to run with. `why`: what led to another one, where it was no field of the resource."""
    observed = seen.observed
    if observed is None:
        if seen.due or asked:
            decision.start.add(role)
            decision.causes.append(f"{role} {seen.last}" if seen.last else f"{role} does not run")
        return
    if observed.spec_hash != wanted:
        words = "runs with another spec" if seen.running else "is to run with another spec"
        decision.causes.append(why or f"{role} {words}")
    elif asked:
        decision.causes.append(f"restart of {role} was asked for")
    elif seen.running and seen.condemned:
        # ended only: when it starts again is for its life to say, as after any other failure
        decision.stop.add(role)
        decision.failing.add(role)
        decision.causes.append(f"{role} {seen.condemned}")
        return
    elif not seen.running and seen.due and not seen.ended:
        decision.causes.append(f"{role} {seen.last or 'ended'}")
    else:
        return
    decision.stop.add(role)
    decision.start.add(role)


def _edit_words(desired: Desired, generation: Generation, previous: Generation) -> str:
    """Which of the resources that it refers to look different to it now."""
    changed = []
    for target in sorted(desired.dependencies):
        old, new = previous.resources.get(target), generation.resources.get(target)
        if old is not None and new is not None and old.compiled.exports != new.compiled.exports:
            changed.append(str(target))
    return f"{', '.join(changed)}{_CHANGED}" if changed else ""


def _follow(
    decision: Decision,
    desired: Desired,
    views: Mapping[Address, ResourceView],
    decisions: Mapping[Address, Decision],
    generation: Generation,
    gated: bool,
) -> None:
    """Processes that are older than what they follow, or whose leader is about to start anew, start anew; they wait
    with that while something else that they depend on is down. Nothing is taken away under them."""
    view = views.get(desired.address, _NO_VIEW)
    for target in sorted(desired.follows):
        leader = decisions.get(target, Decision())
        leads = views.get(target, _NO_VIEW)
        needed = generation.resources[target].required
        taken = any(leads.unit(role).running for role in needed & (leader.stop - leader.failing))
        renewed = bool(leader.start & needed)
        seen_leads = [leads.unit(role) for role in needed]
        newest = max((u.observed.started for u in seen_leads if u.running and u.observed), default=0.0)
        for unit in desired.compiled.units:
            role = unit.id.role
            seen = view.unit(role)
            if role in decision.stop or not seen.running or seen.observed is None:
                continue
            if taken or (not gated and (renewed or seen.observed.started < newest)):
                decision.stop.add(role)
                decision.start.add(role)
                words = "starts anew" if renewed else "ends" if taken else "has started anew"
                decision.causes.append(f"{target} {words}")


def _follow_within(decision: Decision, desired: Desired, view: ResourceView) -> None:
    """Roles that follow a role of the same resource that starts anew, and those that follow them."""
    moved = True
    while moved:
        moved = False
        for unit in desired.compiled.units:
            role = unit.id.role
            seen = view.unit(role)
            if role in decision.stop or not seen.running or seen.observed is None:
                continue
            for leader in unit.follows:
                lead = view.unit(leader)
                stale = lead.running and lead.observed is not None and seen.observed.started < lead.observed.started
                if leader in decision.start or stale:
                    decision.stop.add(role)
                    decision.start.add(role)
                    decision.causes.append(f"{leader} starts anew")
                    moved = True
                    break


def _gate_within(decision: Decision, desired: Desired, view: ResourceView) -> None:
    """Within a resource, as `_gated` between them: what comes after a role that waits to be restarted waits too."""
    moved = True
    while moved:
        moved = False
        for unit in desired.compiled.units:
            role = unit.id.role
            if role in decision.start and not all(_comes(before, decision, view) for before in unit.after):
                decision.start.discard(role)
                if not view.unit(role).running:
                    decision.stop.discard(role)
                moved = True


def _comes(role: str, decision: Decision, view: ResourceView) -> bool:
    return role in decision.start or (view.unit(role).ready and role not in decision.stop)


def _gated(
    desired: Desired,
    views: Mapping[Address, ResourceView],
    decisions: Mapping[Address, Decision],
    generation: Generation,
) -> bool:
    """Whether something that it depends on neither runs nor is about to."""
    return not all(
        _will_have_started(generation.resources.get(target), views.get(target, _NO_VIEW), decisions.get(target))
        for target in desired.dependencies
    )


def is_started(desired: Desired | None, view: ResourceView) -> bool:
    """Whether others that depend on it may start: its required processes have passed their startup probes."""
    return _will_have_started(desired, view, None)


def _will_have_started(desired: Desired | None, view: ResourceView, decision: Decision | None) -> bool:
    """The same for when what was decided is done."""
    if desired is None or view.held:
        return False
    return all(_comes(role, decision or Decision(), view) for role in desired.required)


def _fields(old: Spec, new: Spec) -> tuple[FieldChange, ...]:
    return () if old == new else changed_fields(old, new)


def limits_agree(have: Limits, wanted: Limits) -> bool:
    """Whether those that change while a process runs are as wanted."""
    return (have.memory_bytes, have.cpu_percent, have.nice) == (wanted.memory_bytes, wanted.cpu_percent, wanted.nice)


def _limits_of(seen: UnitView) -> Limits:
    return seen.observed.limits if seen.observed else Limits()


def _limits_text(limits: Limits) -> str:
    memory = f"{limits.memory_bytes // 1024**2} MiB" if limits.memory_bytes else "any memory"
    cpu = f"{limits.cpu_percent} % CPU" if limits.cpu_percent else "any CPU"
    return f"{memory}, {cpu}, nice {limits.nice}"


def _build(
    decisions: Mapping[Address, Decision],
    generation: Generation,
    previous: Generation,
    views: Mapping[Address, ResourceView],
) -> Plan:
    followers: dict[Address, list[Address]] = {}
    for address in decisions:
        for leader in generation.resources[address].follows if address in generation.resources else ():
            followers.setdefault(leader, []).append(address)
    actions = tuple(
        _action(address, decision, generation, previous, views, decisions, followers)
        for address, decision in sorted(decisions.items())
    )
    steps, after = steps_of(decisions, generation, previous, views)
    return Plan(actions, steps, after)


def _action(
    address: Address,
    decision: Decision,
    generation: Generation,
    previous: Generation,
    views: Mapping[Address, ResourceView],
    decisions: Mapping[Address, Decision],
    followers: Mapping[Address, list[Address]],
) -> Action:
    stops_running = {r for r in decision.stop if views.get(address, _NO_VIEW).unit(r).running}
    desired = generation.resources.get(address)
    if decision.delete:
        kind = ActionKind.DELETE
    elif decision.fresh and decision.start:
        kind = ActionKind.CREATE
    elif (decision.start or decision.stop) and not _in_place(address, decision, generation, previous):
        replaces = any(change.policy is OnChange.REPLACE for change in decision.fields)
        kind = ActionKind.REPLACE if replaces else ActionKind.RESTART
    else:
        kind = ActionKind.PATCH
    interrupts = set()
    if (
        desired is None
        or stops_running & desired.required
        or any(desired.compiled.live[key].interrupts for key in decision.patch)
    ):
        interrupts.add(address)
    if decision.start:
        interrupts |= {other for other in followers.get(address, ()) if decisions[other].stop}
    return Action(
        kind,
        address,
        _cause(decision, kind),
        decision.fields,
        tuple(sorted(interrupts)) if kind is not ActionKind.CREATE else (),
        tuple(sorted(decision.start or decision.stop)),
        drift=decision.drift,
    )


def _in_place(address: Address, decision: Decision, generation: Generation, previous: Generation) -> bool:
    """Whether all that starts is new and all that ends leaves: every process that was and is declared stays."""
    was, now = previous.resources.get(address), generation.resources.get(address)
    if was is None or now is None or not decision.fields:
        return False
    return not (decision.start & was.hashes.keys() or decision.stop & now.hashes.keys())


def _cause(decision: Decision, kind: ActionKind) -> str:
    if kind is ActionKind.CREATE:
        return "declared, does not run"
    words = [
        f"{dotted(change.path)} {change.before} -> {change.after}"
        for change in decision.fields
        if change.policy is not OnChange.NONE
    ]
    causes = list(dict.fromkeys(decision.causes))
    # an edit of the resource itself does not hide one of what it refers to
    others = [cause for cause in causes if cause.endswith(_CHANGED)]
    return "; ".join([*words[:4], *others[:3]] if words else causes[:3])
