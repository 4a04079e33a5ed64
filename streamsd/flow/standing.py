"""What outlives a compiled flow: tables, memories of steps, window fronts. A live patch compiles anew onto the same."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from streamsd.core.diagnostics import FieldPath, Problem
from streamsd.flow.batches import Batcher, Batchers
from streamsd.flow.expressions.runtime import to_str
from streamsd.flow.inherit import Inheritance
from streamsd.flow.keyed import KeyedFront
from streamsd.flow.memory import Outside, Seen, Throttle
from streamsd.flow.spec.steps import Dedupe, Enrich, Redact
from streamsd.flow.tables import LookupTable, TableFault
from streamsd.flow.types import Type
from streamsd.flow.watermark import UNKNOWN, Clock
from streamsd.flow.windows import PaneFront, Panes

T = TypeVar("T")


class Files(Enum):
    """What is done with the files that a flow names, its tables and its Python."""

    UNREAD = "unread"
    """Nothing: they may be on another host."""
    READ = "read"
    """They are read, and no Python of them is run: it is the flow's, not the controller's."""
    RUN = "run"


class Standing:
    """`base`: what relative paths are relative to. `watch` is told whenever a step of the operator's own begins (its
    name) and when it is done ("")."""

    def __init__(self, base: Path, files: Files = Files.RUN, watch: Callable[[str], None] | None = None) -> None:
        self.files = files
        self._watch = watch
        self.base = base
        self._tables: dict[str, LookupTable] = {}
        self._seen: dict[str, Seen] = {}
        self.batchers = Batchers()
        """Those in front of a window."""
        self.results = Batchers()
        """Those behind it: they are stored by themselves, as what they hold comes from the shards."""
        self._old_tables: dict[str, LookupTable] = {}
        self._made: list[Any] = []
        self._again: Iterator[Any] | None = None
        self._outside: list[Outside] = []
        self._throttles: list[Throttle] = []
        self._throttled = 0
        self._front: PaneFront | KeyedFront | None = None
        self._clock: Clock | None = None

    def renew(self) -> None:
        """A flow is about to be compiled anew: what it does not ask for again is let go."""
        self._throttled += sum(throttle.dropped for throttle in self._throttles)
        self._throttles = []
        self._made, self._again, self._outside = [], None, []
        self._old_tables, self._tables = self._tables, {}

    def again(self) -> None:
        """The flow that was compiled last is about to be compiled once more: what it asks for is there."""
        self._again = iter(self._made)

    def outside(self, name: str) -> Outside:
        """What a step of the operator's own is looked at by."""
        made = Outside(name, tell=self._watch)
        self._outside.append(made)
        return made

    def stalled(self, longer: float) -> tuple[str, float] | None:
        """(name, seconds) of a step of the operator's own that has not returned for so many seconds."""
        now = time.monotonic()
        running = [(one.name, now - since) for one in self._outside if (since := one.since) is not None]
        return next(((name, passed) for name, passed in running if passed > longer), None)

    def once(self, make: Callable[[], T]) -> T:
        """What a step made when the flow was compiled, in order; `make` does it the first time."""
        if self._again is not None:
            found: T = next(self._again)
            return found
        made = make()
        self._made.append(made)
        return made

    def table(self, enrich: Enrich, columns: dict[str, Type], path: FieldPath, problems: list[Problem]) -> LookupTable:
        """The table, read; a fault in it is a problem."""
        file = self.base / enrich.table.file
        key = repr((file, enrich.table.query, enrich.key, [(n, str(k)) for n, k in columns.items()]))
        if key not in self._tables:
            table = self._old_tables.get(key) or LookupTable(file, enrich.table.query, enrich.key, columns)
            if self.files is not Files.UNREAD and not table.rows:
                try:
                    table.load()
                except TableFault as fault:
                    problems.append(Problem("flow-table", str(fault), "", (*path, "table")))
            self._tables[key] = table
        return self._tables[key]

    def tables(self) -> list[LookupTable]:
        return list(self._tables.values())

    def seen(self, name: str, dedupe: Dedupe) -> Seen:
        if name not in self._seen:
            self._seen[name] = Seen(round(dedupe.within.seconds * 1e6), dedupe.max)
        return self._seen[name]

    def throttle(self, rate: float, burst: int) -> Throttle:
        """A throttle whose drops are counted."""
        made = self.once(lambda: Throttle(rate, burst))
        if made not in self._throttles:
            self._throttles.append(made)
        return made

    def counts(self) -> dict[str, int]:
        """Messages that steps dropped on purpose."""
        return {
            "throttled": self._throttled + sum(throttle.dropped for throttle in self._throttles),
            "repeated": sum(seen.repeated for seen in self._seen.values()),
        }

    @staticmethod
    def hasher(redact: Redact) -> Callable[[Any], str]:
        key = redact.key.reveal().encode()[:64] if redact.key else b""

        def digest(value: Any) -> str:
            return hashlib.blake2b(to_str(value).encode(), key=key, digest_size=16).hexdigest()

        return digest

    # --- the window's front and the clock

    def clock(self, idle: float | None) -> Clock:
        if self._clock is None:
            self._clock = Clock(idle)
        return self._clock

    def pane_front(self, shape: Panes, clock: Clock) -> PaneFront:
        if not isinstance(self._front, PaneFront):
            self._front = PaneFront(shape, clock)
        return self._front

    def keyed_front(self, span: int, clock: Clock) -> KeyedFront:
        if not isinstance(self._front, KeyedFront):
            self._front = KeyedFront(span, clock)
        return self._front

    # --- state

    def front(self) -> bytes:
        """What the window's front holds; empty for a flow without."""
        return self._front.state() if self._front else b""

    def mark(self) -> int:
        """What the window's front has promised."""
        return self._front.mark if self._front else UNKNOWN

    def times(self) -> dict[str, int]:
        """The greatest time of each partition."""
        return self._clock.state() if self._clock else {}

    def memories(self) -> dict[str, Any]:
        """Of the steps with memory, by name."""
        return {name: step.state() for name, step in self._with_memory().items()}

    def _with_memory(self) -> dict[str, Seen | Batcher]:
        made: dict[str, Seen | Batcher] = {f"dedupe {name}": seen for name, seen in self._seen.items()}
        return made | {f"batch {name}": batcher for name, batcher in self.batchers.by_name.items()}

    def inherit(self, mine: Inheritance) -> None:
        """Go on from what was stored."""
        steps = self._with_memory()
        for name, memory in mine.memories.items():
            if name in steps:
                steps[name].restore(memory)
        if self._clock:
            self._clock.restore(mine.times)
        front = self._front
        if front is None:
            return
        if mine.own:
            front.restore(mine.own)
        if mine.moved or not mine.own:
            front.settle(mine.floor)
        front.until = mine.until
        front.announce()
        for state in mine.fronts:
            front.absorb(state)

    def state(self) -> dict[str, Any]:
        """Everything that a restart must not lose, of a flow in one piece."""
        made = {"memories": self.memories(), "clock": self.times(), "front": self.front()}
        return {**made, "results": self.results.state()}

    def restore(self, state: dict[str, Any]) -> None:
        memories, times = state["memories"], state["clock"]
        self.inherit(Inheritance(own=state["front"], memories=memories, times=times))
        self.results.restore(state["results"])
