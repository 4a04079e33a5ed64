"""What the planner sees of the world: values only, taken at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from streamsd.core.report import JsonValue
from streamsd.core.runtime import ObservedUnit, ProcessState


@dataclass(frozen=True, slots=True)
class UnitView:
    """`due`: it may be started now if it does not run. `ended`: it does not run, and should not by its policy.
    `ready`: its startup probe has succeeded, or it has ended as it should. `condemned`: why it must be replaced
    although it runs."""

    observed: ObservedUnit | None = None
    due: bool = True
    ended: bool = False
    ready: bool = False
    condemned: str = ""
    last: str = ""
    """Why it last ended, in words."""

    @property
    def running(self) -> bool:
        return self.observed is not None and self.observed.state is not ProcessState.EXITED


@dataclass(frozen=True, slots=True)
class ResourceView:
    """`live`: what was measured of the live parts; a key that is missing is not known and is left alone.
    `held`: stopped on purpose until the next apply."""

    units: Mapping[str, UnitView] = field(default_factory=dict)
    live: Mapping[str, JsonValue] = field(default_factory=dict)
    held: bool = False

    def unit(self, role: str) -> UnitView:
        return self.units.get(role, _NOTHING)


_NOTHING = UnitView()
