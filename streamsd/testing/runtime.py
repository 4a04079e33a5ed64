"""A runtime whose processes exist in memory only, and that does what a test tells it to."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace

from streamsd.core.address import UnitId
from streamsd.core.clock import Clock
from streamsd.core.runtime import Exited, ObservedUnit, ProcessState, RuntimeEvent, RuntimeFault, RuntimeLost
from streamsd.core.unit import Check, Limits, ProcessAlive, Unit
from streamsd.runtime.probes import Answer, Asker

_MUTATIONS = ("start", "stop", "limit", "patch")


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came in: `verb` (connect, observe, start, stop, limit, patch …), what it was about, and when
    (boot clock)."""

    verb: str
    about: str
    at: float

    def __str__(self) -> str:
        return f"{self.verb} {self.about}".rstrip()


class FakeRuntime:
    """Implements `streamsd.core.runtime.Runtime`. Units are named by UnitId or as `Kind/name/role`.

    By itself everything works at once and every probe says yes. What a test can say:
    `fail(unit)` the next starts fail; `kill(unit)` a process ends; `refuse(unit, FileExists)` its probes of that type
    say no; `lose()` the runtime dies with all it ran; `start_takes`, `stop_takes` seconds of a unit's start and stop;
    `ends_at_start` units that exit before `start` has answered; `limits_stick` whether a limit that is set holds.
    """

    def __init__(self, clock: Clock) -> None:
        self.calls: list[Call] = []
        self.start_takes: dict[UnitId, float] = {}
        self.stop_takes: dict[UnitId, float] = {}
        self.ends_at_start: dict[UnitId, int] = {}
        self.limits_stick = True
        self.unreachable = 0
        """How many calls of `connect` fail after a loss."""
        self._clock = clock
        self._processes: dict[UnitId, ObservedUnit] = {}
        self._events: asyncio.Queue[RuntimeEvent] = asyncio.Queue()
        self._pids = itertools.count(100)
        self._start_faults: dict[UnitId, list[RuntimeFault]] = {}
        self._stop_faults: dict[UnitId, list[RuntimeFault]] = {}
        self._refused: dict[tuple[UnitId, type[Check]], str] = {}
        self._connected = False
        self._losses = 0

    # -- what a test says

    def fail(self, unit: UnitId | str, reason: str = "SpawnFailed", message: str = "no", times: int = 1) -> None:
        """The next starts of the unit raise a RuntimeFault."""
        self._start_faults.setdefault(_id(unit), []).extend(RuntimeFault(reason, message) for _ in range(times))

    def fail_stop(self, unit: UnitId | str, message: str = "survives SIGKILL", times: int = 1) -> None:
        """The next stops of the unit raise a RuntimeFault, and it goes on."""
        faults = [RuntimeFault("StopFailed", message) for _ in range(times)]
        self._stop_faults.setdefault(_id(unit), []).extend(faults)

    def kill(self, unit: UnitId | str, code: int = -9, *, oom: bool = False, told: bool = True) -> None:
        """The process ends by itself. `told`: whether the runtime says so, or has to be asked."""
        process = self._processes[_id(unit)]
        assert process.state is not ProcessState.EXITED, f"{unit} has ended already"
        ended = replace(process, state=ProcessState.EXITED, exit_code=code, oom=oom)
        self._processes[process.id] = ended
        if told:
            self._events.put_nowait(Exited(ended))

    def remove(self, unit: UnitId | str) -> None:
        """The unit is gone from the runtime, which says nothing of it."""
        del self._processes[_id(unit)]

    def alter(self, unit: UnitId | str, limits: Limits) -> None:
        """Somebody changes a process's limits behind our back."""
        self._processes[_id(unit)] = replace(self._processes[_id(unit)], limits=limits)

    def lose(self, *, unreachable: int = 0) -> None:
        """The runtime dies with everything it ran; `connect` fails that many times before it works again."""
        self._processes.clear()
        self._connected = False
        self._losses += 1
        self.unreachable = unreachable
        self._events.put_nowait(RuntimeLost("the test took it away"))

    def refuse(self, unit: UnitId | str, check: type[Check], message: str = "not yet") -> None:
        """Probes of this type say no about the unit, until `allow`."""
        self._refused[_id(unit), check] = message

    def allow(self, unit: UnitId | str, check: type[Check]) -> None:
        del self._refused[_id(unit), check]

    def work_again(self) -> None:
        """Take back every `fail` and `fail_stop` that has not come to pass."""
        self._start_faults.clear()
        self._stop_faults.clear()

    def process(self, unit: UnitId | str) -> ObservedUnit:
        """The unit as it is. KeyError when the runtime does not know it."""
        return self._processes[_id(unit)]

    def running(self) -> dict[str, int]:
        """Unit to pid of all that runs, by name."""
        found = {str(p.id): p.pid for p in self._processes.values() if p.state is not ProcessState.EXITED}
        return dict(sorted(found.items()))

    def mutations(self) -> list[str]:
        """The requests that change something, in order, as `start Thing/a/main`."""
        return [str(call) for call in self.calls if call.verb in _MUTATIONS]

    def forget_calls(self) -> None:
        self.calls.clear()

    def record(self, verb: str, about: str) -> None:
        """For fake kinds: something else was asked for (`patch`)."""
        self.calls.append(Call(verb, about, self._clock.monotonic()))

    def asker(self, check: Check, *, env: Mapping[str, str]) -> Asker:
        """In place of `streamsd.runtime.probes.asker`."""
        return _FakeAsker(self, check, self._clock)

    def answer(self, check: Check, pid: int) -> Answer:
        """What a probe is told now."""
        process = next((p for p in self._processes.values() if p.pid == pid), None)
        if process is None or process.state is ProcessState.EXITED:
            return Answer(False, "the process is gone")
        refused = self._refused.get((process.id, type(check)))
        if refused is not None:
            return Answer(False, refused)
        age = self._clock.monotonic() - process.started
        if isinstance(check, ProcessAlive) and age < check.seconds:
            return Answer(False, f"has lived {age:g}s of {check.seconds:g}s")
        return Answer(True, "yes")

    # -- Runtime

    async def connect(self) -> None:
        self.record("connect", "")
        if self.unreachable:
            self.unreachable -= 1
            raise RuntimeFault("RuntimeFailed", "does not start")
        self._connected = True

    async def close(self) -> None:
        self.record("close", "")

    async def shutdown(self) -> None:
        self.record("shutdown", "")
        self._processes.clear()
        self._connected = False

    async def observe(self) -> Mapping[UnitId, ObservedUnit]:
        self.record("observe", "")
        self._check_connected()
        return dict(self._processes)

    async def start(self, unit: Unit, spec_hash: str) -> ObservedUnit:
        self.record("start", str(unit.id))
        self._check_connected()
        faults = self._start_faults.get(unit.id)
        if faults:
            raise faults.pop(0)
        if unit.id in self._processes and self._processes[unit.id].state is not ProcessState.EXITED:
            raise RuntimeFault("AlreadyRunning", f"{unit.id} runs already")
        started = self._clock.monotonic()
        process = ObservedUnit(unit.id, ProcessState.RUNNING, next(self._pids), started, spec_hash, limits=unit.limits)
        self._processes[unit.id] = process
        if unit.id in self.ends_at_start:
            self.kill(unit.id, self.ends_at_start[unit.id])
            await self._clock.sleep(0)
        if unit.id in self.start_takes:
            await self._takes(self.start_takes[unit.id])
        return process

    async def stop(self, unit: UnitId) -> None:
        self.record("stop", str(unit))
        self._check_connected()
        if unit in self.stop_takes and unit in self._processes:
            self._processes[unit] = replace(self._processes[unit], state=ProcessState.STOPPING)
            await self._takes(self.stop_takes[unit])
        faults = self._stop_faults.get(unit)
        if faults:
            raise faults.pop(0)
        process = self._processes.pop(unit, None)
        if process is not None and process.state is not ProcessState.EXITED:
            self._events.put_nowait(Exited(replace(process, state=ProcessState.EXITED, exit_code=-15)))

    async def limit(self, unit: UnitId, limits: Limits) -> None:
        self.record("limit", str(unit))
        self._check_connected()
        if unit not in self._processes:
            raise RuntimeFault("NotRunning", f"{unit} does not run")
        if self.limits_stick:
            self._processes[unit] = replace(self._processes[unit], limits=limits)

    async def next_event(self) -> RuntimeEvent:
        return await self._events.get()

    async def _takes(self, seconds: float) -> None:
        losses = self._losses
        await self._clock.sleep(seconds)
        if self._losses != losses:
            raise RuntimeFault("RuntimeLost", "it was lost meanwhile")

    def _check_connected(self) -> None:
        if not self._connected:
            raise RuntimeFault("RuntimeLost", "not connected")


@dataclass(frozen=True, slots=True)
class _FakeAsker:
    runtime: FakeRuntime
    check: Check
    clock: Clock

    async def ask(self, pid: int, timeout: float) -> Answer:
        return self.runtime.answer(self.check, pid)


def _id(unit: UnitId | str) -> UnitId:
    return unit if isinstance(unit, UnitId) else UnitId.parse(unit)
