"""A unit run for real, with no runtime between: what a driver's contract is tested on."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from streamsd.core.secret import Secret
from streamsd.core.unit import Unit
from streamsd.runtime.probes import asker

PATIENCE = 60.0


@dataclass
class Running:
    unit: Unit
    process: asyncio.subprocess.Process
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    async def stop(self) -> int:
        """By the unit's own stop policy; the exit code."""
        for signum, seconds in self.unit.stop.steps:
            with suppress(ProcessLookupError):
                self.process.send_signal(signum)
            with suppress(TimeoutError):
                return await asyncio.wait_for(self.process.wait(), seconds)
        self.kill()
        return await self.process.wait()

    async def freeze(self) -> None:
        """SIGSTOP, and wait until it holds."""
        await freeze(self.pid)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


@asynccontextmanager
async def running(unit: Unit, tmp_path: Path) -> AsyncIterator[Running]:
    """The unit's process, its startup probe answered; ended with its whole group in the end."""
    for directory in unit.directories:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file in unit.files:
        file.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.path.write_bytes(file.data())
        file.path.chmod(0o700 if file.executable else 0o600)
    env = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    for name, value in unit.env.items():
        env[name] = value.reveal() if isinstance(value, Secret) else value
    log = tmp_path / f"{unit.id.slug}.log"
    with log.open("ab") as out:
        process = await asyncio.create_subprocess_exec(
            *unit.argv, env=env, cwd=unit.cwd or "/", stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True,
        )  # fmt: skip
    run = Running(unit, process, log)
    try:
        probe = unit.probes.startup
        question = asker(probe.check, env=env)

        async def answers() -> bool:
            assert process.returncode is None, f"{unit.id} ended with {process.returncode}: {log.read_text()}"
            return (await question.ask(process.pid, probe.timeout)).ok

        await until(answers)
        yield run
    finally:
        run.kill()
        await process.wait()


async def freeze(pid: int) -> None:
    """Stop a process, and wait until it has stopped. Whoever is killed need not be thawed."""
    os.kill(pid, signal.SIGSTOP)

    async def stopped() -> bool:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    await until(stopped)


async def until(holds: Callable[[], Awaitable[object]]) -> None:
    """Wait for a fact."""
    async with asyncio.timeout(PATIENCE):
        while not await holds():
            await asyncio.sleep(0.02)
