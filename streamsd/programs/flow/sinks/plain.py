"""The standard output, and nowhere."""

from __future__ import annotations

import os
import select
import stat
from typing import Any

from streamsd.flow.outputs import Batch
from streamsd.programs.flow.disk import disk_fault
from streamsd.programs.flow.life import Backoff, Life
from streamsd.programs.flow.outlet import Outlet

_STDOUT = 1
_LOOK = 0.2
"""Seconds between two looks whether the flow is to stop, while nobody reads."""


class StdoutOutlet(Outlet):
    """Waits while nobody reads, or the disk is full. A reader that went away ends the flow, as it ends any program of a
    pipe."""

    def __init__(self, life: Life) -> None:
        self._life = life
        # What a pipe that is ready takes without blocking, whoever else writes to it.
        self._most = None if stat.S_ISREG(os.fstat(_STDOUT).st_mode) else select.PIPE_BUF

    def start(self, position: Any) -> None:
        pass

    def write(self, batch: Batch) -> None:
        view = memoryview(batch.block)
        backoff = Backoff(0.1, 2.0)
        while view:
            if self._most is not None and not select.select([], [_STDOUT], [], _LOOK)[1]:
                self._life.pause(0.0)
                continue
            try:
                view = view[os.write(_STDOUT, view[: self._most]) :]
                self.fault = ""
                backoff.reset()
            except BlockingIOError:
                self._life.pause(0.0)
            except OSError as fault:
                words = disk_fault(fault)
                if not words:
                    raise
                self.fault = f"standard output: {words}"
                self._life.pause(backoff.next() or 0.1)

    def flush(self) -> Any:
        return None


class DiscardOutlet(Outlet):
    """Results are counted by the engine, and that is all."""

    def start(self, position: Any) -> None:
        pass

    def write(self, batch: Batch) -> None:
        pass

    def flush(self) -> Any:
        return None
