"""`SupervisordRuntime`: the Runtime protocol, spoken to a supervisord that runs our plugin."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streamsd.core.address import UnitId
from streamsd.core.runtime import Exited, ObservedUnit, ProcessState, RuntimeEvent, RuntimeFault, RuntimeLost
from streamsd.core.settings import Settings
from streamsd.core.unit import Limits, Unit
from streamsd.runtime.files import prepare, revealed
from streamsd.runtime.procfs import read_process
from streamsd.runtime.supervisord.boot import boot, boot_lock, runtime_dir, supervisord_pid
from streamsd.runtime.supervisord.channel import Channel
from streamsd.runtime.supervisord.wire import (
    CGROUPS_RECORD,
    PROTOCOL,
    HelloWire,
    LimitsWire,
    Operation,
    StartWire,
    UnitWire,
)
from streamsd.runtime.sweep import sweep

_PING_EVERY = 2.0
_STOPPED_AFTER = 3.0
"""Seconds without an answer after which a supervisord that the kernel calls stopped is taken as lost."""
_HUNG_AFTER = 30.0
"""The same for one that merely does not answer: a machine can be that busy, and losing it restarts everything."""


class SupervisordRuntime:
    """Runs units under the supervisord of these settings; starts it when there is none."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._channel: Channel | None = None
        self._hello: HelloWire | None = None
        self._health: asyncio.Task[None] | None = None
        self._events: asyncio.Queue[RuntimeEvent] = asyncio.Queue()
        self._connecting = asyncio.Lock()
        self._ending = False

    @property
    def _record(self) -> Path:
        return runtime_dir(self._settings) / CGROUPS_RECORD

    @property
    def pid(self) -> int:
        """supervisord's; 0 while not connected."""
        return self._hello["pid"] if self._hello else 0

    @property
    def cgroups(self) -> str:
        """v2, hybrid or none; empty while not connected."""
        return self._hello["cgroups"] if self._hello else ""

    async def connect(self) -> None:
        async with self._connecting:
            if self._channel is not None and self._channel.is_open:
                return
            # Entered and left in a thread, for it waits on others.
            lock = boot_lock(self._settings)
            await asyncio.to_thread(lock.__enter__)
            try:
                joined = await self._join()
                if joined is None:
                    await asyncio.to_thread(sweep, self._settings.instance, self._record)
                    await asyncio.to_thread(boot, self._settings)
                    joined = await self._join()
            finally:
                lock.__exit__(None, None, None)
            if joined is None:
                raise RuntimeFault("RuntimeFailed", "supervisord was started and does not answer")
            self._channel, self._hello = joined
            self._health = asyncio.create_task(self._watch_health(*joined), name="streamsd-runtime-health")

    async def close(self) -> None:
        channel, self._channel, self._hello = self._channel, None, None
        if self._health is not None:
            self._health.cancel()
            await asyncio.gather(self._health, return_exceptions=True)
            self._health = None
        if channel is not None:
            await channel.close()

    async def shutdown(self) -> None:
        lock = boot_lock(self._settings)
        await asyncio.to_thread(lock.__enter__)
        try:
            if self._channel is None:
                joined = await self._join()
                if joined is not None:
                    self._channel, self._hello = joined
            if self._channel is not None and self._hello is not None:
                await self._end(self._hello["pid"], self._hello["started"])
            await asyncio.to_thread(sweep, self._settings.instance, self._record)
        finally:
            lock.__exit__(None, None, None)

    async def _end(self, pid: int, started: float) -> None:
        """Have supervisord stop its units and end. When it is lost instead, the sweep that follows does it."""
        self._ending = True
        try:
            await self._call("shutdown")
            while _runs(pid, started):  # noqa: ASYNC110  (it is not our child: /proc is all that tells)
                await asyncio.sleep(0.01)
        except RuntimeFault as fault:
            if fault.reason != "RuntimeLost":
                raise
        finally:
            await self.close()
            self._ending = False

    async def observe(self) -> Mapping[UnitId, ObservedUnit]:
        units: list[UnitWire] = await self._call("observe")
        observed = (_observed(unit) for unit in units)
        return {unit.id: unit for unit in observed}

    async def start(self, unit: Unit, spec_hash: str) -> ObservedUnit:
        if unit.files or unit.directories:
            await asyncio.to_thread(prepare, unit, self._settings.run_dir)
        result: UnitWire = await self._call("start", start=_start_wire(unit, spec_hash))
        return _observed(result)

    async def stop(self, unit: UnitId) -> None:
        await self._call("stop", unit=unit.slug)

    async def limit(self, unit: UnitId, limits: Limits) -> None:
        await self._call("limit", unit=unit.slug, limits=_limits_wire(limits))

    async def next_event(self) -> RuntimeEvent:
        return await self._events.get()

    async def _call(self, operation: Operation, **fields: object) -> Any:
        if self._channel is None:
            raise RuntimeFault("RuntimeLost", "not connected to supervisord")
        return await self._channel.call(operation, **fields)

    async def _join(self) -> tuple[Channel, HelloWire] | None:
        """Connect to the supervisord that runs. None when there is none, or it does not answer."""
        try:
            channel = await Channel.open(runtime_dir(self._settings), self._exited, self._lost)
        except OSError:
            return None
        try:
            hello: HelloWire = await _answer(channel, "hello", supervisord_pid(self._settings))
        except (_Hung, RuntimeFault):
            await channel.close()
            return None
        if hello["protocol"] != PROTOCOL:
            await channel.close()
            raise RuntimeFault(
                "RuntimeVersion",
                f"the runtime that runs is of streamsd {hello['version']}: end it with `streamsd down` first",
            )
        return channel, hello

    def _exited(self, unit: UnitWire) -> None:
        self._events.put_nowait(Exited(_observed(unit)))

    def _lost(self, reason: str) -> None:
        self._channel = self._hello = None
        if self._health is not None:
            self._health.cancel()
            self._health = None
        if not self._ending:  # else whoever is told would start it again
            self._events.put_nowait(RuntimeLost(reason))

    async def _watch_health(self, channel: Channel, hello: HelloWire) -> None:
        """Ask now and then whether it lives; end it when it hangs, for nobody can rely on it then."""
        while True:
            await asyncio.sleep(_PING_EVERY)
            try:
                await _answer(channel, "ping", hello["pid"])
            except _Hung:
                if _runs(hello["pid"], hello["started"]):
                    os.kill(hello["pid"], signal.SIGKILL)
                channel.abandon("supervisord stopped answering")
                return
            except RuntimeFault:
                return  # the connection ended, and says so itself


class _Hung(Exception):
    """supervisord does not answer."""


async def _answer(channel: Channel, operation: Operation, pid: int) -> Any:
    """Call, with the patience that the state of supervisord's process (0: unknown) deserves. _Hung, RuntimeFault."""
    call = asyncio.create_task(channel.call(operation))
    waited = 0.0
    try:
        while not (await asyncio.wait({call}, timeout=0.5))[0]:
            waited += 0.5
            process = read_process(pid) if pid else None
            stopped = process is not None and process.state in "Tt"
            if waited >= (_STOPPED_AFTER if stopped else _HUNG_AFTER):
                raise _Hung
    finally:
        call.cancel()
    return await call


def _runs(pid: int, started: float) -> bool:
    process = read_process(pid)
    return process is not None and process.started == started and process.state not in "ZX"


def _observed(unit: UnitWire) -> ObservedUnit:
    limits = unit["limits"]
    return ObservedUnit(
        id=UnitId.parse(unit["unit"]),
        state=ProcessState(unit["state"]),
        pid=unit["pid"],
        started=unit["started"],
        spec_hash=unit["spec_hash"],
        exit_code=unit["exit_code"],
        oom=unit["oom"],
        limits=Limits(
            memory_bytes=limits["memory_bytes"],
            cpu_percent=limits["cpu_percent"],
            nice=limits["nice"],
            open_files=limits["open_files"],
        ),
    )


def _limits_wire(limits: Limits) -> LimitsWire:
    return {
        "memory_bytes": limits.memory_bytes,
        "cpu_percent": limits.cpu_percent,
        "nice": limits.nice,
        "open_files": limits.open_files,
    }


def _start_wire(unit: Unit, spec_hash: str) -> StartWire:
    return {
        "unit": str(unit.id),
        "slug": unit.id.slug,
        "spec_hash": spec_hash,
        "argv": list(unit.argv),
        "env": {name: revealed(value) for name, value in unit.env.items()},
        "cwd": str(unit.cwd) if unit.cwd else None,
        "user": unit.user,
        "umask": unit.umask,
        "limits": _limits_wire(unit.limits),
        "stop": [(int(number), seconds) for number, seconds in unit.stop.steps],
        "log": {"max_bytes": unit.log.max_bytes, "keep": unit.log.keep, "rate": unit.log.rate},
    }
