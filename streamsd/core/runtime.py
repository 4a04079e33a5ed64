"""The runtime: whoever really runs the processes. supervisord by default; the engine knows only this page.

The runtime is the record of what runs: each process carries its unit's id and spec hash, so a controller that starts
anew adopts what it finds. One contract suite (tests/contract/test_runtime.py) holds every implementation to this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

from streamsd.core.address import UnitId
from streamsd.core.unit import Limits, Unit


class ProcessState(StrEnum):
    RUNNING = "running"
    STOPPING = "stopping"
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class ObservedUnit:
    """One process as the runtime knows it.

    `started`: seconds on the boot clock (Clock.monotonic). `exit_code`: of an exited one; -N for signal N.
    `oom`: it ended because its memory limit was reached. `limits`: as measured now, not as asked for.
    """

    id: UnitId
    state: ProcessState
    pid: int
    started: float
    spec_hash: str
    exit_code: int | None = None
    oom: bool = False
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class Exited:
    """A process ended, asked to or not."""

    unit: ObservedUnit


@dataclass(frozen=True, slots=True)
class RuntimeLost:
    """The runtime ended or stopped answering: everything it ran is to be taken as gone until `connect` says."""

    reason: str


RuntimeEvent: TypeAlias = Exited | RuntimeLost


class RuntimeFault(Exception):
    """The runtime could not do it. `reason` is a CamelCase word, such as ProgramMissing, SpawnFailed, RuntimeLost."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class Runtime(Protocol):
    """All calls are idempotent and safe to repeat after a fault."""

    async def connect(self) -> None:
        """Start the runtime or join the one that runs; sweep what an earlier one left behind without a parent."""
        ...

    async def close(self) -> None:
        """Let go of it; everything goes on running."""
        ...

    async def shutdown(self) -> None:
        """Stop every unit and the runtime itself."""
        ...

    async def observe(self) -> Mapping[UnitId, ObservedUnit]:
        """Every unit it knows, running or ended."""
        ...

    async def start(self, unit: Unit, spec_hash: str) -> ObservedUnit:
        """Write the unit's files, make its directories, spawn it. RuntimeFault when it runs already or cannot."""
        ...

    async def stop(self, unit: UnitId) -> None:
        """End the process by its stop policy and its whole tree with it, and forget it. Nothing if unknown."""
        ...

    async def limit(self, unit: UnitId, limits: Limits) -> None:
        """Change the limits of a running process, in place."""
        ...

    async def next_event(self) -> RuntimeEvent:
        """Wait for the next thing that happened."""
        ...
