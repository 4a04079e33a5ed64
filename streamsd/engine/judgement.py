"""What is true of each resource, kept as conditions, and of all of them together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from streamsd.core.address import Address
from streamsd.core.clock import Clock
from streamsd.core.conditions import Conditions
from streamsd.engine import planner
from streamsd.engine.desired import Desired
from streamsd.engine.plan import Action
from streamsd.engine.status import Setback, judge
from streamsd.engine.world import World


@dataclass
class Judgement:
    """`dirty`: the resources that are to be looked at still. `busy`: those that steps are under way for. `actions`:
    what the planner last said that each needs. `tell(event, address, **fields)` an event."""

    world: World
    clock: Clock
    dirty: Collection[Address]
    busy: Collection[Address]
    actions: Mapping[Address, Action]
    setbacks: Mapping[Address, Setback]
    tell: Callable[..., None]
    conditions: dict[Address, Conditions] = field(default_factory=dict)

    def judge(self, address: Address) -> None:
        """Bring a resource's conditions up to date, and tell of those that changed."""
        desired = self.world.generation.resources.get(address)
        if desired is None:
            return
        verdicts = judge(
            desired,
            self.world,
            busy=address in self.busy,
            action=self.actions.get(address),
            blocked=self._blocked(desired),
            setback=self.setbacks.get(address),
        )
        conditions = self.conditions.setdefault(address, Conditions())
        now = self.clock.now()
        for v in verdicts:
            if conditions.set(v.type, v.status, v.reason, v.message, now=now):
                fields = {"type": str(v.type), "status": v.status, "reason": v.reason, "message": v.message}
                self.tell("condition-changed", address, **fields)

    def converged(self) -> bool:
        """Whether every resource is as declared and serves (or has ended as it should)."""
        now = self.clock.monotonic()
        return (
            not self.dirty
            and not self.busy
            and all(a in self.world.generation.resources for a in self.world.units)
            and not any(self.world.unacquainted(d) for d in self.world.generation.resources.values())
            and all(
                self.conditions[a].is_true("Ready") and not self.conditions[a].is_true("Progressing")
                for a in self.world.generation.resources
            )
            and all(
                self.world.life(unit.id).settled(now)
                for desired in self.world.generation.resources.values()
                for unit in desired.compiled.units
                if unit.id.role in desired.required
            )
        )

    def failed(self) -> list[Address]:
        """Resources that do not serve and that waiting will not help."""
        return [
            a
            for a in self.world.generation.resources
            if (a not in self.dirty or a in self.setbacks)
            and a not in self.busy
            and not self.conditions[a].is_true("Ready")
            and self.conditions[a].get("Ready") is not None
            and not self.conditions[a].is_true("Progressing")
        ]

    def _blocked(self, desired: Desired) -> str:
        for target in sorted(desired.dependencies):
            lead = self.world.generation.resources.get(target)
            if not planner.is_started(lead, self.world.view(target)) and not all(
                self.world.view(desired.address).unit(u.id.role).running for u in desired.compiled.units
            ):
                return f"waits for {target}"
        return ""
