"""A runtime under test, in directories of its own."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from streamsd.core.address import Address, UnitId
from streamsd.core.runtime import Exited, ObservedUnit, Runtime
from streamsd.core.settings import Settings
from streamsd.core.unit import Unit
from streamsd.runtime.procfs import all_pids, is_alive, read_environment
from streamsd.runtime.supervisord.runtime import SupervisordRuntime

PATIENCE = 60.0
MIB = 1024 * 1024


@dataclass
class Room:
    """A runtime in directories of its own."""

    way: str
    settings: Settings
    runtime: SupervisordRuntime
    directory: Path

    def another(self) -> Runtime:
        """A second controller of the same instance."""
        return SupervisordRuntime(self.settings)

    def unit(self, script: str, role: str = "main", **fields: object) -> Unit:
        """A unit that runs a shell script. `$0` in it is the room's directory."""
        unit = Unit(UnitId(Address("App", "clock"), role), ("/bin/sh", "-c", script, str(self.directory)))
        return replace(unit, **fields)

    def log(self, role: str = "main") -> bytes:
        path = self.settings.log_dir / f"App.clock.{role}.log"
        return path.read_bytes() if path.exists() else b""

    def written(self, name: str) -> str:
        """What a unit wrote into a file of the room, once it has."""
        path = self.directory / name
        return path.read_text().strip() if path.exists() else ""


@asynccontextmanager
async def runtime_room(way: str) -> AsyncIterator[Room]:
    """A connected runtime; shut down afterwards, and nothing of it may be left."""
    # Not pytest's own: another user must be able to pass through.
    directory = Path(tempfile.mkdtemp(prefix="streamsd-test-"))
    try:
        settings = Settings.resolve(run_dir=str(directory / "run"), state_dir=str(directory / "state"))
        runtime = SupervisordRuntime(settings)
        try:
            await runtime.connect()
            yield Room(way, settings, runtime, directory)
        finally:
            await runtime.shutdown()
        assert not alive_of(settings.instance)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def alive_of(instance: str) -> list[int]:
    """Living processes whose environment says they are units of the instance."""
    pids = [pid for pid in all_pids() if read_environment(pid).get("STREAMSD_INSTANCE") == instance]
    return [pid for pid in pids if is_alive(pid)]


async def until(fact: Callable[[], object], what: str = "the fact") -> None:
    end = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"
        await asyncio.sleep(0.01)


async def next_exit(runtime: Runtime) -> ObservedUnit:
    event = await asyncio.wait_for(runtime.next_event(), PATIENCE)
    assert isinstance(event, Exited), event
    return event.unit
