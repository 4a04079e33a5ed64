"""A command that says by its exit code how things stand."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping

from streamsd.runtime.probes.answer import Answer


class CommandSucceeds:
    """The command exits 0. Its output goes nowhere: it may hold what the environment holds, secrets too."""

    def __init__(self, argv: tuple[str, ...], env: Mapping[str, str]) -> None:
        self._argv = argv
        self._env = dict(env)

    async def put(self, pid: int) -> Answer:
        process = await asyncio.create_subprocess_exec(
            *self._argv,
            env=self._env,
            cwd="/",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # so that all of it can be ended when it takes too long
        )
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            _end(process)
            await asyncio.shield(process.wait())  # SIGKILLed: this is a moment, and leaves no zombie
            raise
        return Answer(code == 0, f"{self._argv[0]} exits {code}")


def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
