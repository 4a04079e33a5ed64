"""The sinks that a process writes to, by the parts that they are to Bytewax, and where each of them begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from streamsd.core.report import JsonValue
from streamsd.flow.layout import Layout
from streamsd.flow.plan import FlowPlan
from streamsd.programs.flow.figures import Meter
from streamsd.programs.flow.origins import Origins
from streamsd.programs.flow.outlet import Outlet, SilentOutlet
from streamsd.programs.flow.sink_parts import DEAD, is_none, parts_of, sink_of


class Outlets:
    """`parts`: those that are written here; `all_parts`: those of all processes, in order; `meters`: of the results of
    each sink."""

    def __init__(
        self,
        layout: Layout,
        plan: FlowPlan,
        process: int,
        outlets: Mapping[str, Outlet],
        letters: Outlet,
        ever: Iterable[str],
    ) -> None:
        """`outlets`: of this process. `letters`: where dead ones go; written to by the first process alone. `ever`: all
        parts that the stored state may know."""
        now = [part for number in range(layout.of) for part in parts_of(layout, plan, number)]
        self.all_parts = sorted({*now, *ever})
        self.parts = parts_of(layout, plan, process)
        if process == 0:
            self.parts += [part for part in self.all_parts if part not in now]
        self._silent = {part: SilentOutlet() for part in self.parts if is_none(part) or part not in now}
        self._outlets = dict(outlets)
        self._letters = letters
        self.meters = {name: Meter() for name in outlets}
        self._origins: Origins | None = None

    def open(self, origins: Path) -> None:
        """`origins`: the directory in which it is kept where each sink stood before its first result."""
        self._origins = Origins(origins)

    def begin(self, part: str, position: Any) -> tuple[Outlet, Meter | None]:
        """Start a sink: where it stood in the stored state, else where it stood before the first result. Returns it,
        and the meter of its results (None for the dead letters)."""
        assert self._origins is not None
        outlet, meter = self._outlet(part)
        known = position if position is not None else self._origins.known(part)
        outlet.start(known)
        if known is None:
            self._origins.keep(part, outlet.flush())
        return outlet, meter

    def _outlet(self, part: str) -> tuple[Outlet, Meter | None]:
        if part == DEAD:
            return self._letters, None
        if part in self._silent:
            return self._silent[part], None
        name = sink_of(part)
        return self._outlets[name], self.meters[name]

    def faults(self) -> list[tuple[str, str]]:
        """(reason, message) of each that something is wrong with now."""
        named = {**self._outlets, "dead letters": self._letters}
        return [("SinkUnreachable", f"{name}: {outlet.fault}") for name, outlet in named.items() if outlet.fault]

    def figures(self) -> dict[str, Mapping[str, JsonValue]]:
        """Of each sink."""
        return {name: outlet.figures() for name, outlet in self._outlets.items()}

    @property
    def all(self) -> dict[str, Outlet]:
        """All of them, by what they are called."""
        return {**{f"sink {name}": outlet for name, outlet in self._outlets.items()}, "dead letters": self._letters}
