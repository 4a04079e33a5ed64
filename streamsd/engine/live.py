"""What is set on running processes and asked of them: limits, and the live parts of their kinds."""

from __future__ import annotations

import asyncio
import itertools
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from streamsd.core.address import Address
from streamsd.core.kind import Finding, Happening, Observation, PatchFault, Registry
from streamsd.core.runtime import ObservedUnit, ProcessState, Runtime
from streamsd.core.unit import Unit
from streamsd.engine.desired import Desired
from streamsd.engine.planner import limits_agree
from streamsd.engine.world import World

_OBSERVE_WITHIN = 5.0
_PATCH_WITHIN = 60.0
"""Seconds that a kind may take to measure, and to patch, a resource."""


@dataclass
class LiveParts:
    """Writes to the world what was measured. `emit(event, address, **fields)` tells what happened;
    `on_happened(address, happenings)` what a measured resource's processes tell of, old and new."""

    runtime: Runtime
    world: World
    registry: Registry
    emit: Callable[..., None]
    on_happened: Callable[[Address, Sequence[Happening]], None]

    def __post_init__(self) -> None:
        self._asks = itertools.count(1)
        self._answered: dict[Address, int] = {}

    async def settle(self, desired: Desired) -> None:
        """After a start: it is asked what is, so that who hears that it is ready finds its figures too; and what the
        spec says beyond the command line is set on the new process."""
        await self.measure(desired)
        if not desired.compiled.live:
            return
        seen = self.world.measured.get(desired.address)
        have = seen.live if seen else {}
        running = {role for role, unit in self.world.units.get(desired.address, {}).items() if _runs(unit)}
        differing = frozenset(
            k for k, part in desired.compiled.live.items() if part.role in running and have.get(k) != part.desired
        )
        if differing:
            await self.set(desired, differing)

    async def limit(self, unit: Unit) -> None:
        """Set a running process's limits. PatchFault when they do not take, RuntimeFault."""
        known = self.world.observed(unit.id)
        await self.runtime.limit(unit.id, unit.limits)
        found = (await self.runtime.observe()).get(unit.id)
        if found is None or known is None or not _runs(found) or found.pid != known.pid:
            return  # it ended meanwhile, which is told by an event of its own
        self.world.put(found)
        if not limits_agree(found.limits, unit.limits):
            raise PatchFault(f"the limits of {unit.id.role} did not take")
        self.emit("limits-changed", unit.id.address, role=unit.id.role)

    async def set(self, desired: Desired, parts: frozenset[str]) -> None:
        """Have the kind set these parts. PatchFault when they do not take."""
        kind = self.registry.named(desired.address.kind)
        try:
            async with asyncio.timeout(_PATCH_WITHIN):
                await kind.patch(desired.resource, desired.compiled, parts)
        except TimeoutError:
            raise PatchFault(f"{', '.join(sorted(parts))}: no answer within {_PATCH_WITHIN:g} s") from None
        except PatchFault:
            raise
        except Exception as error:  # a kind may be other people's code: its fault is its resource's
            raise PatchFault(f"{', '.join(sorted(parts))}: {fault_words(error)}") from error
        await self.measure(desired)
        seen = self.world.measured.get(desired.address)
        wrong = [
            k for k in sorted(parts) if seen and k in seen.live and seen.live[k] != desired.compiled.live[k].desired
        ]
        if wrong:
            raise PatchFault(f"{', '.join(wrong)} did not take")
        self.emit("resource-patched", desired.address, parts=sorted(parts))

    async def measure(self, desired: Desired) -> None:
        """Ask the kind what is, and keep it, unless somebody who asked later has been answered already."""
        mine = next(self._asks)
        kind = self.registry.named(desired.address.kind)
        units = dict(self.world.units.get(desired.address, {}))
        try:
            async with asyncio.timeout(_OBSERVE_WITHIN):
                found = await kind.observe(desired.resource, desired.compiled, units)
        except TimeoutError:
            found = Observation(findings=(Finding("NotAnswering", f"no answer within {_OBSERVE_WITHIN:g} s"),))
        except Exception as error:  # noqa: BLE001  # as for patch: one kind's fault must not end the daemon
            found = Observation(findings=(Finding("ObserveFailed", fault_words(error)),))
        if mine > self._answered.get(desired.address, 0):
            self._answered[desired.address] = mine
            self.world.measured[desired.address] = found
            if found.happened:
                self.on_happened(desired.address, found.happened)

    def forget(self, address: Address) -> None:
        """The resource is gone for good."""
        self._answered.pop(address, None)


def _runs(unit: ObservedUnit) -> bool:
    return unit.state is not ProcessState.EXITED


def fault_words(error: Exception) -> str:
    """Where a kind's code failed. Not what the error says: that may quote a secret."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"
