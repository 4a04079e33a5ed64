"""Session windows: each lasts as long as no silence of `gap` comes between two messages of its key."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from streamsd.flow.keyed import KeyedShard
from streamsd.flow.stored import dump, load
from streamsd.flow.watermark import FAR
from streamsd.flow.windows import Group, State


@dataclass(frozen=True, slots=True)
class Late:
    """A message that came too late, for the dead letters; `raw` is None where they are only counted."""

    raw: bytes | None


class SessionShard(KeyedShard):
    """The open sessions of each key, as [first time, last time, state], in order of time.

    A session ends at its last time + gap, and closes when the watermark has come to that + lateness. A message is late
    if its own session would be closed already and it continues none that is open.
    """

    def __init__(
        self,
        gap: int,
        lateness: int,
        begin: Callable[[int, Any], State],
        add: Callable[[State, int, Any], None],
        merge: Callable[[State, State], None],
    ) -> None:
        self._gap = gap
        self._wait = gap + lateness
        self._begin, self._add, self._merge = begin, add, merge
        self._sessions: dict[Hashable, list[list[Any]]] = {}
        self._due = FAR
        """No session closes before the watermark comes here."""

    def apply(self, work: Any) -> list[Group | Late]:
        out: list[Group | Late] = []
        for key, ticks, watermark, _, value, raw in work.rows:
            known = self._sessions.get(key)
            if known is not None and watermark >= self._due:
                known = self._close_key(key, known, watermark, out)
            if known is None:
                if ticks + self._wait <= watermark:
                    out.append(Late(raw))
                    continue
                self._sessions[key] = [[ticks, ticks, self._begin(ticks, value)]]
            elif not self._join(known, ticks, watermark, value):
                out.append(Late(raw))
                continue
            self._due = min(self._due, ticks + self._wait)
        if work.watermark is not None and work.watermark >= self._due:
            self._close(work.watermark, out)
        return out

    def _join(self, sessions: list[list[Any]], ticks: int, watermark: int, value: Any) -> bool:
        """Put a message into the session it continues, join sessions it lies between, or begin one."""
        gap = self._gap
        near = [s for s in sessions if ticks - s[1] < gap and s[0] - ticks < gap]
        if not near:
            if ticks + self._wait <= watermark:
                return False
            sessions.append([ticks, ticks, self._begin(ticks, value)])
            sessions.sort(key=lambda session: session[0])
            return True
        first = near[0]
        self._add(first[2], ticks, value)
        first[0], first[1] = min(first[0], ticks), max(first[1], ticks)
        for other in near[1:]:
            self._merge(first[2], other[2])
            first[1] = max(first[1], other[1])
            sessions.remove(other)
        return True

    def _close_key(
        self, key: Hashable, sessions: list[list[Any]], watermark: int, out: list[Group | Late]
    ) -> list[list[Any]] | None:
        over = [s for s in sessions if s[1] + self._wait <= watermark]
        for first, last, state in over:
            out.append((first, last + self._gap, [(key, state)]))
        if len(over) == len(sessions):
            del self._sessions[key]
            return None
        for session in over:
            sessions.remove(session)
        return sessions

    def _close(self, watermark: int, out: list[Group | Late]) -> None:
        due = FAR
        for key, sessions in list(self._sessions.items()):
            left = self._close_key(key, sessions, watermark, out)
            if left:
                due = min(due, min(session[1] for session in left) + self._wait)
        self._due = due

    def size(self) -> int:
        """Keys that are held."""
        return len(self._sessions)

    def state(self) -> bytes:
        return dump((self._sessions, self._due))

    def restore(self, state: bytes) -> None:
        self._sessions, self._due = load(state)
