"""The standard output, and nowhere."""

from __future__ import annotations

import os
from typing import Any

from streamsd.flow.outputs import Batch
from streamsd.programs.flow.outlet import Outlet


class StdoutOutlet(Outlet):
    """Blocks while nobody reads. A reader that went away ends the flow, as any program of a pipe."""

    def start(self, position: Any) -> None:
        pass

    def write(self, batch: Batch) -> None:
        view = memoryview(batch.block)
        while view:
            view = view[os.write(1, view) :]

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
