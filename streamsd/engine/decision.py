"""What the planner decides of one resource, before it becomes steps."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamsd.core.change import FieldChange


@dataclass
class Decision:
    """What one resource needs."""

    stop: set[str] = field(default_factory=set)
    start: set[str] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)
    """Those among the stopped that no longer work: what follows them does not have to let go of them first."""
    patch: set[str] = field(default_factory=set)
    limits: set[str] = field(default_factory=set)
    causes: list[str] = field(default_factory=list)
    fields: tuple[FieldChange, ...] = ()
    delete: bool = False
    fresh: bool = False
    """Nothing of it runs or ran."""
    drift: bool = False
    """What runs differs though no field was edited."""

    @property
    def empty(self) -> bool:
        return not (self.stop or self.start or self.patch or self.limits or self.delete)
