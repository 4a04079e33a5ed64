"""What the controller knows of what runs, kept as it changes. Only the reconciler and its hands write to it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from streamsd.core.address import Address, UnitId
from streamsd.core.clock import Clock
from streamsd.core.kind import Observation
from streamsd.core.runtime import ObservedUnit, ProcessState
from streamsd.core.unit import RestartPolicy
from streamsd.engine import phase
from streamsd.engine.desired import Desired, Generation
from streamsd.engine.phase import Life, Phase
from streamsd.engine.view import ResourceView, UnitView


@dataclass
class World:
    """`ready`: what a unit's readiness probe last said; units without one are not in it. `condemned`: running units
    that must be replaced, with the reason in words."""

    clock: Clock
    chance: random.Random
    generation: Generation = field(default_factory=Generation)
    units: dict[Address, dict[str, ObservedUnit]] = field(default_factory=dict)
    lives: dict[UnitId, Life] = field(default_factory=dict)
    measured: dict[Address, Observation] = field(default_factory=dict)
    ready: dict[UnitId, tuple[bool, str]] = field(default_factory=dict)
    condemned: dict[UnitId, str] = field(default_factory=dict)
    held: set[Address] = field(default_factory=set)

    def life(self, unit: UnitId) -> Life:
        return self.lives.get(unit, _NEW)

    def observed(self, unit: UnitId) -> ObservedUnit | None:
        return self.units.get(unit.address, {}).get(unit.role)

    def put(self, observed: ObservedUnit) -> None:
        self.units.setdefault(observed.id.address, {})[observed.id.role] = observed

    def forget(self, unit: UnitId) -> None:
        """The runtime no longer has it."""
        roles = self.units.get(unit.address)
        if roles is not None:
            roles.pop(unit.role, None)
            if not roles:
                del self.units[unit.address]
        self.ready.pop(unit, None)
        self.condemned.pop(unit, None)
        self.unmeasure(unit)

    def unmeasure(self, unit: UnitId) -> None:
        """What was measured of a process says nothing of the next one: its live parts are not known any more."""
        seen = self.measured.get(unit.address)
        desired = self.generation.resources.get(unit.address)
        if seen is not None and desired is not None:
            parts = desired.compiled.live
            live = {k: v for k, v in seen.live.items() if k not in parts or parts[k].role != unit.role}
            findings = tuple(f for f in seen.findings if f.role != unit.role)
            self.measured[unit.address] = replace(seen, live=live, findings=findings)

    def unacquainted(self, desired: Desired) -> bool:
        """Whether it runs since before this controller and has not been asked yet what it has live."""
        address = desired.address
        return bool(desired.compiled.live) and address in self.units and address not in self.measured

    def drop(self, address: Address) -> None:
        """The resource is gone for good."""
        for unit in [u for u in self.lives if u.address == address]:
            del self.lives[unit]
            self.ready.pop(unit, None)
            self.condemned.pop(unit, None)
        self.measured.pop(address, None)
        self.held.discard(address)

    def policy(self, unit: UnitId) -> RestartPolicy:
        desired = self.generation.resources.get(unit.address)
        if desired is None:
            return RestartPolicy()
        return next((u.restart for u in desired.compiled.units if u.id.role == unit.role), RestartPolicy())

    def forgive(self, reason: str) -> None:
        """What ended for that reason may be started at once."""
        for unit, life in self.lives.items():
            if life.phase is Phase.WAITING and life.reason == reason:
                self.lives[unit] = phase.stopped(life, self.clock.monotonic())

    def ended(self, unit: UnitId, *, code: int | None, reason: str, message: str) -> Life:
        """A process ended by itself or because a probe condemned it: its life goes on from there."""
        life = phase.exited(
            self.life(unit),
            self.policy(unit),
            code=code,
            reason=reason,
            message=message,
            now=self.clock.monotonic(),
            chance=self.chance,
        )
        self.lives[unit] = life
        self.ready.pop(unit, None)
        self.unmeasure(unit)
        return life

    def adopt(self, found: Mapping[UnitId, ObservedUnit], known_until: float) -> set[Address]:
        """Take what the runtime has as what there is. Returns the resources that are not as they were thought to be.

        `known_until`: what happened after that moment (boot clock) is known better here than there.
        """
        now = self.clock.monotonic()
        changed: set[Address] = set()
        for address, roles in list(self.units.items()):
            for role in list(roles):
                unit = UnitId(address, role)
                if unit not in found and self.life(unit).since <= known_until:
                    changed.add(address)
                    self.forget(unit)
                    if self.life(unit).phase in (Phase.STARTING, Phase.RUNNING):
                        self.ended(unit, code=None, reason="Vanished", message="vanished from the runtime")
        for unit, observed in found.items():
            before = self.observed(unit)
            life = self.life(unit)
            if life.since > known_until or before == observed:
                continue
            changed.add(unit.address)
            self.put(observed)
            if before is not None and before.pid != observed.pid:
                self.ready.pop(unit, None)
                self.condemned.pop(unit, None)
            if observed.state is ProcessState.EXITED:
                if life.phase is Phase.ABSENT:  # an earlier controller's, which had started it
                    self.lives[unit] = phase.adopted(now)
                if self.life(unit).phase in (Phase.STARTING, Phase.RUNNING):
                    self.ended(
                        unit, code=observed.exit_code, reason=exit_reason(observed), message=exit_words(observed)
                    )
            elif life.phase in (Phase.ABSENT, Phase.WAITING, Phase.ENDED):
                self.lives[unit] = phase.adopted(now)
        return changed

    def view(self, address: Address) -> ResourceView:
        now = self.clock.monotonic()
        roles = self.units.get(address, {})
        names = set(roles)
        desired = self.generation.resources.get(address)
        if desired is not None:
            names |= {u.id.role for u in desired.compiled.units if u.id in self.lives}
        units = {}
        for role in names:
            unit = UnitId(address, role)
            life = self.life(unit)
            observed = roles.get(role)
            units[role] = UnitView(
                observed=observed,
                due=life.due(now) or (observed is None and life.phase in (Phase.STARTING, Phase.RUNNING)),
                ended=life.phase is Phase.ENDED,
                ready=(life.phase is Phase.RUNNING and observed is not None) or life.done,
                condemned=self.condemned.get(unit, ""),
                last=life.message,
            )
        seen = self.measured.get(address)
        return ResourceView(units, seen.live if seen else {}, held=address in self.held)

    def views(self) -> Mapping[Address, ResourceView]:
        return _Views(self)


class _Views(Mapping[Address, ResourceView]):
    """Views of all resources, each made when it is looked at."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._made: dict[Address, ResourceView] = {}

    def __getitem__(self, address: Address) -> ResourceView:
        if address not in self:
            raise KeyError(address)
        if address not in self._made:
            self._made[address] = self._world.view(address)
        return self._made[address]

    def __contains__(self, address: object) -> bool:
        return address in self._world.units or address in self._world.generation.resources

    def __iter__(self) -> Iterator[Address]:
        yield from self._world.units
        yield from (a for a in self._world.generation.resources if a not in self._world.units)

    def __len__(self) -> int:
        return sum(1 for _ in self)


_NEW = Life()


def exit_reason(observed: ObservedUnit) -> str:
    """How it ended, for programs."""
    if observed.oom:
        return "OutOfMemory"
    return "Killed" if (observed.exit_code or 0) < 0 else "Exited"


def exit_words(observed: ObservedUnit) -> str:
    """How it ended, for people."""
    code = observed.exit_code
    if observed.oom:
        return "was killed: it used more memory than its limit"
    if code is None:
        return "ended"
    return f"was killed by signal {-code}" if code < 0 else f"exited with {code}"
