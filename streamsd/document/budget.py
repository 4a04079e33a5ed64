"""How much a profile may come to once aliases, variables and `extends` are counted out."""

from __future__ import annotations

from streamsd.core.diagnostics import Source
from streamsd.document.nodes import MAX_NODES


class TooLarge(Exception):
    """The profile grows past what it may; `at` is where it did."""

    def __init__(self, at: Source | None) -> None:
        self.at = at
        super().__init__("the profile is too large")


class Budget:
    """Counts what is made beyond the text itself. TooLarge ends the reading: a bomb must not be counted to its end."""

    def __init__(self, nodes: int = 2 * MAX_NODES) -> None:
        self._left = nodes

    def spend(self, nodes: int, at: Source | None) -> None:
        self._left -= nodes
        if self._left < 0:
            raise TooLarge(at)
