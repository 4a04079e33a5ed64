"""What happened inside resources, such as a scene switched by hand: told once, also across controllers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamsd.core.address import Address
from streamsd.core.events import Event
from streamsd.core.kind import Happening


class Happenings:
    """`emit(event)` keeps and tells an event. `told(address)`: the number of the newest happening of it that the event
    log has, 0 when there is none."""

    def __init__(self, emit: Callable[[Event], None], told: Callable[[Address], int]) -> None:
        self._emit = emit
        self._told = told
        self._heard: dict[Address, int] = {}

    def take(self, address: Address, happenings: Sequence[Happening]) -> None:
        """Tell what was not told yet, not by an earlier controller either."""
        heard = self._heard[address] if address in self._heard else self._told(address)
        for happening in happenings:
            if happening.number > heard:
                heard = happening.number
                fields = {"role": happening.role, **happening.fields, "happening": happening.number}
                self._emit(Event(happening.at, happening.event, str(address), fields))
        self._heard[address] = heard
