"""The executor: carries out a plan's steps in their order, many at once, and says which failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, assert_never

from streamsd.core.address import Address, UnitId
from streamsd.core.clock import Clock
from streamsd.core.kind import Happening, PatchFault, Registry
from streamsd.core.runtime import ObservedUnit, ProcessState, Runtime, RuntimeFault
from streamsd.core.unit import Check, Probe, Unit
from streamsd.engine import phase
from streamsd.engine.desired import Desired, Generation, start_levels
from streamsd.engine.live import LiveParts
from streamsd.engine.phase import Phase
from streamsd.engine.plan import Patch, Plan, Start, Step, Stop
from streamsd.engine.world import World
from streamsd.runtime.files import revealed
from streamsd.runtime.probes import Asker, asker

_AT_ONCE = 48
"""Steps under way together: enough to hide the latency of starting, few enough to leave the host some air."""
_SLOW_START = 2.0
"""Seconds after which a start that still waits for its probe gives its place to others: a stream whose server is down
must not keep a crashed display from coming back."""


class Asking(Protocol):
    """How probes are made of checks: `streamsd.runtime.probes.asker`, or what stands in for it."""

    def __call__(self, check: Check, *, env: Mapping[str, str]) -> Asker: ...


class StepFailed(Exception):
    """A step that did not reach its end. What failed is in the world already, as a life or a measured difference."""


@dataclass
class Executor:
    """`emit(event, address, **fields)` tells what happened; `on_started(unit)` is called when a startup probe has
    succeeded, `on_moved(address)` when one of its processes has come or gone, `on_exit(observed)` when a process had
    ended before the runtime said that it was started; `discard(address)` removes what a deleted resource left on disk.

    `on_happened(address, happenings)`: what a measured resource's processes tell of, old and new.

    `changed`: of each unit that is being started, what wakes whoever waits for its probe. `early`: exits of units whose
    start has not been answered yet.
    """

    runtime: Runtime
    world: World
    registry: Registry
    clock: Clock
    emit: Callable[..., None]
    on_started: Callable[[Unit], None]
    on_moved: Callable[[Address], None]
    on_exit: Callable[[ObservedUnit], None]
    on_happened: Callable[[Address, Sequence[Happening]], None]
    discard: Callable[[Address], None]
    ask: Asking = asker
    changed: dict[UnitId, asyncio.Event] = field(default_factory=dict)
    early: dict[UnitId, ObservedUnit] = field(default_factory=dict)
    stopping: set[UnitId] = field(default_factory=set)
    setbacks: dict[Address, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self.live = LiveParts(self.runtime, self.world, self.registry, self.emit, self.on_happened)

    async def run(self, plan: Plan, generation: Generation, wave_done: Callable[[Address, str], None]) -> None:
        """Carry out all steps of a plan that was made for `generation`; those behind a failed one are left out, and
        those of resources that are declared otherwise meanwhile. Never raises for what a step does.

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
                # shielded: a wave that is cancelled must not cancel what others wait for too
                befores = [await asyncio.shield(outcomes[before]) for before in sorted(plan.after.get(index, ()))]
                if not all(befores):
                    self._skip(step, "an earlier step failed")
                elif self._stale(step, generation):
                    self._skip(step, "a newer profile wants it otherwise")
                else:
                    ok = await self._perform(step)
            finally:
                outcomes[index].set_result(ok)
                left[step.address] -= 1
                if left[step.address] == 0:
                    wave_done(step.address, self.setbacks.pop(step.address, ""))

        async with asyncio.TaskGroup() as group:
            for index, step in enumerate(plan.steps):
                group.create_task(one(index, step))

    def _skip(self, step: Step, why: str) -> None:
        self.emit("step-skipped", step.address, step=type(step).__name__.lower(), why=why)

    def _stale(self, step: Step, generation: Generation) -> bool:
        """Whether the step was planned for something that is no longer wanted: the next pass plans it anew."""
        if not isinstance(step, Stop) and step.address in self.world.held:
            return True
        planned = generation.resources.get(step.address)
        now = self.world.generation.resources.get(step.address)
        return now is not planned and now != planned

    async def _perform(self, step: Step) -> bool:
        try:
            match step:
                case Stop():
                    async with self._slots:
                        await self._stop(step)
                case Start():
                    await self._start(step)
                case Patch():
                    async with self._slots:
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

    def delete(self, address: Address) -> None:
        """Nothing of the resource runs and it is not declared: forget it, and remove what it left on disk."""
        self.world.drop(address)
        self.live.forget(address)
        self.discard(address)
        self.emit("resource-deleted", address)

    # -- stopping

    async def _stop(self, step: Stop) -> None:
        for level in step.levels or (tuple(sorted(step.roles)),):
            stops = [self._stop_one(UnitId(step.address, role)) for role in level]
            for result in await asyncio.gather(*stops, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result

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
        self.on_moved(unit.address)

    # -- starting

    async def _start(self, step: Start) -> None:
        desired = self._desired(step.address)
        for level in start_levels(desired.compiled, step.roles):
            results = await asyncio.gather(
                *(self._start_one(desired, desired.compiled.unit(role)) for role in level), return_exceptions=True
            )
            failures = [r for r in results if isinstance(r, BaseException)]
            if any(not isinstance(f, StepFailed) for f in failures):
                raise next(f for f in failures if not isinstance(f, StepFailed))
            needed = {r for u in desired.compiled.units for r in u.after if u.id.role in step.roles}
            # what may be missing holds up only what comes after it
            broken = {role for role, r in zip(level, results, strict=True) if isinstance(r, BaseException)}
            if broken & (needed | desired.required):
                raise StepFailed
        await self.live.settle(desired)

    async def _start_one(self, desired: Desired, unit: Unit) -> None:
        slot = _Slot(self._slots)
        await slot.take()
        self.changed[unit.id] = asyncio.Event()
        try:
            try:
                observed = await self.runtime.start(unit, desired.hashes[unit.id.role])
            except RuntimeFault as fault:
                self._failed(unit, fault.reason, str(fault))
                raise StepFailed from fault
            self.world.lives[unit.id] = phase.spawned(self.world.life(unit.id), self.clock.monotonic())
            self.world.put(observed)
            self.emit("process-started", unit.id.address, role=unit.id.role, pid=observed.pid)
            early = self.early.pop(unit.id, observed)
            if early.pid == observed.pid and early.state is ProcessState.EXITED:
                self.on_exit(early)
                raise StepFailed
            self.on_moved(unit.id.address)
            await self._await_startup(unit, observed.pid, slot)
            self.world.lives[unit.id] = phase.started(self.world.life(unit.id), self.clock.monotonic())
            self.on_started(unit)
        finally:
            slot.give_back()
            self.changed.pop(unit.id, None)
            self.early.pop(unit.id, None)

    async def _await_startup(self, unit: Unit, pid: int, slot: _Slot) -> None:
        probe: Probe = unit.probes.startup
        ask = self.ask(probe.check, env=plain_environment(unit))
        began = self.clock.monotonic()
        event = self.changed[unit.id]
        while True:
            event.clear()
            if self.world.life(unit.id).phase is not Phase.STARTING:
                raise StepFailed  # it ended meanwhile: whoever saw that has said so
            if self._superseded(unit):
                self.emit(
                    "start-abandoned", unit.id.address, role=unit.id.role, why="a newer profile wants it otherwise"
                )
                await self._stop_one(unit.id)
                raise StepFailed
            answer = await ask.ask(pid, probe.timeout)
            if self.world.life(unit.id).phase is not Phase.STARTING:
                raise StepFailed
            if answer.ok:
                return
            waited = self.clock.monotonic() - began
            if waited >= unit.probes.within:
                await self._give_up(unit, answer.message)
            if waited >= _SLOW_START:
                slot.give_back()
            waits = {
                asyncio.ensure_future(event.wait()),
                asyncio.ensure_future(self.clock.sleep(min(probe.interval, 1.0))),
            }
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in waits:
                    task.cancel()

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
        except RuntimeFault:
            self.world.condemned[unit.id] = words  # nobody waits for it any more: the next plan ends it
            raise
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
        self.on_moved(unit.id.address)

    # -- changing in place

    async def _patch(self, step: Patch) -> None:
        desired = self._desired(step.address)
        for role in sorted(step.limits):
            await self.live.limit(desired.compiled.unit(role))
        if step.parts:
            await self.live.set(desired, step.parts)

    def _desired(self, address: Address) -> Desired:
        desired = self.world.generation.resources.get(address)
        if desired is None:
            raise StepFailed  # a newer apply removed it meanwhile
        return desired

    def _tell(self, unit: UnitId) -> None:
        event = self.changed.get(unit)
        if event:
            event.set()


class _Slot:
    """One place among the steps under way. Given back once, however often that is said."""

    def __init__(self, slots: asyncio.Semaphore) -> None:
        self._slots = slots
        self._taken = False

    async def take(self) -> None:
        await self._slots.acquire()
        self._taken = True

    def give_back(self) -> None:
        if self._taken:
            self._taken = False
            self._slots.release()


def plain_environment(unit: Unit) -> dict[str, str]:
    """The unit's own environment with its secrets, for probes that run a command."""
    return {name: revealed(value) for name, value in unit.env.items()}
