"""What the runtime tells, and what it has to be asked: exits, its own end, and a slow look at everything."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field

from streamsd.core.address import Address
from streamsd.core.clock import Clock
from streamsd.core.runtime import Exited, ProcessState, Runtime, RuntimeFault, RuntimeLost
from streamsd.core.unit import Unit
from streamsd.engine.executor import Executor
from streamsd.engine.phase import Phase
from streamsd.engine.world import World, exit_reason, exit_words

_RESYNC = 30.0
"""Seconds between looks at everything, for what nobody told."""


@dataclass
class Listener:
    """Writes to the world what has happened to processes that nobody here did.

    `busy`: the resources that steps are under way for. `tell(event, address, **fields)` an event; `look(address)`: it
    is worth a look; `look_everywhere()`: all are; `adopted(unit)`: it may run without having been started here;
    `recovered()`: the runtime is back after a loss.
    """

    runtime: Runtime
    world: World
    executor: Executor
    clock: Clock
    busy: Collection[Address]
    tell: Callable[..., None]
    look: Callable[[Address], None]
    look_everywhere: Callable[[], None]
    adopted: Callable[[Unit], None]
    recovered: Callable[[], None]
    _asks: list[set[Address]] = field(default_factory=list)
    """For each question to the runtime that is under way: what moved meanwhile, and is known better here."""

    def moving(self, address: Address) -> None:
        """Steps of the resource begin."""
        for ask in self._asks:
            ask.add(address)

    async def listen(self) -> None:
        """Take in what the runtime tells, until cancelled; when it is lost, join it again."""
        while True:
            event = await self.runtime.next_event()
            match event:
                case Exited():
                    self.exited(event)
                case RuntimeLost(reason):
                    await self._recover(reason)

    def exited(self, event: Exited) -> None:
        """A process has ended. Nothing when that was asked for, or is known."""
        observed = event.unit
        unit = observed.id
        known = self.world.observed(unit)
        if unit in self.executor.stopping:
            return
        if known is None and unit in self.executor.changed:
            self.executor.early[unit] = observed  # its start has not been answered yet: whoever waits for that says so
            return
        if known is None or known.pid != observed.pid:
            return  # of a process that was stopped and forgotten meanwhile
        if self.world.life(unit).phase not in (Phase.STARTING, Phase.RUNNING):
            return  # known already: the runtime was asked before it told
        self.moving(unit.address)
        self.world.put(observed)
        reason = exit_reason(observed)
        life = self.world.ended(unit, code=observed.exit_code, reason=reason, message=exit_words(observed))
        wait = max(0.0, life.retry_at - self.clock.monotonic()) if life.phase is Phase.WAITING else None
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
                await self.runtime.connect()
                asked_at = self.clock.monotonic()
                found = await self.runtime.observe()
            except RuntimeFault as fault:
                self.tell("runtime-unreachable", reason=fault.reason, message=str(fault))
                await self.clock.sleep(pause)
                pause = min(pause * 2, 10.0)
                continue
            break
        self.tell("runtime-recovered", processes=len(found))
        self.world.adopt(found, asked_at)
        self.world.forgive("RuntimeLost")
        for waiting in self.executor.changed.values():
            waiting.set()
        for desired in self.world.generation.resources.values():
            for unit in desired.compiled.units:
                self.adopted(unit)
        self.recovered()

    async def resync(self) -> None:
        """Now and then a look at everything, until cancelled."""
        while True:
            await self.clock.sleep(_RESYNC)
            with suppress(RuntimeFault):  # `listen` hears of a lost runtime
                await self.look_at_all()
            self.look_everywhere()

    async def look_at_all(self) -> None:
        """Take over what the runtime says, but for what is worked on or moves meanwhile. RuntimeFault when it does not
        answer."""
        moving = set(self.busy)
        self._asks.append(moving)
        asked_at = self.clock.monotonic()
        try:
            found = await self.runtime.observe()
        finally:
            self._asks[:] = [ask for ask in self._asks if ask is not moving]  # two may be equal
        mine = {u: o for u, o in found.items() if u.address not in moving}
        for address in moving:
            for observed in self.world.units.get(address, {}).values():
                mine[observed.id] = observed
        for observed in mine.values():
            if observed.state is ProcessState.EXITED:
                self.exited(Exited(observed))  # in case nobody told
        for address in self.world.adopt(mine, asked_at):
            desired = self.world.generation.resources.get(address)
            for unit in desired.compiled.units if desired else ():
                self.adopted(unit)
            self.look(address)
