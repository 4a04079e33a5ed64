"""The flow on Bytewax: the only module that knows it.

Bytewax gives the epochs: it takes the state of source, shards and sinks at the same point of the stream, stores it, and
only then asks the source for more. So a `next_batch` after a `snapshot` means: everything before that is safe.

    source (all of a flow's sources, and the loop that decodes, filters, maps and adds up)
      -> [stateful_batch: 64 shards]  -> spread: results to the sinks' loops -> sinks

Of several processes each has an engine, with the sources, shards and sinks that are its own; Bytewax carries work to
the shards and results to the sinks between them.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bytewax import operators as op
from bytewax._bytewax import cluster_main, run_main
from bytewax.dataflow import Dataflow
from bytewax.inputs import AbortExecution, FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from bytewax.recovery import RecoveryConfig

from streamsd.flow.meeting import Meeting
from streamsd.programs.flow.credit import weight_of_batch
from streamsd.programs.flow.engine import Engine
from streamsd.programs.flow.kept import KeptShard
from streamsd.programs.flow.peers import await_listeners

_NAP = timedelta(milliseconds=1)
_SLEEP = timedelta(milliseconds=50)
_MOST_AT_ONCE = 0.25
"""Seconds that one batch may take to be gathered."""


def run(engine: Engine, store: Path, epoch: float) -> None:
    """Until the sources end or the flow is stopped. `store`: a directory for the recovery store. `epoch`: seconds.
    Raises what a source, sink or step raised."""
    engine.open(store, epoch, (StopIteration, AbortExecution))
    flow = Dataflow("flow")
    stream = op.input("source", flow, _Source(engine))
    if engine.plan.keyed is not None:
        stream = op.stateful_batch("shards", stream, lambda state: _Shard(engine, state))
    stream = op.flat_map_batch("spread", stream, engine.spread)
    op.output("sinks", stream, _Sinks(engine))
    interval = timedelta(seconds=epoch)
    recovery = RecoveryConfig(store)  # type: ignore[no-untyped-call]  # a compiled module without types
    member = engine.member
    if member.of == 1:
        run_main(flow, epoch_interval=interval, recovery_config=recovery)  # type: ignore[no-untyped-call]  # as above
        return
    await_listeners(member.addresses[: member.number])
    cluster_main(  # type: ignore[no-untyped-call]  # as above
        flow, list(member.addresses), member.number, epoch_interval=interval, recovery_config=recovery
    )


class _Source(FixedPartitionedSource[Any, Any]):
    """A part for each process that there ever was. The states of those that are no more stay what they are."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def list_parts(self) -> list[str]:
        return [str(number) for number in self._engine.member.parts()]

    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> _Part | _FormerPart:
        member, number = self._engine.member, int(for_part)
        member.give(number, resume_state)
        if number == member.number:
            return _Part(self._engine, resume_state)
        return _FormerPart(self._engine, resume_state)


class _FormerPart(StatefulSourcePartition[Any, Any]):
    def __init__(self, engine: Engine, state: Any) -> None:
        self._engine = engine
        self._state = state

    def next_batch(self) -> Iterable[Any]:
        if self._engine.closing:
            raise StopIteration
        return []

    def next_awake(self) -> datetime | None:
        return datetime.now(UTC) + _SLEEP

    def snapshot(self) -> Any:
        return self._state


class _Part(StatefulSourcePartition[Any, Any]):
    """All sources together: their positions, the step's memories and the windows' front are one state."""

    def __init__(self, engine: Engine, state: Any) -> None:
        self._engine = engine
        self._before = state
        self._idle = False
        self._taken = False
        """A state was taken; when we are asked again it is stored."""
        self._since = False
        """Something was given since the newest state was taken."""
        self._epoch_began = time.monotonic()
        self._store_takes = 0.0
        """Seconds from the end of an epoch until it is stored, of late."""
        self._looked = time.monotonic()
        self._worked: float | None = None

    def next_batch(self) -> Iterable[Any]:
        with self._engine.inside():
            return self._next_batch()

    def _next_batch(self) -> Iterable[Any]:
        engine = self._engine
        now = time.monotonic()
        worked = time.thread_time()
        engine.figures.pauses.take(now, now - self._looked)
        if self._worked is not None:
            engine.figures.work.take(now, worked - self._worked)
        self._looked, self._worked = now, worked
        if self._taken:
            self._taken = False
            self._store_takes += 0.2 * (now - self._epoch_began - self._store_takes)
            engine.stored()
        if engine.closing:
            if engine.drained:
                raise StopIteration
            engine.life.beat += 1
            return []
        if engine.life.stopping.is_set():
            engine.life.beat += 1
            if not self._since and engine.quiet():
                raise AbortExecution
            self._idle = True
            return []
        if not engine.has_begun:
            self._idle = self._since = True
            # What is taken over from others goes on its way before it could be missing in a state.
            return engine.inherited() if engine.begun() else []
        if engine.member.of > 1 and self._age() > 0.9 * engine.epoch and engine.credit.much:
            # The less is on the way when an epoch ends, the sooner it is stored.
            engine.rest()
            self._idle = True
            return []
        return self._gather()

    def _gather(self) -> list[Any]:
        engine = self._engine
        items, got = engine.gather()
        if got and engine.member.of > 1 and self._age() > engine.epoch:
            # It took so long to store the last epoch that this one ends with this batch: let it be a big one.
            end = time.monotonic() + min(self._store_takes, _MOST_AT_ONCE)
            while got and time.monotonic() < end:
                more, got = engine.gather()
                items += more
            got = True
        if not got and not items and engine.done():
            engine.closing = True
            items = engine.finish()
        self._idle = not got
        self._since = self._since or got or bool(items)
        return items

    def _age(self) -> float:
        return time.monotonic() - self._epoch_began

    def next_awake(self) -> datetime | None:
        if self._engine.member.of > 1 and self._age() >= self._engine.epoch:
            # The epoch ends now. Bytewax would ask in a loop, on a whole core, whether all others are done with it.
            return datetime.now(UTC) + timedelta(seconds=min(0.5 * self._store_takes, 0.05))
        return datetime.now(UTC) + _NAP if self._idle else None

    def snapshot(self) -> Any:
        self._epoch_began = time.monotonic()
        with self._engine.inside():
            self._taken = True
            self._since = False
            return self._engine.held() if self._engine.has_begun else self._before


class _Shard(StatefulBatchLogic[Any, Any, Any]):
    """One shard; or, under the key of what passes by, nothing. Bytewax does not say which, so the work does."""

    def __init__(self, engine: Engine, state: Any) -> None:
        self._engine = engine
        self._number = -1
        self._said_at = 0
        self._shard: KeptShard | None = None
        self._meeting: Meeting | None = None
        if state is not None:
            self._number, floor, held = state
            self._begin(floor).restore(held)
            self._drains()

    def _begin(self, floor: int | None = None) -> KeptShard:
        self._shard = self._engine.shard(self._number)
        self._meeting = self._engine.meeting(self._shard, floor)
        return self._shard

    def on_batch(self, values: list[Any]) -> tuple[Iterable[Any], bool]:
        with self._engine.inside():
            return self._on_batch(values), StatefulBatchLogic.RETAIN

    def _on_batch(self, values: list[Any]) -> list[Any]:
        out: list[Any] = []
        self._engine.shows(values[0].shard)
        for told in values:
            self._engine.credit.take(told.size)
            if isinstance(told.work, tuple):
                out.append(told.work)
                continue
            if self._meeting is None:
                self._number = told.shard
                self._begin()
            assert self._meeting is not None
            self._say(self._meeting.apply(told), out)
        return out

    def on_notify(self) -> tuple[Iterable[Any], bool]:
        with self._engine.inside():
            out: list[Any] = []
            if self._shard is not None and self._said_at != self._engine.looks:
                self._say(self._shard.drain(), out)
            return out, StatefulBatchLogic.RETAIN

    def on_eof(self) -> tuple[Iterable[Any], bool]:
        with self._engine.inside():
            out: list[Any] = []
            while self._shard is not None and self._shard.due:
                self._say(self._shard.drain(), out)
            return out, StatefulBatchLogic.RETAIN

    def notify_at(self) -> datetime | None:
        if self._shard is None or not self._shard.due:
            return None
        return datetime.now(UTC) + (_NAP if self._said_at == self._engine.looks else timedelta())

    def _say(self, said: list[Any], out: list[Any]) -> None:
        self._said_at = self._engine.looks
        if said:
            out.append(self._engine.said(said))
        self._drains()

    def _drains(self) -> None:
        assert self._shard is not None
        self._engine.draining(str(self._number), self._shard.due)

    def snapshot(self) -> Any:
        if self._shard is None or self._meeting is None:
            return None
        with self._engine.inside():
            return self._number, self._meeting.floor, self._shard.snapshot()


class _Sinks(FixedPartitionedSink[Any, Any]):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._places = {part: place for place, part in enumerate(engine.outlets.all_parts)}

    def list_parts(self) -> list[str]:
        return self._engine.outlets.parts

    def part_fn(self, item_key: str) -> int:
        return self._places[item_key]

    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> _SinkPart:
        with self._engine.inside():
            return _SinkPart(self._engine, for_part, resume_state)


class _SinkPart(StatefulSinkPartition[Any, Any]):
    def __init__(self, engine: Engine, part: str, state: Any) -> None:
        self._engine = engine
        self._outlet, self._meter = engine.outlets.begin(part, state)

    def write_batch(self, values: list[Any]) -> None:
        with self._engine.inside():
            for batch in values:
                self._outlet.write(batch)
                self._engine.credit.take(weight_of_batch(batch))
                if self._meter is not None:
                    self._meter.count += batch.count

    def snapshot(self) -> Any:
        with self._engine.inside():
            self._engine.settle()
            return self._outlet.flush()
