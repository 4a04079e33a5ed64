"""The memory of a `batch` step: the messages that wait to be sent on as one."""

from __future__ import annotations

from typing import Any

import msgspec

from streamsd.flow.faults import ROW_ERRORS
from streamsd.flow.records import record_of
from streamsd.flow.spec.steps import Batch


class Batcher:
    """`closing`: nothing more comes, so that what waits is due. `state` and `restore` carry it over a restart."""

    def __init__(self) -> None:
        self.closing = False
        self._waiting: list[Any] = []
        self._bytes = 0
        self._since = 0

    def change(self, spec: Batch) -> None:
        """What the profile says now. It may change while messages wait."""
        self._count = spec.count
        self._size = spec.size.bytes if spec.size is not None else None
        self._micros = round(spec.time.seconds * 1e6) if spec.time is not None else None
        self._record = record_of([spec.as_])

    def take(self, rows: list[Any], now: int, dead: list[tuple[BaseException, Any]]) -> list[Any]:
        """Take rows in; what is full, or old enough at `now` (microseconds), comes out."""
        out: list[Any] = []
        for row in rows:
            try:
                plain = msgspec.to_builtins(row)
                size = len(msgspec.json.encode(plain)) if self._size is not None else 0
            except ROW_ERRORS as fault:
                dead.append((fault, row))
                continue
            if self._size is not None and self._waiting and self._bytes + size > self._size:
                out.append(self._one())
            if not self._waiting:
                self._since = now
            self._waiting.append(plain)
            self._bytes += size
            if len(self._waiting) >= self._count:
                out.append(self._one())
        if self.due(now):
            out.append(self._one())
        return out

    def due(self, now: int) -> bool:
        """Whether what waits is to be sent on, though it is not full."""
        old = self._micros is not None and now - self._since >= self._micros
        return bool(self._waiting) and (old or self.closing)

    def _one(self) -> Any:
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        return self._record(waiting)

    def state(self) -> Any:
        return self._waiting, self._bytes, self._since

    def restore(self, state: Any) -> None:
        waiting, self._bytes, self._since = state
        self._waiting = list(waiting)
