"""The reconciler: keeps the world as the accepted generation says, whatever happens.

Level-triggered. Whatever makes a resource worth a look (a new generation, an exit, a probe, a measurement, a timer, a
slow resync) puts its address into one set; a pass plans for what is in the set and not under way, and the executor
carries it out. What a step changed is looked at again, until nothing is left to do.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from streamsd.core.address import Address
from streamsd.core.clock import Clock
from streamsd.core.conditions import Conditions
from streamsd.core.events import Event
from streamsd.core.kind import Registry
from streamsd.core.runtime import Exited, Runtime, RuntimeFault, RuntimeLost
from streamsd.core.unit import RestartPolicy, Unit
from streamsd.engine import phase, planner
from streamsd.engine.desired import Desired, Generation
from streamsd.engine.executor import Asking, Executor
from streamsd.engine.phase import Phase
from streamsd.engine.plan import Action, Plan
from streamsd.engine.status import judge
from streamsd.engine.watch import Watch
from streamsd.engine.world import World, exit_words
from streamsd.runtime.probes import asker

_RESYNC = 30.0
"""Seconds between looks at everything, for what nobody told."""
_SETBACK = RestartPolicy(base=0.5, cap=30.0, crash_loop=8)
"""How long to wait before a stop or a change in place that failed is tried again."""


class Reconciler:
    """`emit(event)` keeps and tells an event. `discard(address)` removes what a deleted resource left on disk."""

    def __init__(
        self,
        runtime: Runtime,
        registry: Registry,
        *,
        clock: Clock,
        chance: random.Random,
        emit: Callable[[Event], None],
        discard: Callable[[Address], None],
        ask: Asking = asker,
    ) -> None:
        self.world = World(clock, chance)
        self.conditions: dict[Address, Conditions] = {}
        self.observed_generation = 0
        self._runtime = runtime
        self._clock = clock
        self._emit = emit
        self._dependents: dict[Address, set[Address]] = {}
        self._settled: dict[Address, Desired] = {}
        self._dirty: set[Address] = set()
        self._busy: set[Address] = set()
        self._forced: dict[Address, frozenset[str]] = {}
        self._actions: dict[Address, Action] = {}
        self._timers: dict[Address, asyncio.Task[None]] = {}
        self._setbacks: dict[Address, tuple[int, float, str]] = {}
        self._waves: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._moved = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.executor = Executor(
            runtime,
            self.world,
            registry,
            clock,
            emit=self.tell,
            on_started=self._started,
            discard=discard,
            ask=ask,
        )
        self._watch = Watch(self.world, registry, self.executor, clock, self.look, ask)

    # -- what others ask

    async def start(self) -> None:
        """Join the runtime and adopt what runs. Nothing is touched before the first `accept`."""
        await self._runtime.connect()
        self.world.adopt(await self._runtime.observe(), self._clock.monotonic() + 1.0)
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._passes()),
            loop.create_task(self._listen()),
            loop.create_task(self._resync()),
        ]

    async def close(self) -> None:
        """Let go: everything goes on running."""
        tasks = [*self._tasks, *self._waves, *self._timers.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._watch.close()
        await self._runtime.close()

    def accept(self, generation: Generation) -> None:
        """Make this the desired state."""
        old = self.world.generation
        self.world.generation = generation
        before = self._dependents
        self._dependents = generation.dependents()
        touched = {a for a, desired in generation.resources.items() if old.resources.get(a) is not desired}
        touched |= {a for a in (*old.resources, *self.world.units) if a not in generation.resources}
        touched |= self.world.held
        self.world.held.clear()
        for address in list(self.conditions):
            if address not in generation.resources and address not in self.world.units:
                del self.conditions[address]
        for address in generation.resources:
            self.conditions.setdefault(address, Conditions())
        for address in generation.resources:
            fresh = address not in old.resources
            for unit in generation.resources[address].compiled.units if fresh else ():
                self._adopted(unit)
        self._watch.follow()
        # with all that stands on what changed: it may have to stop before and start after
        waiting = list(touched)
        while waiting:
            for dependent in (*before.get(address := waiting.pop(), ()), *self._dependents.get(address, ())):
                if dependent not in touched:
                    touched.add(dependent)
                    waiting.append(dependent)
        self._dirty |= touched
        self._wake.set()
        for starting in self.executor.changed.values():
            starting.set()  # what is no longer wanted need not be waited for

    def preview(self, generation: Generation) -> Plan:
        """What accepting this would do now. Touches nothing."""
        addresses = [*self.world.units, *generation.resources]
        views = {address: replace(self.world.view(address), held=False) for address in addresses}
        return planner.plan(generation, views, self._before())

    async def measure_all(self, resources: Iterable[Desired]) -> None:
        """Look freshly at limits and live parts, so that a plan tells drift."""
        fresh = [
            d for d in resources if d.compiled.live and d.address in self.world.units and d.address not in self._busy
        ]
        await asyncio.gather(*(self.executor.measure(d) for d in fresh))
        await self._look_at_all()

    def look(self, address: Address) -> None:
        """Something about this resource may have changed."""
        self._dirty.add(address)
        self._wake.set()

    def force(self, address: Address, roles: frozenset[str]) -> None:
        """Restart these roles."""
        self._forced[address] = self._forced.get(address, frozenset()) | roles
        self.look(address)

    def hold(self, addresses: Iterable[Address]) -> set[Address]:
        """Stop resources and all that depends on them until the next accept; returns all of them."""
        held: set[Address] = set()
        waiting = list(addresses)
        while waiting:
            address = waiting.pop()
            if address not in held:
                held.add(address)
                waiting += self._dependents.get(address, ())
        self.world.held |= held
        for starting in self.executor.changed.values():
            starting.set()
        for address in held:
            self.look(address)
        return held

    def converged(self) -> bool:
        """Whether every resource is as declared and serves (or has ended as it should)."""
        now = self._clock.monotonic()
        return (
            self.observed_generation == self.world.generation.number
            and not self._dirty
            and not self._busy
            and all(a in self.world.generation.resources for a in self.world.units)
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
            if a not in self._dirty
            and a not in self._busy
            and not self.conditions[a].is_true("Ready")
            and self.conditions[a].get("Ready") is not None
            and not self.conditions[a].is_true("Progressing")
        ]

    async def moved(self) -> None:
        """Wait until something about some resource's state has moved."""
        await self._moved.wait()

    def tell(self, event: str, address: Address | None = None, **fields: Any) -> None:
        """An event of the engine's."""
        self._emit(Event(self._clock.now(), event, str(address) if address else "", fields))

    # -- the passes

    def _before(self) -> Generation:
        return Generation(self.world.generation.number, "", self._settled)

    async def _passes(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._pass()

    def _pass(self) -> None:
        world = self.world
        now = self._clock.monotonic()
        scope = {a for a in self._dirty if a not in self._busy and not self._leader_busy(a)}
        scope -= {a for a in scope if self._setbacks.get(a, (0, 0.0, ""))[1] > now}
        if not scope:
            for address in [a for a in self._dirty if a in self._setbacks and a not in self._timers]:
                self._judge(address)
                self._set_timer(address)
            self._observed()
            return
        self._dirty -= scope
        forced = {a: self._forced.pop(a) for a in scope if a in self._forced}
        plan = planner.plan(world.generation, world.views(), self._before(), scope, forced)
        actions = {action.address: action for action in plan.actions}
        for address in scope:
            if address in actions:
                self._actions[address] = actions[address]
                self._busy.add(address)
            else:
                self._actions.pop(address, None)
                if address in world.generation.resources:
                    self._settled[address] = world.generation.resources[address]
                else:
                    self._settled.pop(address, None)
                    if address not in world.units:
                        self.conditions.pop(address, None)
        for action in plan.actions:
            drift = " (drift)" if action.drift else ""
            self.tell("action", action.address, action=action.action.value, cause=action.cause + drift)
        if plan.steps:
            wave = asyncio.get_running_loop().create_task(self.executor.run(plan, self._wave_done))
            self._waves.add(wave)
            wave.add_done_callback(self._wave_over)
        for address in {*scope, *(a for a in self._dirty if a in self._setbacks)}:
            self._judge(address)
            self._set_timer(address)
        self._observed()
        self._notify()

    def _observed(self) -> None:
        """Every resource has been planned for under the accepted generation, or is being worked on under it."""
        if self._dirty <= self._busy:
            self.observed_generation = self.world.generation.number

    def _leader_busy(self, address: Address) -> bool:
        desired = self.world.generation.resources.get(address)
        return desired is not None and not self._busy.isdisjoint(desired.dependencies)

    def _wave_done(self, address: Address, setback: str) -> None:
        self._busy.discard(address)
        if setback:
            count = self._setbacks.get(address, (0, 0.0, ""))[0] + 1
            # not the first time at once, as a process is: what failed just now fails again
            pause = phase.delay(_SETBACK, count, self.world.chance)
            self._setbacks[address] = (count, self._clock.monotonic() + pause, setback)
        else:
            self._setbacks.pop(address, None)
        self._dirty.add(address)
        self._dirty |= self._dependents.get(address, set()) & set(self.world.generation.resources)
        self._wake.set()

    def _wave_over(self, wave: asyncio.Task[None]) -> None:
        self._waves.discard(wave)
        if not wave.cancelled() and (error := wave.exception()):
            raise error

    def _set_timer(self, address: Address) -> None:
        """Look again when the next of its processes may be restarted."""
        old = self._timers.pop(address, None)
        if old is not None:
            old.cancel()
        now = self._clock.monotonic()
        lives = [
            self.world.life(unit.id)
            for desired in [self.world.generation.resources.get(address)]
            if desired is not None
            for unit in desired.compiled.units
        ]
        due = [life.retry_at for life in lives if life.phase is Phase.WAITING and life.retry_at > now]
        running = [life for life in lives if life.phase is Phase.RUNNING and not life.steady(now)]
        due += [life.since + phase.STEADY for life in running]
        if address in self._setbacks and self._setbacks[address][1] > now:
            due.append(self._setbacks[address][1])
        if due:

            async def later(seconds: float) -> None:
                await self._clock.sleep(seconds)
                self._timers.pop(address, None)
                self.look(address)

            self._timers[address] = asyncio.get_running_loop().create_task(later(min(due) - now + 0.001))

    def _judge(self, address: Address) -> None:
        desired = self.world.generation.resources.get(address)
        if desired is None:
            return
        verdicts = judge(
            desired,
            self.world,
            busy=address in self._busy,
            action=self._actions.get(address),
            blocked=self._blocked(desired),
        )
        conditions = self.conditions.setdefault(address, Conditions())
        now = self._clock.now()
        for v in verdicts:
            if conditions.set(v.type, v.status, v.reason, v.message, now=now):
                fields = {"type": str(v.type), "status": v.status, "reason": v.reason, "message": v.message}
                self.tell("condition-changed", address, **fields)

    def _blocked(self, desired: Desired) -> str:
        if desired.address in self._setbacks:
            return f"{self._setbacks[desired.address][2]}; tried again soon"
        for target in sorted(desired.dependencies):
            lead = self.world.generation.resources.get(target)
            if not planner.is_started(lead, self.world.view(target)) and not all(
                self.world.view(desired.address).unit(u.id.role).running for u in desired.compiled.units
            ):
                return f"waits for {target}"
        return ""

    def _notify(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    # -- what the world tells

    def _started(self, unit: Unit) -> None:
        self._watch.started(unit)
        self._judge(unit.id.address)
        self._notify()

    def _adopted(self, unit: Unit) -> None:
        if self.world.life(unit.id).phase is Phase.RUNNING:
            self._watch.started(unit)

    async def _listen(self) -> None:
        while True:
            event = await self._runtime.next_event()
            match event:
                case Exited():
                    self._exited(event)
                case RuntimeLost(reason):
                    await self._recover(reason)

    def _exited(self, event: Exited) -> None:
        observed = event.unit
        unit = observed.id
        known = self.world.observed(unit)
        if unit in self.executor.stopping:
            return
        starting = self.world.life(unit).phase is Phase.STARTING and known is None
        if not starting and (known is None or known.pid != observed.pid):
            return  # of a process that was stopped and forgotten meanwhile
        self.world.put(observed)
        reason = "OutOfMemory" if observed.oom else "Killed" if (observed.exit_code or 0) < 0 else "Exited"
        life = self.world.ended(unit, code=observed.exit_code, reason=reason, message=exit_words(observed))
        wait = max(0.0, life.retry_at - self._clock.monotonic()) if life.phase is Phase.WAITING else None
        self.tell(
            "process-exited",
            unit.address,
            role=unit.role,
            pid=observed.pid,
            code=observed.exit_code,
            reason=reason,
            retry_in=None if wait is None else round(wait, 3),
        )
        waiting = self.executor.changed.get(unit)
        if waiting:
            waiting.set()
        self.look(unit.address)

    async def _recover(self, reason: str) -> None:
        self.tell("runtime-lost", reason=reason)
        pause = 0.2
        while True:
            try:
                await self._runtime.connect()
                found = await self._runtime.observe()
            except RuntimeFault as fault:
                self.tell("runtime-unreachable", reason=fault.reason, message=str(fault))
                await self._clock.sleep(pause)
                pause = min(pause * 2, 10.0)
                continue
            break
        self.tell("runtime-recovered", processes=len(found))
        self.world.adopt(found, self._clock.monotonic() + 1.0)
        for waiting in self.executor.changed.values():
            waiting.set()
        for desired in self.world.generation.resources.values():
            for unit in desired.compiled.units:
                self._adopted(unit)
        self._dirty |= set(self.world.generation.resources)
        self._wake.set()

    async def _resync(self) -> None:
        while True:
            await self._clock.sleep(_RESYNC)
            await self._look_at_all()

    async def _look_at_all(self) -> None:
        """Take over what the runtime says, but for what is being worked on."""
        asked_at = self._clock.monotonic()
        try:
            found = await self._runtime.observe()
        except RuntimeFault:
            return  # the listener hears of a lost runtime
        mine = {u: o for u, o in found.items() if u.address not in self._busy}
        for address in self._busy:
            for observed in self.world.units.get(address, {}).values():
                mine[observed.id] = observed
        for address in self.world.adopt(mine, asked_at):
            if address not in self._busy:
                desired = self.world.generation.resources.get(address)
                for unit in desired.compiled.units if desired else ():
                    self._adopted(unit)
                self.look(address)
