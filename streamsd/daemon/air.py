"""What is on the air: nothing interrupts it unasked, and a file that would waits until it is over."""

from __future__ import annotations

from streamsd.core.address import Address
from streamsd.core.service import Refused
from streamsd.engine.plan import Plan
from streamsd.engine.world import World


class Air:
    """`world`: what is known of what runs."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._hit: frozenset[Address] = frozenset()
        """What the newest refused plan would have interrupted."""
        self._waits_for: frozenset[Address] = frozenset()

    def guard(self, plan: Plan) -> None:
        """Refused for what would interrupt something that is on the air."""
        hit = {}
        for action in plan.actions:
            for address in {action.address, *action.interrupts}:
                seen = self._world.measured.get(address)
                if seen and seen.on_air and address in action.interrupts:
                    hit[address] = f"{address} ({seen.on_air}): {action.action.value} because {action.cause}"
        self._hit = frozenset(hit)
        if hit:
            hint = "apply with --allow-interrupt, or when it is off the air"
            raise Refused(409, {"error": "would-interrupt", "message": "; ".join(hit.values()), "hint": hint})

    def wait(self) -> None:
        """What was refused last is to be applied when that is off the air."""
        self._waits_for = self._hit

    def wait_no_more(self) -> None:
        """Something else was decided on meanwhile."""
        self._waits_for = frozenset()

    def is_over(self) -> bool:
        """Whether something waits, and need not any longer."""
        measured = self._world.measured
        return bool(self._waits_for) and not any(a in measured and measured[a].on_air for a in self._waits_for)
