"""The flow on Bytewax: the only module that knows it.

Bytewax gives the epochs: it takes the state of source, shards and sinks at the same point of the stream, stores it, and
only then asks the source for more. So a `next_batch` after a `snapshot` means: everything before that is safe.

    source (all of a flow's sources, and the loop that decodes, filters, maps and adds up)
      -> [stateful_batch: 64 shards]  -> spread: results to the sinks' loops -> sinks
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bytewax import operators as op
from bytewax._bytewax import run_main
from bytewax.dataflow import Dataflow
from bytewax.inputs import AbortExecution, FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import StatefulBatchLogic
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir

from streamsd.core.report import JsonValue
from streamsd.flow.faults import Dead, dead
from streamsd.flow.pipeline import Chunk, Counts, Front, say, spread
from streamsd.flow.plan import FlowPlan
from streamsd.flow.standing import Standing
from streamsd.programs.flow.figures import Figures, Meter, SourceFigures
from streamsd.programs.flow.intake import Intake
from streamsd.programs.flow.journal import JournalRoom
from streamsd.programs.flow.kept import KeptShard
from streamsd.programs.flow.letters import as_batch
from streamsd.programs.flow.life import Life
from streamsd.programs.flow.limits import Bucket, Shares
from streamsd.programs.flow.origins import Origins
from streamsd.programs.flow.outlet import Outlet, RetiredOutlet

_DEAD = "dead"
_MOST = 5000
"""Messages in one batch: more would only make results wait."""
_NAP = timedelta(milliseconds=1)


class Engine:
    """One flow. `run` blocks until the sources end or the flow is stopped; everything else may be called meanwhile.

    `plan` is replaced by `patch`, between two batches.
    """

    def __init__(
        self,
        plan: FlowPlan,
        standing: Standing,
        intakes: Mapping[str, Intake],
        outlets: Mapping[str, Outlet],
        letters: Outlet,
        life: Life,
        retired: Iterable[str] = (),
    ) -> None:
        """`retired`: names of sinks that the stored state may know and that the flow has no longer."""
        self.life = life
        self._retired = {name: RetiredOutlet() for name in retired if name not in outlets}
        self.figures = Figures(
            sources={name: SourceFigures() for name in intakes},
        )
        self.figures.sinks = {name: Meter() for name in outlets}
        self.ended = False
        """The sources came to their end, and everything is stored."""
        self.standing = standing
        self._intakes = dict(intakes)
        self._outlets = dict(outlets)
        self._letters = letters
        self._counts = Counts()
        self._front = Front(plan, self._counts)
        self._limits = {name: Bucket(intake_limit(plan, name)) for name in intakes}
        self._shares = {name: Shares(intake_limit(plan, name)) for name in intakes}
        self._next: tuple[FlowPlan, threading.Event] | None = None
        self._again: list[tuple[str, list[bytes]]] = []
        self._room: JournalRoom | None = None
        self._origins: Origins | None = None
        self._draining: set[str] = set()
        self.taps: list[Callable[[str, Sequence[Any]], None]] = []

    @property
    def plan(self) -> FlowPlan:
        return self._front.plan

    def run(self, store: Path, epoch: float) -> None:
        """`store`: a directory for the recovery store. Raises what a source, sink or step raised."""
        self._room, self._origins = JournalRoom(store / "shards"), Origins(store / "origins")
        flow = Dataflow("flow")
        stream = op.input("source", flow, _Source(self))
        if self.plan.keyed is not None:
            stream = op.stateful_batch("shards", stream, lambda state: _Shard(self, state))
        stream = op.flat_map_batch("spread", stream, self._spread)
        op.output("sinks", stream, _Sinks(self))
        if not any(store.glob("part-*.sqlite3")):
            store.mkdir(parents=True, exist_ok=True, mode=0o700)
            init_db_dir(store, 1)  # type: ignore[no-untyped-call]  # a compiled module without types
        interval, recovery = timedelta(seconds=epoch), RecoveryConfig(store)  # type: ignore[no-untyped-call]  # as above
        run_main(flow, epoch_interval=interval, recovery_config=recovery)  # type: ignore[no-untyped-call]  # as above

    def close(self) -> None:
        """Let go of sources and sinks, after the run."""
        ends: list[Intake | Outlet] = [*self._intakes.values(), *self._outlets.values(), self._letters]
        for end in ends:
            end.close()
        if self._room is not None:
            self._room.close()

    def faults(self) -> list[tuple[str, str]]:
        """(reason, message) of each source and sink that something is wrong with now."""
        found = [("SourceUnreachable", f"{name}: {i.fault}") for name, i in self._intakes.items() if i.fault]
        found += [("SinkUnreachable", f"{name}: {o.fault}") for name, o in self._outlets.items() if o.fault]
        if self._letters.fault:
            found.append(("SinkUnreachable", f"dead letters: {self._letters.fault}"))
        found += [("TableUnreadable", table.fault) for table in self.standing.tables() if table.fault]
        return found

    def observed(self) -> dict[str, JsonValue]:
        """Everything that is counted and measured."""
        made = self.figures.observed()
        ends = [("sources", n, i.figures()) for n, i in self._intakes.items()]
        ends += [("sinks", n, o.figures()) for n, o in self._outlets.items()]
        for kind, name, figures in ends:
            told = made[kind]
            assert isinstance(told, dict)
            one = told[name]
            assert isinstance(one, dict)
            one.update(figures)
        watermark, held_by = self._front.time()
        if watermark is not None or held_by:
            made["watermark"], made["held_by"] = watermark, list(held_by)
        return made | dict(self.standing.counts())

    # --- change

    def patch(self, plan: FlowPlan, within: float = 10.0) -> bool:
        """Put a plan in the place of the one that runs, at a boundary of two batches. Whether it was done in time."""
        done = threading.Event()
        self._next = (plan, done)
        return done.wait(within)

    def _take_patch(self) -> None:
        if self._next is not None:
            plan, done = self._next
            self._next = None
            self._front.plan = plan
            for name, bucket in self._limits.items():
                bucket.change(intake_limit(plan, name))
                self._shares[name].change(intake_limit(plan, name))
            self.figures.patched += 1
            done.set()

    def replay(self, source: str, messages: list[bytes]) -> None:
        """Have messages of a source processed once more, with the next batch."""
        self._again.append((source, messages))

    # --- the source's side

    def begin(self, state: Any) -> None:
        """Start the sources: anew, or from a stored state."""
        positions: Mapping[str, Any] = {}
        if state is not None:
            standing, positions = state
            self.standing.restore(standing)
        for name, intake in self._intakes.items():
            intake.start(positions.get(name))

    def state(self) -> Any:
        return self.standing.state(), {name: intake.position() for name, intake in self._intakes.items()}

    def stored(self) -> None:
        """An epoch is safe."""
        self.figures.epochs += 1
        self.figures.stored_at = time.monotonic()
        for intake in self._intakes.values():
            intake.stored()

    def gather(self) -> tuple[list[tuple[str, Any]], bool]:
        """Take what the sources have. Returns the items, and whether there were messages."""
        self._take_patch()
        front = self._front
        now, monotonic = time.time_ns() // 1000, time.monotonic()
        rows: list[Any] = []
        letters: list[Dead] = []
        got = False
        while self._again:
            name, messages = self._again.pop(0)
            made, more = front.take(name, Chunk("", messages), now, monotonic)
            rows += made
            letters += more
            got = True
        for name, intake in self._intakes.items():
            bucket = self._limits[name]
            most = bucket.allowance(_MOST, monotonic)
            if most <= 0:
                continue
            front.expect(name, intake.partitions())
            figures = self.figures.sources[name]
            for chunk in intake.poll(most):
                size = sum(map(len, chunk.messages))
                bucket.spend(len(chunk.messages), size)
                figures.messages.count += len(chunk.messages)
                figures.bytes += size
                chunk, long = self._sized(name, chunk)
                letters += long
                chunk, excess = self._shares[name].admit(chunk, monotonic)
                figures.limited += len(excess)
                if excess and self._shares[name].dead:
                    letters += [Dead("rate-limited", "too much of one sender", m, name) for m in excess]
                made, more = front.take(name, chunk, now, monotonic)
                rows += made
                letters += more
                got = True
        if not got:
            front.tick(now, monotonic)
        made, more = front.due(now)
        rows += made
        letters += more
        self.life.beat += 1
        return self._items(rows, letters), got

    def _sized(self, name: str, chunk: Chunk) -> tuple[Chunk, list[Dead]]:
        """Without messages that are too long."""
        most = self.plan.sources[name].spec.max_message.bytes
        if not chunk.messages or max(map(len, chunk.messages)) <= most:
            return chunk, []
        fits = [len(message) <= most for message in chunk.messages]
        words = f"longer than {most} bytes"
        letters = [
            Dead("too-long", words, m[:4096], name) for m, fit in zip(chunk.messages, fits, strict=True) if not fit
        ]
        messages = [m for m, fit in zip(chunk.messages, fits, strict=True) if fit]
        metas = None if chunk.metas is None else [m for m, fit in zip(chunk.metas, fits, strict=True) if fit]
        return Chunk(chunk.partition, messages, metas), letters

    def finish(self) -> list[tuple[str, Any]]:
        """The sources are at their end: what the open windows say."""
        self._front.close()
        return self._items(*self._front.due(time.time_ns() // 1000, everything=True))

    def done(self) -> bool:
        return all(intake.done() for intake in self._intakes.values())

    def _items(self, rows: list[Any], letters: list[Dead]) -> list[tuple[str, Any]]:
        items: list[tuple[str, Any]] = [(str(shard), (str(shard), work)) for shard, work in self._front.work()]
        if rows or letters:
            passing = (rows, letters)
            items.append((_DEAD, passing if self.plan.keyed is None else (None, passing)))
        self.figures.late = self._front.late + self._counts.late
        return items

    # --- shards and sinks

    def shard(self, name: str) -> KeptShard:
        assert self.plan.keyed is not None
        assert self._room is not None
        return KeptShard(self.plan.keyed.shard(), self._room, name)

    @property
    def looks(self) -> int:
        """How often the sources were looked at: between two looks a shard says one piece, so that they wait for no
        more than that, also while an epoch is stored."""
        return self.life.beat

    def draining(self, name: str, more: bool) -> None:
        """A shard has more to say of windows that are closed, or has not."""
        if more:
            self._draining.add(name)
        else:
            self._draining.discard(name)

    @property
    def drained(self) -> bool:
        return not self._draining

    def settle(self) -> None:
        """An epoch ends in this process: all that its shards wrote is on the disk."""
        if self._room is not None:
            self._room.settle()

    def said(self, said: Sequence[Any]) -> tuple[list[Any], list[Dead]]:
        return say(self.plan, said, time.time_ns() // 1000, self._counts)

    def _spread(self, items: list[tuple[str, tuple[list[Any], list[Dead]]]]) -> Iterable[tuple[str, Any]]:
        """Results to batches of the sinks."""
        rows: list[Any] = []
        letters: list[Dead] = []
        for _, (more, dead_ones) in items:
            rows = rows + more if rows else more
            letters += dead_ones
        out: list[tuple[str, Any]] = []
        if rows:
            for tap in self.taps:
                tap("results", rows)
            plan = self.plan
            made, late = spread(plan, rows, time.time_ns() // 1000)
            letters += late
            for name, results in made.items():
                batch, faults = plan.sinks[name].encode(results)
                letters += [dead(fault, row) for fault, row in faults]
                if batch.count:
                    out.append((f"sink {name}", batch))
        if letters:
            self.figures.bury(Counter(letter.reason for letter in letters))
            out.append((_DEAD, as_batch(letters)))
        return out

    def outlet(self, part: str) -> tuple[Outlet, Any]:
        """A sink, and the meter of its results (None for the dead letters)."""
        if part == _DEAD:
            return self._letters, None
        name = part.removeprefix("sink ")
        if name in self._retired:
            return self._retired[name], None
        return self._outlets[name], self.figures.sinks[name]

    def begin_outlet(self, part: str, outlet: Outlet, position: Any) -> None:
        """Start a sink: where it stood in the stored state, else where it stood before the first result."""
        assert self._origins is not None
        known = position if position is not None else self._origins.known(part)
        outlet.start(known)
        if known is None:
            self._origins.keep(part, outlet.flush())

    def parts(self) -> list[str]:
        return sorted([_DEAD, *(f"sink {name}" for name in (*self._outlets, *self._retired))])


def intake_limit(plan: FlowPlan, name: str) -> Any:
    return plan.sources[name].spec.limit


class _Source(FixedPartitionedSource[Any, Any]):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def list_parts(self) -> list[str]:
        return ["all"]

    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> _Part:
        return _Part(self._engine, resume_state)


class _Part(StatefulSourcePartition[Any, Any]):
    """All sources together: their positions, the step's memories and the windows' front are one state."""

    def __init__(self, engine: Engine, state: Any) -> None:
        self._engine = engine
        self._idle = False
        self._taken = False
        """A state was taken; when we are asked again it is stored."""
        self._since = False
        """Something was given since the newest state was taken."""
        self._closing = False
        engine.begin(state)
        self._looked = time.monotonic()

    def next_batch(self) -> Iterable[Any]:
        engine = self._engine
        now = time.monotonic()
        engine.figures.pauses.take(now, now - self._looked)
        self._looked = now
        if self._taken:
            self._taken = False
            engine.stored()
        if self._closing:
            if engine.drained:
                raise StopIteration
            engine.life.beat += 1
            return []
        if engine.life.stopping.is_set():
            engine.life.beat += 1
            if not self._since:
                raise AbortExecution
            self._idle = True
            return []
        items, got = engine.gather()
        if not got and not items and engine.done():
            self._closing = True
            items = engine.finish()
        self._idle = not got
        self._since = self._since or got or bool(items)
        return items

    def next_awake(self) -> datetime | None:
        return datetime.now(UTC) + _NAP if self._idle else None

    def snapshot(self) -> Any:
        self._taken = True
        self._since = False
        return self._engine.state()


class _Shard(StatefulBatchLogic[Any, Any, Any]):
    """One shard; or, under the key of what passes by, nothing. Bytewax does not say which, so the work does."""

    def __init__(self, engine: Engine, state: Any) -> None:
        self._engine = engine
        self._name = ""
        self._said_at = 0
        self._shard: KeptShard | None = None
        if state is not None:
            self._name, held = state
            self._shard = engine.shard(self._name)
            self._shard.restore(held)
            engine.draining(self._name, self._shard.due)

    def on_batch(self, values: list[Any]) -> tuple[Iterable[Any], bool]:
        out: list[Any] = []
        for value in values:
            if value[0] is None:
                out.append(value[1])
                continue
            if self._shard is None:
                self._name = value[0]
                self._shard = self._engine.shard(self._name)
            self._say(self._shard.apply(value[1]), out)
        return out, StatefulBatchLogic.RETAIN

    def on_notify(self) -> tuple[Iterable[Any], bool]:
        out: list[Any] = []
        if self._shard is not None and self._said_at != self._engine.looks:
            self._say(self._shard.drain(), out)
        return out, StatefulBatchLogic.RETAIN

    def on_eof(self) -> tuple[Iterable[Any], bool]:
        out: list[Any] = []
        while self._shard is not None and self._shard.due:
            self._say(self._shard.drain(), out)
        return out, StatefulBatchLogic.RETAIN

    def notify_at(self) -> datetime | None:
        if self._shard is None or not self._shard.due:
            return None
        return datetime.now(UTC) + (_NAP if self._said_at == self._engine.looks else timedelta())

    def _say(self, said: list[Any], out: list[Any]) -> None:
        assert self._shard is not None
        self._said_at = self._engine.looks
        if said:
            out.append(self._engine.said(said))
        self._engine.draining(self._name, self._shard.due)

    def snapshot(self) -> Any:
        return None if self._shard is None else (self._name, self._shard.snapshot())


class _Sinks(FixedPartitionedSink[Any, Any]):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._places = {part: place for place, part in enumerate(engine.parts())}

    def list_parts(self) -> list[str]:
        return self._engine.parts()

    def part_fn(self, item_key: str) -> int:
        return self._places[item_key]

    def build_part(self, step_id: str, for_part: str, resume_state: Any) -> _SinkPart:
        return _SinkPart(self._engine, for_part, resume_state)


class _SinkPart(StatefulSinkPartition[Any, Any]):
    def __init__(self, engine: Engine, part: str, state: Any) -> None:
        self._engine = engine
        self._outlet, self._meter = engine.outlet(part)
        engine.begin_outlet(part, self._outlet, state)

    def write_batch(self, values: list[Any]) -> None:
        for batch in values:
            self._outlet.write(batch)
            if self._meter is not None:
                self._meter.count += batch.count

    def snapshot(self) -> Any:
        self._engine.settle()
        return self._outlet.flush()
