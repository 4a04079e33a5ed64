"""A flow in memory: what the tests of a flow use, and what the engine drives, piece by piece, in a process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from streamsd.flow.compiler import compile_flow
from streamsd.flow.faults import Dead, RowFault, dead
from streamsd.flow.plan import FlowPlan, Shard
from streamsd.flow.sessions import Late
from streamsd.flow.spec.flow import FlowSpec
from streamsd.flow.standing import Standing
from streamsd.flow.watermark import FAR, UNKNOWN

PIECE = 64
"""Keys of a closed window that a shard says at a time: 64 shards give the sinks some 4,000 results, in about 15 ms."""


@dataclass
class Counts:
    """What a flow did since it started. `late` and `dead` count messages; nothing else is ever lost."""

    received: int = 0
    bytes: int = 0
    dead: int = 0
    late: int = 0
    results: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Messages of one partition of a source, in order. `metas`: what the source says of each, or None."""

    partition: str
    messages: Sequence[bytes]
    metas: Sequence[dict[str, str]] | None = None

    def lines(self) -> Chunk:
        """Each line a message of its own; empty ones are left out."""
        if not any(b"\n" in message for message in self.messages):
            return self
        found = [[line for line in message.splitlines() if line.strip()] for message in self.messages]
        metas = self.metas and [meta for meta, lines in zip(self.metas, found, strict=True) for _ in lines]
        return Chunk(self.partition, [line for lines in found for line in lines], metas)


class Front:
    """The first part of a flow: from messages to rows, or to work for the shards. All of it runs in one thread.

    `sources`: those that are read here; None: all. `grouped`: there are other fronts, in other processes.
    """

    def __init__(
        self, plan: FlowPlan, counts: Counts, sources: Iterable[str] | None = None, grouped: bool = False
    ) -> None:
        self.plan = plan
        self.counts = counts
        self._now = 0
        self._expected: dict[str, list[str]] = {}
        if plan.keyed is not None:
            plan.keyed.clock.expect(plan.sources if sources is None else sources)
            plan.keyed.front.everywhere = grouped

    def expect(self, source: str, partitions: Sequence[str]) -> None:
        """A source has these partitions here: none of them may be overtaken, and no other one is waited for."""
        if self.plan.keyed is not None and self._expected.get(source) != list(partitions):
            self._expected[source] = list(partitions)
            names = [f"{source}/{partition}" for partition in partitions]
            self.plan.keyed.clock.replace(source, names)
            self.plan.keyed.clock.forget(source, names)

    def tell(self) -> tuple[int, int]:
        """(how far the partitions here let event time come, the greatest time here)."""
        keyed = self.plan.keyed
        return (FAR, UNKNOWN) if keyed is None or keyed.arrival else keyed.clock.tell()

    def hear(self, mark: int, farthest: int) -> None:
        """What the other fronts told."""
        keyed = self.plan.keyed
        if keyed is not None and not keyed.arrival:
            keyed.clock.hear(mark, farthest)

    def feed(self, source: str, chunk: Chunk, now: int, monotonic: float) -> tuple[list[Any], list[Dead]]:
        """Rows and dead letters of a chunk; what goes to shards waits in `work`. `now`: microseconds."""
        self._now = max(self._now, now)
        plan = self.plan.sources[source]
        if plan.spec.format == "ndjson":
            chunk = chunk.lines()
        metas: Any = chunk.metas
        if plan.meta and metas is None:
            metas = [None] * len(chunk.messages)
        partition = f"{source}/{chunk.partition}" if chunk.partition else source
        if self.plan.keyed is not None:
            self.plan.keyed.clock.sent(partition, monotonic)
        rows, faults = plan.loop(chunk.messages, metas, self._now, partition)
        self.counts.received += len(chunk.messages)
        return rows, [dead(fault, raw, source) for fault, raw in faults]

    def take(self, source: str, chunk: Chunk, now: int, monotonic: float) -> tuple[list[Any], list[Dead]]:
        """The same for a chunk as it comes over the wire: sealed messages are opened first. The dead letter of one that
        was opened is sealed again."""
        opener = self.plan.sources[source].opener
        if opener is None:
            return self.feed(source, chunk, now, monotonic)
        messages: list[bytes] = []
        metas: list[Any] | None = None if chunk.metas is None else []
        letters: list[Dead] = []
        for place, message in enumerate(chunk.messages):
            try:
                found = opener.open(message)
            except RowFault as fault:
                letters.append(dead(fault, message, source))
                continue
            messages += found
            if metas is not None and chunk.metas is not None:
                metas += [chunk.metas[place]] * len(found)
        rows, more = self.feed(source, Chunk(chunk.partition, messages, metas), now, monotonic)
        return rows, [*letters, *(replace(letter, raw=opener.close(letter.raw)) for letter in more)]

    def tick(self, now: int, monotonic: float) -> None:
        """Time goes by without messages: windows by arrival time close, silent partitions are let go."""
        self._now = max(self._now, now)
        keyed = self.plan.keyed
        if keyed is None:
            return
        if keyed.arrival:
            keyed.front.advance(self._now)
        else:
            keyed.front.tick(monotonic)

    def due(self, now: int, everything: bool = False) -> tuple[list[Any], list[Dead]]:
        """Rows and dead letters of what steps held back until now; all of it when the sources are at their end."""
        rows: list[Any] = []
        letters: list[Dead] = []
        before: set[str] = set()
        # What comes of one batch may wait in another one behind it.
        while (due := self.plan.standing.batchers.due(now, everything)) and due != before:
            before = due
            self._now = max(self._now, now)
            for name, source in self.plan.sources.items():
                for partition in sorted(p for p in due if p in ("", name) or p.startswith(f"{name}/")):
                    made, faults = source.loop([], [], self._now, partition or name)
                    rows += made
                    letters += [dead(fault, raw, name) for fault, raw in faults]
        return rows, letters

    def work(self) -> list[tuple[int, Any]]:
        """(shard, work) in order, for the shards to apply."""
        return self.plan.keyed.front.take_work() if self.plan.keyed is not None else []

    def close(self) -> None:
        """Nothing more comes from any source."""
        if self.plan.keyed is not None:
            self.plan.keyed.front.close_all()

    def time(self) -> tuple[str | None, tuple[str, ...]]:
        """(how far event time has come, which partitions hold it back); nothing for a flow without, or with the time of
        arrival. Called from another thread, for people."""
        keyed = self.plan.keyed
        if keyed is None or keyed.arrival:
            return None, ()
        mark = keyed.clock.watermark()
        try:
            return None if mark <= UNKNOWN else keyed.ticks.text(mark), keyed.clock.held_by()
        except ValueError:
            return None, keyed.clock.held_by()

    @property
    def late(self) -> int:
        return self.plan.keyed.front.late if self.plan.keyed is not None else 0


def say(plan: FlowPlan, said: Sequence[Any], now: int, counts: Counts) -> tuple[list[Any], list[Dead]]:
    """Rows and dead letters of what a shard said."""
    assert plan.keyed is not None
    rows: list[Any] = []
    faults: list[tuple[BaseException, Any]] = []
    kept = []
    for item in said:
        if isinstance(item, Late):
            counts.late += 1
            if item.raw is not None:
                faults.append((RowFault("late", "the message came after its window had closed"), item.raw))
        else:
            kept.append(item)
    plan.keyed.finish(kept, rows, faults, now)
    return rows, [dead(fault, raw) for fault, raw in faults]


def gathered(plan: FlowPlan, rows: list[Any], now: int, everything: bool = False) -> tuple[list[Any], list[Dead]]:
    """What becomes of a window's results in the batches behind it: those that are full, or old enough at `now`, or all
    of them when nothing more comes; and the dead letters of the steps there."""
    loop = plan.results
    if loop is None:
        return rows, []
    made, faults = loop(rows, None, now, "")
    while everything and plan.standing.results.due(now, everything):
        more, more_faults = loop([], None, now, "")
        made += more
        faults += more_faults
    return made, [dead(fault, raw) for fault, raw in faults]


def spread(plan: FlowPlan, rows: list[Any], now: int) -> tuple[dict[str, list[Any]], list[Dead]]:
    """What each sink gets of these rows, and the dead letters of its own steps."""
    out: dict[str, list[Any]] = {}
    letters: list[Dead] = []
    for name, sink in plan.sinks.items():
        if sink.loop is None:
            out[name] = rows
            continue
        made, faults = sink.loop(rows, None, now, "")
        letters += [dead(fault, raw) for fault, raw in faults]
        if made:
            out[name] = made
    return out, letters


class Pipeline:
    """The whole of a flow, in memory and one thread. `watch`: see `Standing`."""

    def __init__(self, spec: FlowSpec, base: Path, watch: Callable[[str], None] | None = None) -> None:
        self.standing = Standing(base, watch=watch)
        self.plan = compile_flow(spec, self.standing, base)
        self.counts = Counts()
        self.front = Front(self.plan, self.counts)
        self.results: dict[str, list[Any]] = {name: [] for name in self.plan.sinks}
        self.letters: list[Dead] = []
        self._shards: dict[int, Shard] = {}

    def feed(self, source: str, messages: Sequence[bytes], *, now: int = 0, partition: str = "") -> None:
        """Take messages in; results and dead letters gather in `results` and `letters`."""
        rows, letters = self.front.feed(source, Chunk(partition, messages), now, now / 1e6)
        self.letters += letters
        self._take(rows, now)

    def tick(self, now: int) -> None:
        self.front.tick(now, now / 1e6)
        rows, letters = self.front.due(now)
        self.letters += letters
        self._take(rows, now, tick=True)

    def finish(self, now: int = 0) -> None:
        """The sources are at their end."""
        rows, letters = self.front.due(now, everything=True)
        self.front.close()
        self.letters += letters
        self._take(rows, now, everything=True)

    def _take(self, rows: list[Any], now: int, tick: bool = False, everything: bool = False) -> None:
        for number, work in self.front.work():
            shard = self._shards.get(number)
            if shard is None:
                assert self.plan.keyed is not None
                shard = self._shards[number] = self.plan.keyed.shard()
            said: list[Any] = [*shard.apply(work)]
            while shard.due:
                said += shard.drain(PIECE)
            if said:
                more, letters = say(self.plan, said, now, self.counts)
                rows += more
                self.letters += letters
        if rows or tick or everything:
            rows, letters = gathered(self.plan, rows, now, everything)
            self.letters += letters
        if rows:
            out, letters = spread(self.plan, rows, now)
            self.letters += letters
            for name, made in out.items():
                sink = self.plan.sinks[name]
                self.results[name] += [item[-1] for item in made] if sink.addressed else made

    @property
    def late(self) -> int:
        return self.front.late + self.counts.late

    def state(self) -> Any:
        """All that a restart must not lose."""
        return self.standing.state(), {number: shard.state() for number, shard in self._shards.items()}

    def restore(self, state: Any) -> None:
        standing, shards = state
        self.standing.restore(standing)
        for number, held in shards.items():
            assert self.plan.keyed is not None
            self._shards[number] = self.plan.keyed.shard()
            self._shards[number].restore(held)
