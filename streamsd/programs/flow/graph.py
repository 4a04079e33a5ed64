"""The flow on Bytewax: the only module that knows it. Of several processes each has an engine, with the sources, shards
and sinks that are its own; Bytewax carries work to the shards and results to the sinks between them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
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

from streamsd.programs.flow.engine import Engine
from streamsd.programs.flow.life import Ended, Left
from streamsd.programs.flow.parts import TOGETHER, FormerPart, KeyedPart, ResultsPart, ShardPart, SinkPart, SourcePart
from streamsd.programs.flow.peers import await_listeners


def run(engine: Engine, store: Path, epoch: float) -> None:
    """Until the sources end or the flow is stopped. `store`: a directory for the recovery store. `epoch`: seconds.
    Raises what a source, sink or step raised."""
    engine.open(store, epoch)
    flow = Dataflow("flow")
    stream = op.input("source", flow, _Source(engine))
    if engine.plan.keyed is not None:
        stream = op.stateful_batch("shards", stream, lambda state: _Shard(engine, state))
    if engine.plan.results is not None:
        stream = op.map("together", stream, lambda item: (TOGETHER, item[1]))
        stream = op.stateful_batch("results", stream, lambda state: _Results(engine, state))
    stream = op.flat_map_batch("spread", stream, engine.spread)
    op.output("sinks", stream, _Sinks(engine))
    interval = timedelta(seconds=epoch)
    recovery = RecoveryConfig(store)  # type: ignore[no-untyped-call]  # a compiled module without types
    member = engine.member
    if member.of == 1:
        _apart(engine, lambda: run_main(flow, epoch_interval=interval, recovery_config=recovery))  # type: ignore[no-untyped-call]  # as above
        return
    await_listeners(member.addresses[: member.number])
    cluster_main(  # type: ignore[no-untyped-call]  # as above
        flow, list(member.addresses), member.number, epoch_interval=interval, recovery_config=recovery
    )


def _apart(engine: Engine, work: Callable[[], None]) -> None:
    """Until it ends, or something that it calls fails. Of that Bytewax would say on the standard error that it
    panicked, and where in its own code, so it is not told: its thread waits until the process ends, which is soon."""
    outcome: list[BaseException] = []

    def call() -> None:
        try:
            work()
        except BaseException as fault:  # noqa: BLE001  # it is raised by who waits
            outcome.append(fault)
        finally:
            engine.gone.set()

    engine.apart = True
    threading.Thread(target=call, name="bytewax", daemon=True).start()
    engine.gone.wait()
    if engine.fault is not None:
        raise engine.fault
    if outcome:
        raise outcome[0]


class _Source(FixedPartitionedSource[Any, Any]):
    """A part for each process that there ever was. The states of those that are no more stay what they are."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def list_parts(self) -> list[str]:
        return [str(number) for number in self._engine.member.parts()]

    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> _Part:
        member, number = self._engine.member, int(for_part)
        with self._engine.inside():
            member.give(number, resume_state)
        mine = number == member.number
        return _Part(SourcePart(self._engine, resume_state) if mine else FormerPart(self._engine, resume_state))


class _Part(StatefulSourcePartition[Any, Any]):
    def __init__(self, part: SourcePart | FormerPart) -> None:
        self._part = part
        self._asked = datetime.now(UTC)

    def next_batch(self) -> Iterable[Any]:
        self._asked = datetime.now(UTC)
        try:
            return self._part.next_batch()
        except Ended:
            raise StopIteration from None
        except Left:
            raise AbortExecution from None

    def next_awake(self) -> datetime | None:
        # Bytewax counts from before it asked for the batch: after one that took ten seconds (a step of the operator's
        # own) a nap from now on would last ten more, in which the whole flow stands still.
        return _after(self._part.nap(), self._asked)

    def snapshot(self) -> Any:
        return self._part.snapshot()


class _Keyed(KeyedPart, StatefulBatchLogic[Any, Any, Any]):
    """A part as Bytewax calls it."""

    def on_batch(self, values: list[Any]) -> tuple[Iterable[Any], bool]:
        return self.take(values), StatefulBatchLogic.RETAIN

    def on_notify(self) -> tuple[Iterable[Any], bool]:
        return self.go_on(), StatefulBatchLogic.RETAIN

    def on_eof(self) -> tuple[Iterable[Any], bool]:
        return self.end(), StatefulBatchLogic.RETAIN

    def notify_at(self) -> datetime | None:
        return _after(self.nap())


class _Shard(ShardPart, _Keyed):
    """A shard as Bytewax calls it."""


class _Results(ResultsPart, _Keyed):
    """The batches behind a window as Bytewax calls them."""


class _Sinks(FixedPartitionedSink[Any, Any]):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._places = {part: place for place, part in enumerate(engine.outlets.all_parts)}

    def list_parts(self) -> list[str]:
        return self._engine.outlets.parts

    def part_fn(self, item_key: str) -> int:
        return self._places[item_key]

    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> _SinkPart:
        return _SinkPart(self._engine, for_part, resume_state)


class _SinkPart(SinkPart, StatefulSinkPartition[Any, Any]):
    """The sink as Bytewax takes it."""


def _after(seconds: float | None, since: datetime | None = None) -> datetime | None:
    return None if seconds is None else (since or datetime.now(UTC)) + timedelta(seconds=seconds)
