"""What a sink is to the engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from streamsd.core.report import JsonValue
from streamsd.flow.outputs import Batch


class Outlet(ABC):
    """A sink, as the flow's thread sees it. `write` and `flush` may block: that holds the sources back. While they wait
    for somebody they say so in `fault` and call `Life.pause`, so that a flow can be stopped at any time.
    """

    fault: str = ""
    closes_within = 2.0

    @abstractmethod
    def start(self, position: Any) -> None:
        """Begin. A sink that can takes back what it wrote after that position."""

    @abstractmethod
    def write(self, batch: Batch) -> None:
        """Take results, in order."""

    @abstractmethod
    def flush(self) -> Any:
        """Everything that was written is safe (with the receiver, on the disk). Returns the position after it."""

    def figures(self) -> Mapping[str, JsonValue]:
        """For the report."""
        return {}

    def close(self) -> None:  # noqa: B027  # some hold nothing
        """Let go of everything."""


class SilentOutlet(Outlet):
    """In the place of a sink that the flow had before, whose position stays in the stored state, or of none at all."""

    def __init__(self) -> None:
        self._position: Any = None

    def start(self, position: Any) -> None:
        self._position = position

    def write(self, batch: Batch) -> None:
        """Nothing is sent here any more."""

    def flush(self) -> Any:
        return self._position
