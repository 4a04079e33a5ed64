"""What a plan is: steps to carry out in order, and actions to show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from streamsd.core.address import Address
from streamsd.core.answers import ActionAnswer
from streamsd.core.change import FieldChange
from streamsd.core.diagnostics import dotted


class ActionKind(StrEnum):
    CREATE = "create"
    PATCH = "patch"
    RESTART = "restart"
    REPLACE = "replace"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Stop:
    """End these processes of a resource. `levels`: in which order, some at a time; empty: all at once."""

    address: Address
    roles: frozenset[str]
    delete: bool = False
    """The resource leaves the profile."""
    levels: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Start:
    """Start these processes, each once those it comes after have started; then set their live parts."""

    address: Address
    roles: frozenset[str]


@dataclass(frozen=True, slots=True)
class Patch:
    """Change a running resource in place: live parts, and limits of roles."""

    address: Address
    parts: frozenset[str]
    limits: frozenset[str]


Step: TypeAlias = Stop | Start | Patch


@dataclass(frozen=True, slots=True)
class Action:
    """One resource's change, in words. `interrupts`: resources that stop serving for a moment by it."""

    action: ActionKind
    address: Address
    cause: str
    fields: tuple[FieldChange, ...] = ()
    interrupts: tuple[Address, ...] = ()
    processes: tuple[str, ...] = ()
    drift: bool = False
    """Decided by what was observed, not by an edit of the spec."""

    def to_json(self) -> ActionAnswer:
        return {
            "action": self.action.value,
            "address": str(self.address),
            "cause": self.cause,
            "fields": [dotted(change.path) for change in self.fields],
            "interrupts": [str(address) for address in self.interrupts],
            "processes": list(self.processes),
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """`after` gives, for the index of a step, the indices of those that must have succeeded before it. `waits`: of a
    plan to be shown, the resources without an action that are not as declared yet, or not known to be, with the reason
    in words."""

    actions: tuple[Action, ...] = ()
    steps: tuple[Step, ...] = ()
    after: Mapping[int, frozenset[int]] = field(default_factory=dict)
    waits: Mapping[Address, str] = field(default_factory=dict)
