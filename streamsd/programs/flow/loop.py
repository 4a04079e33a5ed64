"""The flow on a loop of ours, in one process: for Pythons that Bytewax has no package for.

It does what Bytewax does with one worker, in the same order, and stores it in the same way (`snapshots`).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from streamsd.programs.flow.engine import Engine
from streamsd.programs.flow.life import Ended, Left
from streamsd.programs.flow.parts import TOGETHER, ResultsPart, ShardPart, SinkPart, SourcePart
from streamsd.programs.flow.snapshots import RESULTS, SHARDS, SINKS, SOURCE, Snapshots


def run(engine: Engine, store: Path, epoch: float) -> None:
    """Run the flow until its sources end or it is stopped. `store`: a directory with a recovery store. `epoch`: in
    seconds. Raises what a source, sink or step raised."""
    engine.open(store, epoch)
    snapshots = Snapshots(store)
    try:
        _Loop(engine, snapshots, epoch).run()
    finally:
        snapshots.close()


class _Loop:
    def __init__(self, engine: Engine, snapshots: Snapshots, epoch: float) -> None:
        self._engine = engine
        self._snapshots = snapshots
        self._epoch = epoch
        states, member = snapshots.states, engine.member
        for number in member.parts():
            member.give(number, states.get((SOURCE, str(number))))
        self._source = SourcePart(engine, states.get((SOURCE, str(member.number))))
        keyed = engine.plan.keyed is not None
        self._shards = {
            key: ShardPart(engine, state) for (step, key), state in states.items() if step == SHARDS and keyed
        }
        self._results = ResultsPart(engine, states.get((RESULTS, TOGETHER))) if engine.plan.results else None
        self._gathered = False
        """Whether what waits in batches is not what was stored."""
        self._sinks = {part: SinkPart(engine, part, states.get((SINKS, part))) for part in engine.outlets.parts}
        self._keyed = keyed
        self._given: set[str] = set()
        """Shards whose state is not what was stored."""
        self._written: set[str] = set()
        """The same of sinks."""

    def run(self) -> None:
        source, stopping = self._source, self._engine.life.stopping
        end = time.monotonic() + self._epoch
        while True:
            try:
                items = source.next_batch()
            except Ended:
                break
            except Left:
                return
            self._pass(items)
            going_on = self._go_on()
            if time.monotonic() >= end or stopping.is_set():
                self._store()
                end = time.monotonic() + self._epoch
            nap = source.nap()
            if nap is not None and not going_on:
                time.sleep(min(nap, max(0.0, end - time.monotonic())))
        for key, shard in self._shards.items():
            self._say(key, shard.end())
        if self._results is not None:
            self._gathered = True
            self._write([(TOGETHER, one) for one in self._results.end()])
        self._store()

    def _pass(self, items: Sequence[tuple[str, Any]]) -> None:
        """What the sources gave, to the shards or past them."""
        if not self._keyed:
            self._spread(items)
            return
        by_shard: dict[str, list[Any]] = defaultdict(list)
        for key, work in items:
            by_shard[key].append(work)
        results: list[tuple[str, Any]] = []
        for key, works in by_shard.items():
            if key not in self._shards:
                self._shards[key] = ShardPart(self._engine, None)
            results += [(key, one) for one in self._shards[key].take(works)]
        self._given |= by_shard.keys()
        self._spread(results)

    def _go_on(self) -> bool:
        """Have shards say the next piece of what they have to say. Whether there is more."""
        going_on = False
        for key, shard in self._shards.items():
            if shard.nap() is not None:
                self._say(key, shard.go_on())
                going_on = going_on or shard.nap() is not None
        results = self._results
        if results is not None and results.nap() == 0.0:
            self._gathered = True
            self._write([(TOGETHER, one) for one in results.go_on()])
        return going_on

    def _say(self, key: str, results: Iterable[Any]) -> None:
        self._given.add(key)
        self._spread([(key, one) for one in results])

    def _spread(self, items: Sequence[tuple[str, Any]]) -> None:
        if items and self._results is not None:
            self._gathered = True
            items = [(TOGETHER, one) for one in self._results.take([one for _, one in items])]
        self._write(items)

    def _write(self, items: Sequence[tuple[str, Any]]) -> None:
        if not items:
            return
        for part, batch in self._engine.spread(list(items)):
            self._sinks[part].write_batch([batch])
            self._written.add(part)

    def _store(self) -> None:
        """End an epoch: everything that was given is safe, with the positions of where it came from."""
        changed = [(SOURCE, str(self._engine.member.number), self._source.snapshot())]
        changed += [(SHARDS, key, self._shards[key].snapshot()) for key in self._given]
        if self._results is not None and self._gathered:
            changed.append((RESULTS, TOGETHER, self._results.snapshot()))
            self._gathered = False
        with self._engine.inside():
            self._engine.settle()
        changed += [(SINKS, part, self._sinks[part].snapshot()) for part in self._written]
        self._snapshots.store(changed)
        self._given.clear()
        self._written.clear()
