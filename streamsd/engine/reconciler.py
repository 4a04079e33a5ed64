"""The reconciler: keeps the world as the accepted generation says, whatever happens.

Level-triggered. Whatever makes a resource worth a look (a new generation, an exit, a probe, a measurement, a timer, a
slow resync) puts its address into one set; a pass plans for what is in the set and not under way, and the executor
carries it out. What a step changed is looked at again, until nothing is left to do.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from streamsd.core.address import Address
from streamsd.core.clock import Clock
from streamsd.core.conditions import Conditions
from streamsd.core.events import Event
from streamsd.core.kind import Registry
from streamsd.core.runtime import Exited, ProcessState, Runtime
from streamsd.core.unit import RestartPolicy, Unit
from streamsd.engine import phase, planner
from streamsd.engine.desired import Desired, Generation
from streamsd.engine.executor import Asking, Executor
from streamsd.engine.happenings import Happenings
from streamsd.engine.judgement import Judgement
from streamsd.engine.listener import Listener
from streamsd.engine.phase import Phase
from streamsd.engine.plan import Action
from streamsd.engine.status import Setback
from streamsd.engine.survey import Survey
from streamsd.engine.timers import Timers
from streamsd.engine.watch import Watch
from streamsd.engine.world import World, exit_reason, exit_words
from streamsd.runtime.probes import asker

_SETBACK = RestartPolicy(base=0.5, cap=30.0, crash_loop=8)
"""How long to wait before a stop or a change in place that failed is tried again."""


class Reconciler:
    """`emit(event)` keeps and tells an event. `discard(address)` removes what a deleted resource left on disk.
    `told(address)`: the number of the newest happening of it that the event log has, 0 when there is none."""

    def __init__(
        self,
        runtime: Runtime,
        registry: Registry,
        *,
        clock: Clock,
        chance: random.Random,
        emit: Callable[[Event], None],
        discard: Callable[[Address], None],
        told: Callable[[Address], int],
        ask: Asking = asker,
    ) -> None:
        self.world = World(clock, chance)
        self.observed_generation = 0
        self._runtime = runtime
        self._clock = clock
        self._emit = emit
        self._dependents: dict[Address, set[Address]] = {}
        self._settled: dict[Address, Desired] = {}
        self._dirty: set[Address] = set()
        self._unseen: set[Address] = set()
        """Not planned for under the accepted generation yet."""
        self._busy: dict[Address, frozenset[Address]] = {}
        """With what each depended on when its steps were planned."""
        self._forced: dict[Address, frozenset[str]] = {}
        self._actions: dict[Address, Action] = {}
        self._timers = Timers(clock, self.look)
        self._setbacks: dict[Address, Setback] = {}
        self._waves: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._moved = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._broken: asyncio.Future[None] | None = None
        self.executor = Executor(
            runtime,
            self.world,
            registry,
            clock,
            emit=self.tell,
            on_started=self._started,
            on_moved=self._unit_moved,
            on_exit=lambda observed: self._listener.exited(Exited(observed)),
            on_happened=Happenings(emit, told).take,
            discard=discard,
            ask=ask,
        )
        self._watch = Watch(self.world, registry, self.executor.live, clock, self.look, ask)
        self._listener = Listener(
            runtime,
            self.world,
            self.executor,
            clock,
            self._busy.keys(),
            tell=self.tell,
            look=self.look,
            look_everywhere=self._look_everywhere,
            adopted=self._adopted,
            recovered=self._recovered,
        )
        self._judgement = Judgement(
            self.world, clock, self._dirty, self._busy.keys(), self._actions, self._setbacks, tell=self.tell
        )
        self.survey = Survey(self.world, self.executor.live, self._listener, self._busy.keys(), self._before, self.look)

    # -- what others ask

    @property
    def conditions(self) -> Mapping[Address, Conditions]:
        """What is true of each resource."""
        return self._judgement.conditions

    async def start(self) -> None:
        """Join the runtime and adopt what runs. Nothing is touched before the first `accept`."""
        await self._runtime.connect()
        self.world.adopt(await self._runtime.observe(), math.inf)
        loop = asyncio.get_running_loop()
        self._broken = loop.create_future()
        self._tasks = [
            loop.create_task(self._passes()),
            loop.create_task(self._listener.listen()),
            loop.create_task(self._listener.resync()),
        ]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    async def close(self) -> None:
        """Let go: everything goes on running."""
        tasks = [*self._tasks, *self._waves]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._timers.close()
        await self._watch.close()
        await self._runtime.close()
        if self._broken is not None:
            self._broken.cancel()

    async def broken(self) -> None:
        """Wait until the reconciler cannot go on, which is a programming error: raises it. What runs goes on running,
        and the next controller adopts it; one that looks alive and does nothing would be worse."""
        assert self._broken is not None, "not started"
        await asyncio.shield(self._broken)

    def accept(self, generation: Generation) -> None:
        """Make this the desired state."""
        old = self.world.generation
        self.world.generation = generation
        before = self._dependents
        self._dependents = generation.dependents()
        touched = {a for a, desired in generation.resources.items() if old.resources.get(a) is not desired}
        touched |= {a for a in (*old.resources, *self.world.units) if a not in generation.resources}
        touched |= self.world.held
        self._fresh_chance(generation, old)
        self.world.held.clear()
        for address in generation.resources:
            self._judgement.conditions.setdefault(address, Conditions())
        self._watch.follow()
        # with all that stands on what changed: it may have to stop before and start after
        waiting = list(touched)
        while waiting:
            for dependent in (*before.get(address := waiting.pop(), ()), *self._dependents.get(address, ())):
                if dependent not in touched:
                    touched.add(dependent)
                    waiting.append(dependent)
        for address in touched:
            self._setbacks.pop(address, None)
        self._dirty |= touched
        self._unseen = {a for a in self._unseen | touched if a in generation.resources or a in self.world.units}
        self._wake.set()
        for starting in self.executor.changed.values():
            starting.set()  # what is no longer wanted need not be waited for

    def _fresh_chance(self, generation: Generation, old: Generation) -> None:
        """What failed as it was declared before need not wait as it is declared now; what an earlier controller left
        is judged by its own policy; and running processes are asked what is to be asked now."""
        now = self._clock.monotonic()
        for address, desired in generation.resources.items():
            was = old.resources.get(address)
            if was is desired:
                continue
            before = {unit.id.role: unit for unit in was.compiled.units} if was else {}
            for unit in desired.compiled.units:
                life, observed = self.world.life(unit.id), self.world.observed(unit.id)
                if was is None and observed is not None and observed.state is ProcessState.EXITED:
                    self.world.lives[unit.id] = phase.adopted(now)
                    self.world.ended(
                        unit.id, code=observed.exit_code, reason=exit_reason(observed), message=exit_words(observed)
                    )
                elif was is not None and was.hashes.get(unit.id.role) != desired.hashes[unit.id.role]:
                    if life.phase in (Phase.WAITING, Phase.ENDED):
                        self.world.lives[unit.id] = phase.stopped(life, now)
                elif unit.id.role not in before or before[unit.id.role].probes != unit.probes:
                    self._adopted(unit)

    def look(self, address: Address) -> None:
        """Something about this resource may have changed."""
        self._dirty.add(address)
        self._wake.set()

    def is_due(self, address: Address) -> bool:
        """Whether it is to be looked at still."""
        return address in self._dirty

    def force(self, address: Address, roles: frozenset[str]) -> None:
        """Restart these roles."""
        self._forced[address] = self._forced.get(address, frozenset()) | roles
        # what follows it is looked at together with it: to be stopped before, and started after
        for each in self._with_dependents([address]):
            self.look(each)

    def hold(self, addresses: Iterable[Address]) -> set[Address]:
        """Stop resources and all that depends on them until the next accept; returns all of them."""
        held = self._with_dependents(addresses)
        self.world.held |= held
        for starting in self.executor.changed.values():
            starting.set()
        for address in held:
            self.look(address)
        return held

    def _with_dependents(self, addresses: Iterable[Address]) -> set[Address]:
        found: set[Address] = set()
        waiting = list(addresses)
        while waiting:
            address = waiting.pop()
            if address not in found:
                found.add(address)
                waiting += self._dependents.get(address, ())
        return found

    def converged(self) -> bool:
        """Whether every resource is as declared and serves (or has ended as it should)."""
        return self.observed_generation == self.world.generation.number and self._judgement.converged()

    def failed(self) -> list[Address]:
        """Resources that do not serve and that waiting will not help."""
        return self._judgement.failed()

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
        scope = {a for a in self._dirty if a not in self._busy and not self._must_wait(a)}
        scope -= {a for a in scope if a in self._setbacks and self._setbacks[a].until > now}
        if not scope:
            for address in [a for a in self._dirty if a in self._setbacks and a not in self._timers]:
                self._judgement.judge(address)
                self._set_timer(address)
            self._observed()
            return
        self._dirty -= scope
        self._unseen -= scope
        forced = {a: self._forced.pop(a) for a in scope if a in self._forced}
        plan = planner.plan(world.generation, world.views(), self._before(), scope, forced)
        actions = {action.address: action for action in plan.actions}
        for address in scope:
            if address in actions:
                self._actions[address] = actions[address]
                desired = world.generation.resources.get(address)
                if desired is not None:
                    # from now on something of it may run, and has to be stopped in the right order
                    self._settled.setdefault(address, desired)
                self._busy[address] = desired.dependencies if desired else frozenset()
                self._listener.moving(address)
            else:
                was = self._actions.pop(address, None)
                self._setbacks.pop(address, None)  # nothing is left that could fail again
                if address in world.generation.resources:
                    self._settled[address] = world.generation.resources[address]
                elif address not in world.units:
                    self._settled.pop(address, None)
                    if self._judgement.conditions.pop(address, None) is not None or was is not None:
                        self.executor.delete(address)
        for action in plan.actions:
            drift = " (drift)" if action.drift else ""
            self.tell("action", action.address, action=action.action.value, cause=action.cause + drift)
        if plan.steps:
            wave = asyncio.get_running_loop().create_task(self.executor.run(plan, world.generation, self._wave_done))
            self._waves.add(wave)
            wave.add_done_callback(self._wave_over)
        for address in {*scope, *(a for a in self._dirty if a in self._setbacks)}:
            self._judgement.judge(address)
            self._set_timer(address)
        self._observed()
        self._notify()

    def _observed(self) -> None:
        """Whether every resource has been planned for under the accepted generation."""
        if not self._unseen:
            self.observed_generation = self.world.generation.number

    def _must_wait(self, address: Address) -> bool:
        """Whether steps of others have to end first: of what it stands on, and when it goes, of what stands on it."""
        desired = self.world.generation.resources.get(address)
        if desired is None:
            return any(address in dependencies for dependencies in self._busy.values())
        return not self._busy.keys().isdisjoint(desired.dependencies)

    def _wave_done(self, address: Address, setback: str) -> None:
        self._busy.pop(address, None)
        if setback:
            count = self._setbacks[address].count + 1 if address in self._setbacks else 1
            # not the first time at once, as a process is: what failed just now fails again
            pause = phase.delay(_SETBACK, count, self.world.chance)
            self._setbacks[address] = Setback(count, self._clock.monotonic() + pause, setback)
        else:
            self._setbacks.pop(address, None)
        self._dirty.add(address)
        self._dirty |= self._dependents.get(address, set()) & set(self.world.generation.resources)
        self._wake.set()

    def _wave_over(self, wave: asyncio.Task[None]) -> None:
        self._waves.discard(wave)
        self._ended(wave, may_end=True)

    def _ended(self, task: asyncio.Task[None], *, may_end: bool = False) -> None:
        if task.cancelled() or self._broken is None or self._broken.done():
            return
        error = task.exception()
        if error is not None or not may_end:
            self._broken.set_exception(error or RuntimeError(f"{task.get_name()} has ended"))
            self._broken.exception()  # whoever waits gets it; nobody has to

    def _set_timer(self, address: Address) -> None:
        """Look again when the next of its processes may be restarted."""
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
        if address in self._setbacks and self._setbacks[address].until > now:
            due.append(self._setbacks[address].until)
        self._timers.set(address, min(due) - now + 0.001 if due else None)

    def _notify(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    # -- what the world tells

    def _started(self, unit: Unit) -> None:
        self._watch.started(unit)
        self._unit_moved(unit.id.address)

    def _unit_moved(self, address: Address) -> None:
        """One of its processes has come or gone, and more steps follow: it is not ready while it restarts."""
        self._judgement.judge(address)
        self._notify()

    def _adopted(self, unit: Unit) -> None:
        if self.world.life(unit.id).phase is Phase.RUNNING:
            self._watch.started(unit)

    def _recovered(self) -> None:
        self._setbacks.clear()
        self._look_everywhere()

    def _look_everywhere(self) -> None:
        self._dirty |= set(self.world.generation.resources) | set(self.world.units)
        self._wake.set()
