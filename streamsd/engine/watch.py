"""Watching what runs: readiness and liveness of processes, and each kind's own measuring."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from streamsd.core.address import Address
from streamsd.core.clock import Clock
from streamsd.core.kind import Kind, Registry
from streamsd.core.unit import Probe, Unit
from streamsd.engine.executor import Asking, plain_environment
from streamsd.engine.live import LiveParts
from streamsd.engine.phase import Phase
from streamsd.engine.world import World
from streamsd.runtime.probes import asker

_MEASURE_EVERY = 3.0


@dataclass
class Watch:
    """One task a probe of a running process, one a resource whose kind measures. `changed(address)` is called when
    something worth a look was seen."""

    world: World
    registry: Registry
    live: LiveParts
    clock: Clock
    changed: Callable[[Address], None]
    ask: Asking = asker
    _probes: dict[tuple[object, str], asyncio.Task[None]] = field(default_factory=dict)
    _measures: dict[Address, asyncio.Task[None]] = field(default_factory=dict)

    def started(self, unit: Unit) -> None:
        """A process has started or was adopted, or its probes are others now: ask them from now on."""
        for what in ("readiness", "liveness"):
            old = self._probes.pop((unit.id, what), None)
            if old is not None:
                old.cancel()
        observed = self.world.observed(unit.id)
        if observed is None:
            return
        if unit.probes.readiness:
            self._probe(unit, "readiness", unit.probes.readiness, observed.pid)
        if unit.probes.liveness:
            self._probe(unit, "liveness", unit.probes.liveness, observed.pid)

    def follow(self) -> None:
        """The accepted resources have changed: measure those that are there."""
        wanted = {
            address
            for address in self.world.generation.resources
            if type(self.registry.named(address.kind)).observe is not Kind.observe
        }
        for address in [a for a in self._measures if a not in wanted]:
            self._measures.pop(address).cancel()
        for address in wanted - set(self._measures):
            self._measures[address] = asyncio.get_running_loop().create_task(self._measure(address))

    async def close(self) -> None:
        tasks = [*self._probes.values(), *self._measures.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _probe(self, unit: Unit, what: str, probe: Probe, pid: int) -> None:
        key = (unit.id, what)
        task = asyncio.get_running_loop().create_task(self._ask(unit, what, probe, pid))
        self._probes[key] = task

        def gone(done: asyncio.Task[None]) -> None:
            if self._probes.get(key) is done:
                del self._probes[key]
            if not done.cancelled():
                done.result()

        task.add_done_callback(gone)

    async def _ask(self, unit: Unit, what: str, probe: Probe, pid: int) -> None:
        ask = self.ask(probe.check, env=plain_environment(unit))
        failures = 0
        # the first answer comes at once: a new process must not look unready for a whole interval
        pause = 0.0 if what == "readiness" else probe.interval
        while True:
            await self.clock.sleep(pause)
            if not self._current(unit, pid):
                return
            answer = await ask.ask(pid, probe.timeout)
            if not self._current(unit, pid):
                return
            failures = 0 if answer.ok else failures + 1
            verdict = answer.ok if answer.ok or failures >= probe.failures else None
            known = self.world.ready.get(unit.id)
            if what == "readiness":
                if verdict is not None and (known is None or known[0] != verdict):
                    self.world.ready[unit.id] = (verdict, answer.message)
                    self.changed(unit.id.address)
                elif known is None and not answer.ok:
                    self.world.ready[unit.id] = (False, answer.message)
                    self.changed(unit.id.address)
                # until it is ready the question is asked more often: somebody waits for it
                settled = self.world.ready.get(unit.id, (False, ""))[0]
                pause = probe.interval if settled else min(probe.interval, 0.5)
            elif verdict is False:
                self.world.condemned[unit.id] = f"does not live: {answer.message}"
                self.changed(unit.id.address)
                return

    def _current(self, unit: Unit, pid: int) -> bool:
        observed = self.world.observed(unit.id)
        return observed is not None and observed.pid == pid and self.world.life(unit.id).phase is Phase.RUNNING

    async def _measure(self, address: Address) -> None:
        # what an earlier controller started is asked at once: until then nobody knows whether it is as declared
        pause = 0.0 if address in self.world.units and address not in self.world.measured else _MEASURE_EVERY
        while True:
            await self.clock.sleep(pause)
            pause = _MEASURE_EVERY
            desired = self.world.generation.resources.get(address)
            if desired is None or address not in self.world.units:
                continue
            before = self.world.measured.get(address)
            await self.live.measure(desired)
            after = self.world.measured.get(address)
            if after is not None and (
                before is None
                or (before.live, before.findings, before.on_air, before.overridden)
                != (after.live, after.findings, after.on_air, after.overridden)
            ):
                self.changed(address)
