"""Looking freshly at what runs, and plans of what was seen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace

from streamsd.core.address import Address
from streamsd.core.runtime import RuntimeFault
from streamsd.engine import planner
from streamsd.engine.desired import Desired, Generation
from streamsd.engine.listener import Listener
from streamsd.engine.live import LiveParts
from streamsd.engine.plan import Plan
from streamsd.engine.waits import waits_of
from streamsd.engine.world import World


@dataclass
class Survey:
    """`busy`: the resources that steps are under way for. `settled()`: the resources as they were last planned for.
    `look(address)`: it is worth a look."""

    world: World
    live: LiveParts
    listener: Listener
    busy: Collection[Address]
    settled: Callable[[], Generation]
    look: Callable[[Address], None]

    def preview(self, generation: Generation) -> Plan:
        """What accepting this would do now, by what is known. Touches nothing."""
        views = {address: self.world.view(address) for address in {*self.world.units, *generation.resources}}
        views |= {address: replace(views[address], held=False) for address in self.world.held if address in views}
        plan = planner.plan(generation, views, self.settled())
        acted = {action.address for action in plan.actions}
        started = {a for a, desired in generation.resources.items() if planner.is_started(desired, views[a])}
        return replace(plan, waits=waits_of(generation, views, acted, self.busy, started))

    async def plan(self, generation: Generation) -> Plan:
        """What accepting this would do, by a fresh look at all that runs; what is seen is repaired afterwards, not
        before it was told. RuntimeFault when the runtime does not answer: nobody knows what runs then."""
        fresh = await self._measured(generation.resources.values())
        await self.listener.look_at_all()
        plan = self.preview(generation)  # with no await before it: a pass would repair what was seen just now
        for address in fresh:
            self.look(address)
        return plan

    async def look_closely(self, resources: Iterable[Desired]) -> None:
        """Look freshly at limits and live parts: what differs is repaired."""
        for address in await self._measured(resources):
            self.look(address)
        with suppress(RuntimeFault):  # the listener hears of a lost runtime
            await self.listener.look_at_all()

    async def acquaint(self) -> None:
        """Ask what an earlier controller started and nobody has asked yet: what is on the air there is to be known
        before it is interrupted."""
        await self._measured([d for d in self.world.generation.resources.values() if self.world.unacquainted(d)])

    async def _measured(self, resources: Iterable[Desired]) -> list[Address]:
        """Ask those that have live parts what these are; returns which were asked. Each as it was accepted: as it may
        be next it would be asked at another place."""
        accepted = self.world.generation.resources
        fresh = [
            accepted.get(d.address, d)
            for d in resources
            if d.compiled.live and d.address in self.world.units and d.address not in self.busy
        ]
        await asyncio.gather(*(self.live.measure(d) for d in fresh))
        return [d.address for d in fresh]
