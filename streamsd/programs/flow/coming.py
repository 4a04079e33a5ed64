"""The plan that a running flow's thread takes next, at a boundary of two batches."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from streamsd.flow.plan import FlowPlan


@dataclass(slots=True)
class _Wish:
    """`number`: of a change that several processes decide on, and that none takes before that; 0: of one to be taken
    at once. `seen`: the flow's thread came to a boundary with it. `taken`: and took it."""

    plan: FlowPlan
    number: int = 0
    seen: threading.Event = field(default_factory=threading.Event)
    taken: threading.Event = field(default_factory=threading.Event)


class Coming:
    """`look` is called by the flow's thread, between two batches; everything else by those who want something of it.
    `take`: puts a plan in the place of the one that runs. `verdict`: see Board; `taken`: is told the number of each
    change that was decided on and is taken."""

    def __init__(
        self, take: Callable[[FlowPlan], None], verdict: Callable[[], int], taken: Callable[[int], None]
    ) -> None:
        self._take, self._verdict, self._taken = take, verdict, taken
        self._lock = threading.Lock()
        self._next: _Wish | None = None
        self._staged: _Wish | None = None

    @property
    def waits(self) -> bool:
        """Whether somebody waits for a boundary."""
        staged = self._staged
        return self._next is not None or (staged is not None and (not staged.seen.is_set() or self._decided(staged)))

    def over(self, plan: FlowPlan) -> FlowPlan:
        """The plan of the next batch, where that of the last one is `plan`."""
        waits = self._next
        return waits.plan if waits is not None else plan

    def patch(self, plan: FlowPlan, within: float = 10.0) -> bool:
        """Put a plan in the place of the one that runs. Whether it was done in time (seconds): one that was not is
        never taken, and nothing waits to be any more."""
        wish = self._next = _Wish(plan)
        if not wish.taken.wait(within):
            with self._lock:
                if not wish.taken.is_set():
                    self._next = None
        return wish.taken.is_set()

    def put(self, plan: FlowPlan) -> None:
        """The same, whenever that boundary comes."""
        self._next = _Wish(plan)

    def stage(self, plan: FlowPlan, number: int, within: float = 10.0) -> bool:
        """Have a plan ready that is taken at the first boundary after the verdict on it. Whether the flow came to a
        boundary in time (seconds), so that it will come to another; when not, the plan is let go."""
        wish = self._staged = _Wish(plan, number)
        if not wish.seen.wait(within):
            self.unstage()
        return wish.seen.is_set()

    def unstage(self) -> None:
        """Nothing is ready any more."""
        with self._lock:
            self._staged = None

    def settled(self, seconds: float) -> bool:
        """Wait that long for the plan that is ready to be taken. Whether none is."""
        staged = self._staged
        return staged is None or staged.taken.wait(seconds)

    def look(self) -> None:
        if self._next is None and self._staged is None:
            return
        with self._lock:
            wish, self._next = self._next, None
            if wish is not None:
                self._take(wish.plan)
                wish.taken.set()
            staged = self._staged
            if staged is None:
                return
            staged.seen.set()
            if self._decided(staged):
                self._staged = None
                self._take(staged.plan)
                self._taken(staged.number)
                staged.taken.set()

    def _decided(self, staged: _Wish) -> bool:
        return self._verdict() == staged.number
