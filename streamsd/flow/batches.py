"""The memory of `batch` steps: the messages that wait to be sent on as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from streamsd.flow.faults import ROW_ERRORS
from streamsd.flow.records import record_of
from streamsd.flow.spec.steps import Batch


@dataclass
class _Waiting:
    """`bytes`: as JSON, where that is limited. `since`: when the first one came, in microseconds."""

    rows: list[Any] = field(default_factory=list)
    bytes: int = 0
    since: int = 0


class Batcher:
    """Before a window each partition of a source has batches of its own: the times in one are then those of one
    partition, and the watermark stays what it is. Elsewhere there is one, for the partition "".

    `closing`: nothing more comes, so that what waits is due. `state` and `restore` carry it over a restart."""

    def __init__(self) -> None:
        self.closing = False
        self._waiting: dict[str, _Waiting] = {}

    def change(self, spec: Batch) -> None:
        """What the profile says now. It may change while messages wait."""
        self._count = spec.count
        self._size = spec.size.bytes if spec.size is not None else None
        self._micros = round(spec.time.seconds * 1e6) if spec.time is not None else None
        self._record = record_of([spec.as_])

    def take(self, rows: list[Any], now: int, dead: list[tuple[BaseException, Any]], partition: str = "") -> list[Any]:
        """Take rows in; what is full, or old enough at `now` (microseconds), comes out."""
        out: list[Any] = []
        held = self._waiting.setdefault(partition, _Waiting())
        for row in rows:
            try:
                plain = msgspec.to_builtins(row)
                size = len(msgspec.json.encode(plain)) if self._size is not None else 0
            except ROW_ERRORS as fault:
                dead.append((fault, row))
                continue
            if self._size is not None and held.rows and held.bytes + size > self._size:
                out.append(self._one(held))
            if not held.rows:
                held.since = now
            held.rows.append(plain)
            held.bytes += size
            if len(held.rows) >= self._count:
                out.append(self._one(held))
        if self._is_due(held, now):
            out.append(self._one(held))
        return out

    def due(self, now: int) -> set[str]:
        """The partitions of which what waits is to be sent on, though it is not full."""
        return {partition for partition, held in self._waiting.items() if self._is_due(held, now)}

    def next_due(self) -> int | None:
        """When the next one is due, in microseconds; None while nothing waits for a time."""
        if self._micros is None:
            return None
        return min((held.since + self._micros for held in self._waiting.values() if held.rows), default=None)

    def _is_due(self, held: _Waiting, now: int) -> bool:
        old = self._micros is not None and now - held.since >= self._micros
        return bool(held.rows) and (old or self.closing)

    def _one(self, held: _Waiting) -> Any:
        rows, held.rows, held.bytes = held.rows, [], 0
        return self._record(rows)

    def state(self) -> Any:
        return [(name, list(held.rows), held.bytes, held.since) for name, held in self._waiting.items() if held.rows]

    def restore(self, state: Any) -> None:
        self._waiting = {name: _Waiting(list(rows), size, since) for name, rows, size, since in state}


class Batchers:
    """The batchers of one part of a flow, by name. They are stored together."""

    def __init__(self) -> None:
        self._all: dict[str, Batcher] = {}

    def named(self, name: str, spec: Batch) -> Batcher:
        """As the profile says now, with what waits in it."""
        batcher = self._all.setdefault(name, Batcher())
        batcher.change(spec)
        return batcher

    def due(self, now: int, everything: bool) -> set[str]:
        """The partitions of which messages are held back that are to be sent on now: old ones, or all there are."""
        for batcher in self._all.values():
            batcher.closing = everything
        return {partition for batcher in self._all.values() for partition in batcher.due(now)}

    def next_due(self) -> int | None:
        """When the next ones are due, in microseconds; None while nothing waits for a time."""
        return min((at for batcher in self._all.values() if (at := batcher.next_due()) is not None), default=None)

    @property
    def by_name(self) -> Mapping[str, Batcher]:
        return self._all

    def state(self) -> dict[str, Any]:
        return {name: batcher.state() for name, batcher in self._all.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """What is no longer there by its name was let go with `recovery.generation`."""
        for name, batcher in self._all.items():
            batcher.restore(state.get(name, ()))
