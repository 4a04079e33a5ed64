"""The engine of a flow in one process: what its sources, shards and sinks do, whoever calls them.

`parts` has a driver call it. Everything but `replay` and what is told to people runs in the flow's thread.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from streamsd.core.report import JsonValue
from streamsd.flow.faults import Dead, dead
from streamsd.flow.inherit import Held, inherit
from streamsd.flow.layout import Layout
from streamsd.flow.meeting import Meeting, Told, fewer
from streamsd.flow.outputs import Batch
from streamsd.flow.pipeline import Chunk, Counts, Front, gathered, say, spread
from streamsd.flow.plan import FlowPlan
from streamsd.flow.standing import Standing
from streamsd.flow.taps import Tap
from streamsd.flow.watermark import UNKNOWN
from streamsd.flow.windows import SHARDS
from streamsd.programs.flow.board import Column
from streamsd.programs.flow.closing import close_all
from streamsd.programs.flow.coming import Coming
from streamsd.programs.flow.credit import Credit, weight_of_batch, weight_of_work
from streamsd.programs.flow.figures import Figures
from streamsd.programs.flow.intake import Intake
from streamsd.programs.flow.intakes import Intakes
from streamsd.programs.flow.journal import JournalRoom
from streamsd.programs.flow.kept import KeptShard
from streamsd.programs.flow.letters import as_batch
from streamsd.programs.flow.life import Ended, Left, Life
from streamsd.programs.flow.member import Member
from streamsd.programs.flow.outlet import Outlet
from streamsd.programs.flow.outlets import Outlets
from streamsd.programs.flow.peers import refuse_strangers
from streamsd.programs.flow.sink_parts import DEAD, part_of, writer_of


class Engine:
    """`plan` is replaced between two batches, by one that is `coming`."""

    def __init__(
        self,
        plan: FlowPlan,
        standing: Standing,
        intakes: Mapping[str, Intake],
        outlets: Mapping[str, Outlet],
        letters: Outlet,
        life: Life,
        member: Member,
        ever: Iterable[str] = (),
    ) -> None:
        """`intakes`, `outlets`: those of this process. `letters`: where dead ones go; written to by the first process
        alone. `ever`: all parts of sinks that the stored state may know."""
        self.life = life
        self.member = member
        self.layout = Layout(plan.spec)
        self.outlets = Outlets(self.layout, plan, member.number, outlets, letters, ever)
        self._intakes = Intakes(plan, self.layout, intakes)
        self.figures = Figures(self._intakes.figures, self.outlets.meters)
        self.closing = False
        """The sources came to their end, everywhere."""
        self.standing = standing
        self._counts = Counts()
        self._front = Front(plan, self._counts, list(intakes), grouped=member.of > 1)
        self._begun = False
        self._foreign = Held(member.number, member.run, member.of)
        self._taken: frozenset[tuple[int, int]] = frozenset()
        self._floor = self._until = UNKNOWN
        self.credit = Credit(member)
        self._depth = 0
        self._resting = False
        self.epoch = 1.0
        self.apart = False
        """The driver has a thread of its own, and is not to hear what a source, sink or step raises: `gone` is set
        then, and the thread left where it is."""
        self.gone = threading.Event()
        self.fault: BaseException | None = None
        """What a source, sink or step raised first: in a cluster Bytewax only says that something did."""
        self.coming = Coming(self._change, lambda: member.board.verdict, lambda n: member.tell(Column.CHANGED, n))
        self._again: list[tuple[str, list[bytes]]] = []
        self._room: JournalRoom | None = None
        self._draining: set[str] = set()
        self._settles = -1
        self.unstored = False
        """Something was said by itself (a piece of a closed window, a batch whose time had come) since the newest state
        was taken."""
        self.turns = 0
        self.tap: Tap | None = None
        """Who looks at all results."""

    @property
    def plan(self) -> FlowPlan:
        return self._front.plan

    def open(self, store: Path, epoch: float) -> None:
        """`store`: the directory of the recovery store. `epoch`: seconds."""
        self.epoch = epoch
        self._room = JournalRoom(store / "shards")
        self.outlets.open(store / "origins")

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Around everything that the driver calls: whether we or it are at work, and what went wrong."""
        self._depth += 1
        self.turns += 1
        try:
            yield
        except Exception as fault:
            if not isinstance(fault, Ended | Left):
                self.fault = self.fault or fault
                if self.apart:
                    self.gone.set()
                    threading.Event().wait()
            raise
        finally:
            self._depth -= 1

    @property
    def at_work(self) -> bool:
        """Whether the flow's thread is in a source, step or sink, and does not wait for other processes there."""
        return self._depth > 0 and not self._resting

    def rest(self) -> None:
        """Wait while the others have much to do before an epoch can end, and this process nothing."""
        self._resting = True
        while self.drained and self.credit.others_busy and not self.life.stopping.is_set() and not self.coming.waits:
            self.life.beat += 1
            time.sleep(0.002)
        self._resting = False

    def close(self) -> None:
        """Let go of sources and sinks, after the run: side by side, and of those who do not let go in time anyhow."""
        close_all({**self._intakes.all, **self.outlets.all})
        if self._room is not None:
            self._room.close()

    def faults(self) -> list[tuple[str, str]]:
        """(reason, message) of each source and sink that something is wrong with now."""
        found = [*self._intakes.faults(), *self.outlets.faults()]
        found += [("TableUnreadable", table.fault) for table in self.standing.tables() if table.fault]
        return found

    def observed(self) -> dict[str, JsonValue]:
        """Everything that is counted and measured."""
        made = self.figures.observed()
        for kind, told in (("sources", self._intakes.observed()), ("sinks", self.outlets.figures())):
            for name, figures in told.items():
                _figures_of(made, kind, name).update(figures)
        watermark, held_by = self._front.time()
        if watermark is not None or held_by:
            made["watermark"], made["held_by"] = watermark, list(held_by)
        return made | dict(self.standing.counts())

    # --- change

    def _change(self, plan: FlowPlan) -> None:
        self._front.plan = plan
        self._intakes.change(plan)

    def replay(self, source: str, messages: list[bytes]) -> None:
        """Have messages of a source processed once more, with the next batch."""
        self._again.append((source, messages))

    # --- the source's side

    def begun(self) -> bool:
        """Start the sources: anew, or from the stored states, once all are there."""
        if not self._begun:
            states = self.member.states()
            if states is not None:
                self._begin(states)
        return self._begun

    @property
    def has_begun(self) -> bool:
        return self._begun

    def _begin(self, states: list[Held | None]) -> None:
        member = self.member
        if member.addresses:
            refuse_strangers(member.addresses)
        self._begun = True
        mine = inherit(states, member.number, member.of, member.run, self.layout.owner)
        assert mine.foreign is not None
        self._foreign, self._taken, self._floor, self._until = mine.foreign, mine.taken, mine.floor, mine.until
        self.standing.inherit(mine)
        self._intakes.start(mine.positions)
        self._share()
        member.tell(Column.READY, 1)

    def held(self) -> Held:
        """What this process stores, beside its shards and sinks."""
        member, foreign = self.member, self._foreign
        made = Held(member.number, member.run, member.of, floor=self._floor, until=self._until, taken=self._taken)
        made.front, made.mark = self.standing.front(), self.standing.mark()
        made.positions = foreign.positions | {n: (member.run, p) for n, p in self._intakes.positions().items()}
        made.times = foreign.times | {n: (member.run, t) for n, t in self.standing.times().items()}
        made.memories = foreign.memories | {n: (member.run, m) for n, m in self.standing.memories().items()}
        return made

    def stored(self) -> None:
        """An epoch is safe."""
        self.figures.epochs += 1
        self.figures.stored_at = time.monotonic()
        self._intakes.stored()

    def inherited(self) -> list[tuple[str, Any]]:
        """What a start has for the shards."""
        return self._items([], [])

    def quiet(self) -> bool:
        """Nothing of this process is under way any more. Whether that is so everywhere, and the flow may end."""
        self.member.tell(Column.QUIET, 1)
        return self.member.board.all(Column.QUIET)

    @property
    def all_quiet(self) -> bool:
        """Whether all processes were asked to stop, and have stored all that they took in."""
        return self.member.of > 1 and self.member.board.all(Column.QUIET)

    def _share(self) -> None:
        """Tell the others how far event time has come here, and hear how far elsewhere."""
        if self.member.of > 1:
            mark, farthest = self._front.tell()
            self.member.tell(Column.MARK, mark)
            self.member.tell(Column.FARTHEST, farthest)
            self._front.hear(*self.member.board.others(self.member.number))

    def gather(self) -> tuple[list[tuple[str, Any]], bool]:
        """Take what the sources have. Returns the items, and whether there were messages."""
        self.coming.look()
        self._share()
        self.life.beat += 1
        front = self._front
        if self.member.of > 1 and self.credit.used_up:
            return [], False
        now, monotonic = time.time_ns() // 1000, time.monotonic()
        rows: list[Any] = []
        letters: list[Dead] = []
        got = False
        while self._again:
            name, messages = self._again.pop(0)
            made, more = front.take(name, Chunk(self._intakes.partition(name), messages), now, monotonic)
            rows += made
            letters += more
            got = True
        for name, chunk, refused in self._intakes.look(front, monotonic):
            made, more = front.take(name, chunk, now, monotonic)
            rows += made
            letters += refused + more
            got = True
        if not got or self.member.of > 1:
            front.tick(now, monotonic)
        made, more = front.due(now)
        rows += made
        letters += more
        return self._items(rows, letters), got

    def finish(self) -> list[tuple[str, Any]]:
        """All sources are at their end: what the open windows say."""
        self._share()
        rows, letters = self._front.due(time.time_ns() // 1000, everything=True)
        self._front.close()
        return self._items(rows, letters)

    def done(self) -> bool:
        """Whether nothing more comes from any source, here or elsewhere."""
        if not self._intakes.done():
            return False
        self.member.tell(Column.DONE, 1)
        return self.all_done

    @property
    def all_done(self) -> bool:
        """Whether all sources, here and elsewhere, were found to be at their end."""
        return self.member.board.all(Column.DONE)

    def _items(self, rows: list[Any], letters: list[Dead]) -> list[tuple[str, Any]]:
        work = self._front.work()
        if self.plan.keyed is None:
            return [(DEAD, (rows, letters))] if rows or letters else []
        merged = fewer(work).items() if self.member.of > 1 else work
        items = [(str(shard), self._told(shard, one)) for shard, one in merged]
        if rows or letters:
            items.append((DEAD, self._told(SHARDS, (rows, letters))))
        self.figures.late = self._front.late + self._counts.late
        return items

    def _told(self, shard: int, work: Any) -> Told:
        member = self.member
        to = member.board.owner(shard) if member.of > 1 else None
        if to is None:
            return Told(member.number, shard, work, floor=self._floor)
        size = weight_of_work(work)
        self.credit.give(to, size)
        return Told(member.number, shard, work, size, self._floor)

    # --- shards and sinks

    def shows(self, shard: int) -> None:
        """A shard, or SHARDS for what passes by them, is in this process."""
        self.member.board.own(self.member.number, shard)

    def meeting(self, shard: KeptShard, floor: int | None) -> Meeting:
        """Where the fronts of all processes tell the shard. `floor`: as it was stored."""
        return Meeting(shard, self.member.of, UNKNOWN if floor is None else floor)

    def shard(self, number: int) -> KeptShard:
        assert self.plan.keyed is not None
        assert self._room is not None
        return KeptShard(self.plan.keyed.shard(), self._room, number)

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

    @property
    def falls_silent(self) -> bool:
        """Whether nothing is to be said by itself any more: the flow is stopped, and goes on from its state."""
        return self.life.stopping.is_set() and not self.closing

    def must_settle(self) -> bool:
        """Once for each look at the sources, of shards that wrote to journals: whether a sink has to be given
        something, if only nothing. Bytewax takes the state of sinks alone that were, and `settle` comes with it."""
        first, self._settles = self._settles != self.looks, self.looks
        return first

    def settle(self) -> None:
        """An epoch ends in this process: all that its shards wrote is on the disk."""
        if self._room is not None:
            self._room.settle()

    def said(self, said: Sequence[Any]) -> tuple[list[Any], list[Dead]]:
        return say(self.plan, said, time.time_ns() // 1000, self._counts)

    def gathered(self, rows: list[Any], everything: bool = False) -> tuple[list[Any], list[Dead]]:
        """Results to the batches behind the window, and what comes of them."""
        return gathered(self.plan, rows, time.time_ns() // 1000, everything)

    def spread(self, items: list[tuple[str, tuple[list[Any], list[Dead]]]]) -> Iterable[tuple[str, Any]]:
        """Results to batches of the sinks."""
        with self.inside():
            return self._spread_out(items)

    def _spread_out(self, items: list[tuple[str, tuple[list[Any], list[Dead]]]]) -> list[tuple[str, Any]]:
        rows: list[Any] = []
        letters: list[Dead] = []
        for _, (more, dead_ones) in items:
            rows = rows + more if rows else more
            letters += dead_ones
        out: list[tuple[str, Any]] = []
        if rows:
            if self.tap is not None:
                self.tap.take_all(rows)
            plan = self.plan
            made, late = spread(plan, rows, time.time_ns() // 1000)
            letters += late
            for name, results in made.items():
                batch, faults = plan.sinks[name].encode(results)
                letters += [dead(fault, row) for fault, row in faults]
                if batch.count:
                    out.append((part_of(self.layout, name, self.member.number), batch))
        if letters:
            self.figures.bury(Counter(letter.reason for letter in letters))
            out.append((DEAD, as_batch(letters)))
        if items and not out and self.plan.keyed is not None:
            out.append((self.outlets.parts[0], Batch(0)))
        for part, batch in out:
            self.credit.give(writer_of(self.layout, part), weight_of_batch(batch))
        return out


def _figures_of(made: dict[str, JsonValue], kind: str, name: str) -> dict[str, JsonValue]:
    told = made[kind]
    assert isinstance(told, dict)
    one = told[name]
    assert isinstance(one, dict)
    return one
