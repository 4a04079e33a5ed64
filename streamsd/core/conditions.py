"""Conditions: what is true of a resource now, since when and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from streamsd.core.answers import ConditionAnswer
from streamsd.core.clock import rfc3339


class ConditionType(StrEnum):
    ACCEPTED = "Accepted"
    """The spec is valid and its needs (programs, ports, numbers) can be met."""
    PROGRESSING = "Progressing"
    """streamsd is changing something, or waits to try again."""
    READY = "Ready"
    """It serves: every process runs and makes progress."""
    DEGRADED = "Degraded"
    """A part of it does not serve; the rest goes on."""
    DRIFTED = "Drifted"
    """What runs differs from the spec, though the spec did not change."""
    OVERRIDDEN = "Overridden"
    """An operator switched something by hand; it is left so until it is reset. Only kinds with live shows have it."""


@dataclass(frozen=True, slots=True)
class Condition:
    """`reason` is one CamelCase word for programs, `message` a sentence for people."""

    type: str
    status: bool
    reason: str
    message: str
    since: datetime

    def to_json(self, generation: int) -> ConditionAnswer:
        """`generation`: the one that was observed when this was judged."""
        return {
            "type": self.type,
            "status": "True" if self.status else "False",
            "reason": self.reason,
            "message": self.message,
            "since": rfc3339(self.since),
            "observed_generation": generation,
        }


class Conditions:
    """One resource's conditions. `since` moves only when a status flips."""

    def __init__(self) -> None:
        self._by_type: dict[str, Condition] = {}

    def set(self, type: str, status: bool, reason: str, message: str, *, now: datetime) -> bool:
        """Returns whether status or reason changed: what is worth an event."""
        old = self._by_type.get(type)
        flipped = old is None or old.status != status
        since = now if old is None or flipped else old.since
        self._by_type[type] = Condition(type, status, reason, message, since)
        return old is None or flipped or old.reason != reason

    def get(self, type: str) -> Condition | None:
        return self._by_type.get(type)

    def is_true(self, type: str) -> bool:
        found = self._by_type.get(type)
        return found is not None and found.status

    def all(self) -> Iterable[Condition]:
        return tuple(self._by_type.values())
