"""The sources that a process reads, each behind its gate."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from streamsd.core.report import JsonValue
from streamsd.flow.faults import Dead
from streamsd.flow.layout import Layout
from streamsd.flow.pipeline import Chunk, Front
from streamsd.flow.plan import FlowPlan
from streamsd.flow.spec.words import RateLimit
from streamsd.programs.flow.figures import SourceFigures
from streamsd.programs.flow.gate import Gate
from streamsd.programs.flow.intake import Intake

_MOST = 5000
"""Messages in one batch: more would only make results wait."""


class Intakes:
    """`figures`: of each source, by its name; they are counted here."""

    def __init__(self, plan: FlowPlan, layout: Layout, intakes: Mapping[str, Intake]) -> None:
        self._plan = plan
        self._layout = layout
        self._intakes = dict(intakes)
        self.figures = {name: SourceFigures() for name in intakes}
        self._gates = {name: Gate(name, self._limit(name), self.figures[name]) for name in intakes}

    def __iter__(self) -> Iterator[str]:
        return iter(self._intakes)

    @property
    def all(self) -> dict[str, Intake]:
        """All of them, by what they are called."""
        return {f"source {name}": intake for name, intake in self._intakes.items()}

    def change(self, plan: FlowPlan) -> None:
        """The limits of another plan hold from now on."""
        self._plan = plan
        for name, gate in self._gates.items():
            gate.change(self._limit(name))

    def _limit(self, name: str) -> RateLimit | None:
        """The rate limit of a source here: several processes that read from it have a part of it each."""
        limit = self._plan.sources[name].spec.limit
        return limit.part(self._layout.of) if limit and self._layout.divided(name) else limit

    def start(self, positions: Mapping[tuple[str, str], Any]) -> None:
        """Begin where they were: `positions` by source and part (of one that has none: "")."""
        for name, intake in self._intakes.items():
            parts = {part: value for (source, part), value in positions.items() if source == name}
            intake.start((parts or None) if intake.in_parts else parts.get(""))

    def positions(self) -> dict[tuple[str, str], Any]:
        """Where they are now, as `start` takes it."""
        made: dict[tuple[str, str], Any] = {}
        for name, intake in self._intakes.items():
            position = intake.position()
            parts = (position or {}) if intake.in_parts else {"": position}
            made.update({(name, part): value for part, value in parts.items()})
        return made

    def stored(self) -> None:
        """The newest `positions` are safe, and all that came before them."""
        for intake in self._intakes.values():
            intake.stored()

    def partition(self, name: str) -> str:
        """One that messages which are put in by hand count to."""
        intake = self._intakes.get(name)
        return next(iter(intake.partitions() or ()), "") if intake is not None else ""

    def look(self, front: Front, now: float) -> Iterator[tuple[str, Chunk, list[Dead]]]:
        """What there is now: (source, messages, dead letters), while `front` hears of partitions. `now`: seconds that
        never go back."""
        for name, intake in self._intakes.items():
            gate = self._gates[name]
            most = gate.allowance(_MOST, now)
            if most <= 0:
                continue
            partitions = intake.partitions()
            if partitions is not None:
                front.expect(name, partitions)
            longest = self._plan.sources[name].spec.max_message.bytes
            for chunk in intake.poll(most):
                yield name, *gate.admit(chunk, longest, now)

    def done(self) -> bool:
        """Whether nothing more comes from any of them."""
        return all(intake.done() for intake in self._intakes.values())

    def faults(self) -> list[tuple[str, str]]:
        """(reason, message) of each that something is wrong with now."""
        return [("SourceUnreachable", f"{name}: {i.fault}") for name, i in self._intakes.items() if i.fault]

    def observed(self) -> dict[str, dict[str, JsonValue]]:
        """What each says of itself, and the seconds that its backlog takes, where they are known."""
        made: dict[str, dict[str, JsonValue]] = {}
        for name, intake in self._intakes.items():
            made[name] = dict(intake.figures())
            left = intake.left()
            seconds = self.figures[name].backlog.seconds(left, time.monotonic()) if left else None
            if seconds is not None:
                made[name]["time_left"] = seconds
        return made
