"""What a flow is to whoever drives it: a source, shards, batches and sinks, each with a state that is taken when an
epoch ends.

Bytewax drives them (`graph`), or a loop of ours where there is no Bytewax (`loop`). Either way:

    source (all of a flow's sources, and the loop that decodes, filters, maps and adds up)
      -> [64 shards -> [batches of results]] -> spread: results to the sinks' loops -> sinks

The driver takes the states of source, shards and sinks at the same point of the stream, stores them, and only then asks
the source for more. So a `next_batch` after a `snapshot` means: everything before that is safe.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Any

from streamsd.flow.meeting import Meeting
from streamsd.programs.flow.credit import weight_of_batch
from streamsd.programs.flow.engine import Engine
from streamsd.programs.flow.kept import KeptShard
from streamsd.programs.flow.life import Ended, Left

TOGETHER = "all"
"""The key of all results, where batches are made of them."""
NAP = 0.001
"""Seconds after which sources that had nothing are looked at again."""
_DOZE = 0.005
"""The same once there was nothing for a second: the loop then takes 1 % of a core and not 3 (on Bytewax 3 and not 4 to
5: it looks on its own as well)."""
_AWAKE = 1.0
"""Seconds after the last message from which on they are looked at less often."""
_SLEEP = 0.05
"""Seconds between two looks at a process that is no more."""
_MOST_AT_ONCE = 0.25
"""Seconds that one batch may take to be gathered."""


class FormerPart:
    """The state of a process that is no more: it stays what it is."""

    def __init__(self, engine: Engine, state: Any) -> None:
        self._engine = engine
        self._state = state

    def next_batch(self) -> list[Any]:
        """See SourcePart."""
        if self._engine.closing:
            raise Ended
        return []

    def nap(self) -> float | None:
        """See SourcePart."""
        return _SLEEP

    def snapshot(self) -> Any:
        """See SourcePart."""
        return self._state


class SourcePart:
    """All sources together: their positions, the step's memories and the windows' front are one state."""

    def __init__(self, engine: Engine, state: Any) -> None:
        self._engine = engine
        self._before = state
        self._idle = False
        self._busy = time.monotonic()
        """When there was something last."""
        self._taken = False
        """A state was taken; when we are asked again it is stored."""
        self._since = False
        """Something was given since the newest state was taken."""
        self._epoch_began = time.monotonic()
        self._store_takes = 0.0
        """Seconds from the end of an epoch until it is stored, of late."""
        self._looked = time.monotonic()
        self._worked: float | None = None

    def next_batch(self) -> list[Any]:
        """(shard, work) in the order in which it came. Raises Ended when the sources are at their end, Left when the
        flow is stopped and all that was given is stored."""
        with self._engine.inside():
            return self._next_batch()

    def _next_batch(self) -> list[Any]:
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
                raise Ended
            engine.life.beat += 1
            return []
        # At the end of all sources, of which some process may know already and be closing, nobody waits to be quiet.
        if engine.life.stopping.is_set() and not engine.all_done:
            engine.life.beat += 1
            if not (self._since or engine.unstored) and engine.quiet():
                raise Left
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
        if got:
            self._busy = time.monotonic()
        self._since = self._since or got or bool(items)
        return items

    def _age(self) -> float:
        return time.monotonic() - self._epoch_began

    def nap(self) -> float | None:
        """Seconds until it is to be asked again; None: at once."""
        if self._engine.member.of > 1 and self._age() >= self._engine.epoch:
            # The epoch ends now. Bytewax would ask in a loop, on a whole core, whether all others are done with it.
            return min(0.5 * self._store_takes, 0.05)
        if not self._idle:
            return None
        return NAP if time.monotonic() - self._busy < _AWAKE else _DOZE

    def snapshot(self) -> Any:
        """What is stored of it at the end of an epoch."""
        self._epoch_began = time.monotonic()
        with self._engine.inside():
            self._taken = True
            self._since = self._engine.unstored = False
            return self._engine.held() if self._engine.has_begun else self._before


class KeyedPart(ABC):
    """What a driver gives work by key."""

    @abstractmethod
    def take(self, values: list[Any]) -> list[Any]:
        """Work to results."""

    @abstractmethod
    def go_on(self) -> list[Any]:
        """The next of what it says by itself, once its time has come."""

    @abstractmethod
    def end(self) -> list[Any]:
        """All that is left, at the end of the sources."""

    @abstractmethod
    def nap(self) -> float | None:
        """Seconds until it is to go on; None: it has nothing to say."""

    @abstractmethod
    def snapshot(self) -> Any:
        """What is stored of it at the end of an epoch in which it was given something."""


class ShardPart(KeyedPart):
    """One shard; or, under the key of what passes by, nothing: the work says which."""

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

    def take(self, values: list[Any]) -> list[Any]:
        """Work to results."""
        with self._engine.inside():
            return self._take(values)

    def _take(self, values: list[Any]) -> list[Any]:
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
        if not out and self._shard is not None and self._shard.journalled and self._engine.must_settle():
            out.append(([], []))
        return out

    def go_on(self) -> list[Any]:
        """The next piece of the windows that are closed, once the sources were looked at again."""
        with self._engine.inside():
            out: list[Any] = []
            if self._shard is not None and self._said_at != self._engine.looks and not self._engine.falls_silent:
                self._say(self._shard.drain(), out)
                self._engine.unstored = True
            return out

    def end(self) -> list[Any]:
        """All that is left of them."""
        with self._engine.inside():
            out: list[Any] = []
            while self._shard is not None and self._shard.due:
                self._say(self._shard.drain(), out)
            return out

    def nap(self) -> float | None:
        """Seconds until it is to go on; None: it has said everything."""
        if self._shard is None or not self._shard.due or self._engine.falls_silent:
            return None
        return NAP if self._said_at == self._engine.looks else 0.0

    def _say(self, said: list[Any], out: list[Any]) -> None:
        self._said_at = self._engine.looks
        if said:
            out.append(self._engine.said(said))
        self._drains()

    def _drains(self) -> None:
        assert self._shard is not None
        self._engine.draining(str(self._number), self._shard.due)

    def snapshot(self) -> Any:
        """What is stored of it at the end of an epoch in which it was given something."""
        if self._shard is None or self._meeting is None:
            return None
        with self._engine.inside():
            return self._number, self._meeting.floor, self._shard.snapshot()


class ResultsPart(KeyedPart):
    """The batches behind a window, of all keys. Its state is taken at the same point of the stream as those of the
    shards, which results come from, and of the sinks, which batches go to: a result is in a shard, here, or written."""

    def __init__(self, engine: Engine, state: Any) -> None:
        self._engine = engine
        self._waiting = engine.plan.standing.results
        if state is not None:
            self._waiting.restore(state)

    def take(self, values: list[tuple[list[Any], list[Any]]]) -> list[Any]:
        """Results and dead letters to batches and dead letters. There is always something, if only nothing: see
        `Engine.must_settle`."""
        with self._engine.inside():
            rows, letters = self._engine.gathered([row for rows, _ in values for row in rows])
            return [(rows, [*(letter for _, some in values for letter in some), *letters])]

    def go_on(self) -> list[Any]:
        """Batches whose time has come."""
        with self._engine.inside():
            if self._engine.falls_silent:
                return []
            self._engine.unstored = True
            return [self._engine.gathered([])]

    def end(self) -> list[Any]:
        """What waits, when nothing more comes."""
        with self._engine.inside():
            return [self._engine.gathered([], everything=True)]

    def nap(self) -> float | None:
        """Seconds until the next batch's time comes; None: it waits for none."""
        at = None if self._engine.falls_silent else self._waiting.next_due()
        return None if at is None else max(0.0, at / 1e6 - time.time())

    def snapshot(self) -> Any:
        """What is stored of it at the end of an epoch in which it was given something."""
        return self._waiting.state()


class SinkPart:
    """One sink, or the dead letters."""

    def __init__(self, engine: Engine, part: str, state: Any) -> None:
        self._engine = engine
        with engine.inside():
            self._outlet, self._meter = engine.outlets.begin(part, state)

    def write_batch(self, values: list[Any]) -> None:
        """Batches, in order."""
        with self._engine.inside(), self._engine.life.held_by(self._outlet):
            for batch in values:
                if batch.count:
                    self._outlet.write(batch)
                self._engine.credit.take(weight_of_batch(batch))
                if self._meter is not None:
                    self._meter.count += batch.count

    def snapshot(self) -> Any:
        """Its position at the end of an epoch in which it was given something, once all of it is safe."""
        with self._engine.inside():
            self._engine.settle()
            with self._engine.life.held_by(self._outlet):
                return self._outlet.flush()
