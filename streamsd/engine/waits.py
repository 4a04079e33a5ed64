"""What a plan cannot promise yet: resources that need no action now, and are not as declared or not known to be so.
Pure. Without these words "nothing to do" would also be said of a process that waits for its next start."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from streamsd.core.address import Address
from streamsd.core.runtime import ProcessState
from streamsd.engine.desired import Desired, Generation
from streamsd.engine.view import ResourceView, UnitView

_NO_VIEW = ResourceView()


def waits_of(
    generation: Generation,
    views: Mapping[Address, ResourceView],
    acted: Collection[Address],
    busy: Collection[Address],
    started: Collection[Address],
) -> dict[Address, str]:
    """Why each resource that has no action is waited for, in words. `acted`: those that have one. `busy`: those whose
    steps are under way. `started`: those that others may stand on."""
    found: dict[Address, str] = {}
    for address, desired in generation.resources.items():
        if address in acted:
            continue
        why = _why(desired, views.get(address, _NO_VIEW), started)
        if not why and address in busy:
            why = "its last change is being carried out"
        if why:
            found[address] = why
    return found


def _why(desired: Desired, view: ResourceView, started: Collection[Address]) -> str:
    for unit in desired.compiled.units:
        words = _unit_words(view.unit(unit.id.role))
        if words == _HELD_UP:
            others = sorted(str(target) for target in desired.dependencies if target not in started)
            words = f"waits for {', '.join(others)}" if others else f"waits for {', '.join(unit.after)}"
        if words:
            return f"{unit.id.role} {words}"
    unknown = [
        key for key, part in desired.compiled.live.items() if key not in view.live and view.unit(part.role).running
    ]
    return f"it does not say what it has live: {', '.join(sorted(unknown))}" if unknown else ""


_HELD_UP = "is held up"


def _unit_words(seen: UnitView) -> str:
    observed = seen.observed
    if observed is not None and observed.state is ProcessState.STOPPING:
        return "is stopping"
    if seen.running:
        return "" if seen.ready else "is starting"
    if seen.ended:
        return ""
    if not seen.due:
        return f"{seen.last or 'ended'}, and is started again after a pause"
    return _HELD_UP
