"""What an ask comes to, and the two sides of one: the Asker that callers see, the Question that each check is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from streamsd.core.report import JsonValue

_NOTHING: Mapping[str, JsonValue] = MappingProxyType({})


@dataclass(frozen=True)
class Answer:
    """`message`: one clause for people, never a secret. `observed`: figures that the question came by."""

    ok: bool
    message: str
    observed: Mapping[str, JsonValue] = field(default_factory=lambda: _NOTHING)


class Asker(Protocol):
    async def ask(self, pid: int, timeout: float) -> Answer:
        """Ask once. Never raises; ends within `timeout` seconds."""
        ...


class Question(Protocol):
    async def put(self, pid: int) -> Answer:
        """Ask once, with no bound of its own. OSError, EOFError and ValueError count as a no."""
        ...


GRACE = 1.5
"""Seconds for which what moved counts as moving: asks may come closer together than ffmpeg's or a report's writes
(0.5 s and about 1 s), and a loaded host stretches those."""


class Movement:
    """Remembers a mark and says whether it moves."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._mark: object = None
        self._moved_at: float | None = None

    @property
    def first(self) -> bool:
        return self._moved_at is None

    def moves(self, mark: object) -> bool:
        """Whether `mark` differs from the one before, or did so less than GRACE seconds ago. The first one moves."""
        now = self._clock()
        if self._moved_at is None or mark != self._mark:
            self._mark, self._moved_at = mark, now
            return True
        return now - self._moved_at < GRACE

    def still(self) -> float:
        """Seconds since it moved."""
        return 0.0 if self._moved_at is None else self._clock() - self._moved_at
