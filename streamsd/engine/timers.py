"""One timer for each resource: when it is to be looked at again without anything having happened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from streamsd.core.address import Address
from streamsd.core.clock import Clock


class Timers:
    """`look(address)` is called when its time has come."""

    def __init__(self, clock: Clock, look: Callable[[Address], None]) -> None:
        self._clock = clock
        self._look = look
        self._waiting: dict[Address, asyncio.Task[None]] = {}

    def __contains__(self, address: Address) -> bool:
        return address in self._waiting

    def set(self, address: Address, seconds: float | None) -> None:
        """In so many seconds instead of whatever was set; None: not at all."""
        old = self._waiting.pop(address, None)
        if old is not None:
            old.cancel()
        if seconds is not None:
            self._waiting[address] = asyncio.get_running_loop().create_task(self._later(address, seconds))

    async def _later(self, address: Address, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._waiting.pop(address, None)
        self._look(address)

    async def close(self) -> None:
        tasks = list(self._waiting.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
