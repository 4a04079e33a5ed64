"""The executor: carries out a plan's steps in their order, many at once, and says which failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, assert_never

from streamsd.core.address import Address, UnitId
from streamsd.core.clock import Clock
from streamsd.core.kind import PatchFault, Registry
from streamsd.core.runtime import ProcessState, Runtime, RuntimeFault
from streamsd.core.secret import Secret
from streamsd.core.unit import Check, Probe, Unit
from streamsd.engine import phase
from streamsd.engine.desired import Desired
from streamsd.engine.phase import Phase
from streamsd.engine.plan import Patch, Plan, Start, Step, Stop
from streamsd.engine.world import World
from streamsd.runtime.probes import Asker, asker

_AT_ONCE = 48
"""Steps under way together: enough to hide the latency of starting, few enough to leave the host some air."""
_OBSERVE_WITHIN = 5.0


class Asking(Protocol):
    """How probes are made of checks: `streamsd.runtime.probes.asker`, or what stands in for it."""

    def __call__(self, check: Check, *, env: Mapping[str, str]) -> Asker: ...


class StepFailed(Exception):
    """A step that did not reach its end. What failed is in the world already, as a life or a measured difference."""


@dataclass
class Executor:
    """`emit(event, address, **fields)` tells what happened; `on_started(unit)` is called when a startup probe has
    succeeded; `discard(address)` removes what a deleted resource left on disk."""

    runtime: Runtime
    world: World
    registry: Registry
    clock: Clock
    emit: Callable[..., None]
    on_started: Callable[[Unit], None]
    discard: Callable[[Address], None]
    ask: Asking = asker
    changed: dict[UnitId, asyncio.Event] = field(default_factory=dict)
    stopping: set[UnitId] = field(default_factory=set)
    setbacks: dict[Address, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def run(self, plan: Plan, wave_done: Callable[[Address, str], None]) -> None:
        """Carry out all steps; those behind a failed one are left out. Never raises for what a step does.

        `wave_done(address, setback)` is called when a resource's last step has ended; `setback` says what could not
        be done and has no life of its own to wait by: a stop or a change in place that failed.
        """
        outcomes: list[asyncio.Future[bool]] = [asyncio.get_running_loop().create_future() for _ in plan.steps]
        left: dict[Address, int] = {}
        self.setbacks.update(dict.fromkeys((step.address for step in plan.steps), ""))
        for step in plan.steps:
            left[step.address] = left.get(step.address, 0) + 1

        async def one(index: int, step: Step) -> None:
            ok = False
            try:
                befores = [await outcomes[before] for before in sorted(plan.after.get(index, ()))]
                if all(befores):
                    async with self._slots:
                        ok = await self._perform(step)
                else:
                    self.emit(
                        "step-skipped", step.address, step=type(step).__name__.lower(), why="an earlier step failed"
                    )
            finally:
                outcomes[index].set_result(ok)
                left[step.address] -= 1
                if left[step.address] == 0:
                    wave_done(step.address, self.setbacks.pop(step.address, ""))

        async with asyncio.TaskGroup() as group:
            for index, step in enumerate(plan.steps):
                group.create_task(one(index, step))

    async def _perform(self, step: Step) -> bool:
        try:
            match step:
                case Stop():
                    await self._stop(step)
                case Start():
                    await self._start(step)
                case Patch():
                    await self._patch(step)
                case _:
                    assert_never(step)
        except StepFailed:
            return False
        except (RuntimeFault, PatchFault) as fault:
            reason = fault.reason if isinstance(fault, RuntimeFault) else "PatchRefused"
            self.setbacks[step.address] = str(fault)
            self.emit("step-failed", step.address, step=type(step).__name__.lower(), reason=reason, message=str(fault))
            return False
        return True

    # -- stopping

    async def _stop(self, step: Stop) -> None:
        desired = self.world.generation.resources.get(step.address)
        order = _levels(desired, step.roles) if desired else [sorted(step.roles)]
        for level in reversed(order):
            await asyncio.gather(*(self._stop_one(UnitId(step.address, role)) for role in level))
        if step.delete:
            self.world.drop(step.address)
            self.discard(step.address)
            self.emit("resource-deleted", step.address)

    async def _stop_one(self, unit: UnitId) -> None:
        observed = self.world.observed(unit)
        condemned = self.world.condemned.get(unit)
        running = observed is not None and observed.state is not ProcessState.EXITED
        self.stopping.add(unit)
        try:
            await self.runtime.stop(unit)
        finally:
            self.stopping.discard(unit)
        self.world.forget(unit)
        self._tell(unit)
        desired = self.world.generation.resources.get(unit.address)
        same = desired is not None and observed is not None and desired.hashes.get(unit.role) == observed.spec_hash
        if condemned and running:
            life = self.world.ended(unit, code=None, reason="Unresponsive", message=condemned)
            wait = max(0.0, life.retry_at - self.clock.monotonic())
            self.emit("process-replaced", unit.address, role=unit.role, why=condemned, retry_in=round(wait, 3))
        elif running or not same:
            self.world.lives[unit] = phase.stopped(self.world.life(unit), self.clock.monotonic())
            self.emit("process-stopped", unit.address, role=unit.role, pid=observed.pid if observed else 0)

    # -- starting

    async def _start(self, step: Start) -> None:
        desired = self._desired(step.address)
        for level in _levels(desired, step.roles):
            results = await asyncio.gather(
                *(self._start_one(desired, desired.compiled.unit(role)) for role in level), return_exceptions=True
            )
            failures = [r for r in results if isinstance(r, BaseException)]
            if any(not isinstance(f, StepFailed) for f in failures):
                raise next(f for f in failures if not isinstance(f, StepFailed))
            needed = {r for u in desired.compiled.units for r in u.after if u.id.role in step.roles}
            broken = {role for role, r in zip(level, results, strict=True) if isinstance(r, BaseException)}
            if broken & (needed | desired.required):
                raise StepFailed
        await self._settle_live(desired)

    async def _start_one(self, desired: Desired, unit: Unit) -> None:
        self.changed[unit.id] = asyncio.Event()
        try:
            try:
                observed = await self.runtime.start(unit, desired.hashes[unit.id.role])
            except RuntimeFault as fault:
                life = self.world.ended(unit.id, code=None, reason=fault.reason, message=str(fault))
                wait = max(0.0, life.retry_at - self.clock.monotonic())
                fields = {
                    "role": unit.id.role,
                    "reason": fault.reason,
                    "message": str(fault),
                    "retry_in": round(wait, 3),
                }
                self.emit("process-failed", unit.id.address, **fields)
                raise StepFailed from fault
            self.world.lives[unit.id] = phase.spawned(self.world.life(unit.id), self.clock.monotonic())
            self.world.put(observed)
            self.emit("process-started", unit.id.address, role=unit.id.role, pid=observed.pid)
            await self._await_startup(unit, observed.pid)
            self.world.lives[unit.id] = phase.started(self.world.life(unit.id), self.clock.monotonic())
            self.on_started(unit)
        finally:
            self.changed.pop(unit.id, None)

    async def _await_startup(self, unit: Unit, pid: int) -> None:
        probe: Probe = unit.probes.startup
        ask = self.ask(probe.check, env=plain_environment(unit))
        deadline = self.clock.monotonic() + unit.probes.within
        event = self.changed[unit.id]
        while True:
            event.clear()
            if self._superseded(unit):
                self.emit(
                    "start-abandoned", unit.id.address, role=unit.id.role, why="a newer profile wants it otherwise"
                )
                await self._stop_one(unit.id)
                raise StepFailed
            answer = await ask.ask(pid, probe.timeout)
            if self.world.life(unit.id).phase is not Phase.STARTING:
                raise StepFailed  # it ended meanwhile: whoever saw that has said so
            if answer.ok:
                return
            if self.clock.monotonic() >= deadline:
                await self._give_up(unit, answer.message)
            wait = asyncio.ensure_future(event.wait())
            pause = asyncio.ensure_future(self.clock.sleep(min(probe.interval, 1.0)))
            _, pending = await asyncio.wait({wait, pause}, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            if self.world.life(unit.id).phase is not Phase.STARTING:
                raise StepFailed

    def _superseded(self, unit: Unit) -> bool:
        """Whether there is no use in waiting for it any longer: it is to run otherwise now, or not at all."""
        desired = self.world.generation.resources.get(unit.id.address)
        observed = self.world.observed(unit.id)
        if desired is None or unit.id.address in self.world.held or observed is None:
            return True
        return desired.hashes.get(unit.id.role) != observed.spec_hash

    async def _give_up(self, unit: Unit, message: str) -> None:
        words = f"did not start within {unit.probes.within:g} s: {message}"
        self.stopping.add(unit.id)
        try:
            await self.runtime.stop(unit.id)
        finally:
            self.stopping.discard(unit.id)
        self.world.forget(unit.id)
        self._failed(unit, "StartTimeout", words)
        raise StepFailed

    def _failed(self, unit: Unit, reason: str, message: str) -> None:
        life = self.world.ended(unit.id, code=None, reason=reason, message=message)
        wait = max(0.0, life.retry_at - self.clock.monotonic())
        fields = {"role": unit.id.role, "reason": reason, "message": message, "retry_in": round(wait, 3)}
        self.emit("process-failed", unit.id.address, **fields)

    # -- changing in place

    async def _settle_live(self, desired: Desired) -> None:
        """After a start: what the spec says beyond the command line is set on the new process."""
        if not desired.compiled.live:
            return
        await self.measure(desired)
        seen = self.world.measured.get(desired.address)
        have = seen.live if seen else {}
        differing = frozenset(k for k, part in desired.compiled.live.items() if have.get(k) != part.desired)
        if differing:
            await self._set_live(desired, differing)

    async def _patch(self, step: Patch) -> None:
        desired = self._desired(step.address)
        for role in sorted(step.limits):
            unit = desired.compiled.unit(role)
            await self.runtime.limit(unit.id, unit.limits)
            observed = self.world.observed(unit.id)
            if observed is not None:
                found = await self.runtime.observe()
                if unit.id in found:
                    self.world.put(found[unit.id])
            self.emit("limits-changed", step.address, role=role)
        if step.parts:
            await self._set_live(desired, step.parts)

    async def _set_live(self, desired: Desired, parts: frozenset[str]) -> None:
        kind = self.registry.named(desired.address.kind)
        await kind.patch(desired.resource, desired.compiled, parts)
        await self.measure(desired)
        seen = self.world.measured.get(desired.address)
        wrong = [
            k for k in sorted(parts) if seen and k in seen.live and seen.live[k] != desired.compiled.live[k].desired
        ]
        if wrong:
            raise PatchFault(f"{', '.join(wrong)} did not take")
        self.emit("resource-patched", desired.address, parts=sorted(parts))

    async def measure(self, desired: Desired) -> None:
        """Ask the kind what is, and keep it."""
        kind = self.registry.named(desired.address.kind)
        units = dict(self.world.units.get(desired.address, {}))
        try:
            async with asyncio.timeout(_OBSERVE_WITHIN):
                found = await kind.observe(desired.resource, desired.compiled, units)
        except TimeoutError:
            return
        self.world.measured[desired.address] = found

    def _desired(self, address: Address) -> Desired:
        desired = self.world.generation.resources.get(address)
        if desired is None:
            raise StepFailed  # a newer apply removed it meanwhile
        return desired

    def _tell(self, unit: UnitId) -> None:
        event = self.changed.get(unit)
        if event:
            event.set()


def _levels(desired: Desired, roles: frozenset[str]) -> list[list[str]]:
    """Roles in start order: each level needs only earlier ones. Roles that are no longer declared come first."""
    needs: Mapping[str, set[str]] = {
        u.id.role: set(u.after) & roles for u in desired.compiled.units if u.id.role in roles
    }
    levels = [sorted(roles - set(needs))] if roles - set(needs) else []
    done: set[str] = set()
    while len(done) < len(needs):
        level = sorted(role for role, wants in needs.items() if role not in done and wants <= done)
        if not level:  # a cycle within a kind: its own fault, but nothing may hang for it
            level = sorted(set(needs) - done)
        levels.append(level)
        done |= set(level)
    return levels


def plain_environment(unit: Unit) -> dict[str, str]:
    """The unit's own environment with its secrets, for probes that run a command."""
    return {name: value.reveal() if isinstance(value, Secret) else value for name, value in unit.env.items()}
