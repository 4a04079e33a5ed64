"""A flow in any number of processes, that changes at any moment and crashes at any other, says what one process says.

Here are no processes and no Bytewax, but what it promises: work comes to a shard in the order in which a process gave
it, those of several processes in any order; at the end of an epoch everything that was given has come; then the states
of all are stored at once, and with them the results.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict, deque
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamsd.flow.compiler import compile_flow
from streamsd.flow.inherit import Held, inherit
from streamsd.flow.meeting import Meeting, Told, fewer
from streamsd.flow.pipeline import Chunk, Counts, Front, say
from streamsd.flow.spec import FlowSpec
from streamsd.flow.standing import Standing
from streamsd.flow.watermark import FAR, UNKNOWN

DISORDER = 40
SCHEMA = {"k": "str", "t": "time_ms", "v": "int"}
EMIT = {"n": "count()", "total": "sum(v)", "low": "min(v)", "high": "max(v)"}


def streams(rnd: random.Random, partitions: int) -> list[list[dict[str, Any]]]:
    """Messages of each partition, none later than DISORDER."""
    return [
        [
            {"k": rnd.choice("abcd"), "t": place * step + rnd.randrange(DISORDER), "v": rnd.randrange(50)}
            for step in [rnd.choice([3, 11])]
            for place in range(rnd.randrange(60))
        ]
        for _ in range(partitions)
    ]


class Process:
    """One of them: it reads the partitions that are its own."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.number = world, number
        self.standing = Standing(Path())
        self.plan = compile_flow(world.spec, self.standing, Path())
        self.counts = Counts()
        mine = [name for name in world.sources if world.owner(name, "") == number]
        self.front = Front(self.plan, self.counts, mine, grouped=world.of > 1)
        self.positions = dict.fromkeys(mine, 0)
        self.foreign = Held(number, world.run, world.of)
        self.taken: frozenset[tuple[int, int]] = frozenset()
        self.begun = False

    def begin(self) -> None:
        world = self.world
        mine = inherit(world.found, self.number, world.of, world.run, world.owner)
        assert mine.foreign is not None
        self.foreign, self.taken, self.begun = mine.foreign, mine.taken, True
        self.floor, self.until = mine.floor, mine.until
        self.standing.inherit(mine)
        self.positions.update({source: value for (source, _), value in mine.positions.items()})
        self.give()

    def held(self) -> Held | None:
        world = self.world
        if not self.begun:
            return world.found[self.number]
        made = Held(self.number, world.run, world.of, floor=self.floor, until=self.until, taken=self.taken)
        made.front, made.mark = self.standing.front(), self.standing.mark()
        made.positions = self.foreign.positions | {(n, ""): (world.run, p) for n, p in self.positions.items()}
        made.times = self.foreign.times | {n: (world.run, t) for n, t in self.standing.times().items()}
        return made

    def share(self) -> None:
        board = self.world.board
        board[self.number] = self.front.tell()
        others = [told for number, told in board.items() if number != self.number]
        self.front.hear(min((t[0] for t in others), default=FAR), max((t[1] for t in others), default=UNKNOWN))

    def turn(self, rnd: random.Random) -> None:
        """Read something, or let time go by."""
        self.share()
        left = [name for name, place in self.positions.items() if place < len(self.world.sources[name])]
        if left and rnd.random() < 0.8:
            name = rnd.choice(left)
            place = self.positions[name]
            rows = self.world.sources[name][place : place + rnd.randrange(1, 12)]
            self.positions[name] += len(rows)
            pieces = [[row] for row in rows] if self.world.judged is not None else [rows]
            for piece in pieces:
                _, letters = self.front.feed(name, Chunk("", [json.dumps(row).encode() for row in piece]), 10**6, 0.0)
                assert letters == []
                if self.world.judged is not None:
                    self.world.judged[name, place] = self.plan.keyed.front.low
                    place += 1
        self.front.tick(10**6, 0.0)
        self.give()

    def give(self) -> None:
        work = self.front.work()
        for shard, one in fewer(work).items() if self.world.of > 1 else work:
            self.world.ways[(self.number, shard)].append(Told(self.number, shard, one, 0, self.floor))

    def done(self) -> bool:
        return self.begun and all(place == len(self.world.sources[n]) for n, place in self.positions.items())


class World:
    def __init__(self, spec: FlowSpec, sources: dict[str, list[dict[str, Any]]]) -> None:
        self.spec, self.sources = spec, sources
        self.run = self.of = 0
        self.stored: list[Held | None] = []
        self.shards: dict[int, bytes] = {}
        self.results: list[Any] = []
        self.late = 0
        self.judged: dict[tuple[str, int], int] | None = None
        """Of each message the first pane that was open when it came, as its front had it; None: nobody asks."""

    def owner(self, source: str, part: str) -> int:
        return list(self.sources).index(source) % self.of

    def start(self, of: int) -> None:
        self.run, self.of = self.run + 1, of
        self.stored += [None] * (of - len(self.stored))
        self.found = list(self.stored)
        self.board = dict.fromkeys(range(of), (UNKNOWN, UNKNOWN))
        self.ways: dict[tuple[int, int], deque[Told]] = defaultdict(deque)
        self.processes = [Process(self, number) for number in range(of)]
        self.meetings: dict[int, Meeting] = {}
        self.kept: dict[int, Any] = {}
        for shard, (floor, state) in self.shards.items():
            self.meeting(shard, floor)
            self.kept[shard].restore(state)
        self.fresh: list[Any] = []

    def meeting(self, shard: int, floor: int = UNKNOWN) -> Meeting:
        if shard not in self.meetings:
            keyed = self.processes[0].plan.keyed
            assert keyed is not None
            self.kept[shard] = keyed.shard()
            self.meetings[shard] = Meeting(self.kept[shard], self.of, floor)
        return self.meetings[shard]

    def deliver(self, rnd: random.Random) -> None:
        """One thing comes to its shard."""
        ways = [way for way, waiting in self.ways.items() if waiting]
        if not ways:
            return
        way = rnd.choice(ways)
        # What a process stores and sends is pickled: nobody shares an object with another.
        told = self.ways[way].popleft()
        first = self.processes[0]
        counts = Counts()
        said = self.meeting(way[1]).apply(told)
        while self.kept[way[1]].due:
            said += self.kept[way[1]].drain(7)
        rows, letters = say(first.plan, said, 0, counts)
        assert letters == []
        self.late += counts.late
        self.fresh += rows

    def epoch(self, rnd: random.Random) -> None:
        """Everything given comes, and is stored with the states."""
        while any(self.ways.values()):
            self.deliver(rnd)
        for process in self.processes:
            self.stored[process.number] = process.held()
        self.shards = {number: (meeting.floor, self.kept[number].state()) for number, meeting in self.meetings.items()}
        self.results += self.fresh
        self.fresh = []

    def finish(self, rnd: random.Random) -> None:
        for process in self.processes:
            process.share()
        for process in self.processes:
            process.share()
            process.front.close()
            process.give()
        self.late += sum(process.front.late for process in self.processes)
        self.epoch(rnd)


def run(steps: list[dict[str, Any]], seed: int, partitions: int, judged: bool = False) -> tuple[list[Any], World]:
    rnd = random.Random(seed)
    sources = dict(zip("pqr", streams(rnd, partitions), strict=False))
    source = {"generator": {"fields": {"n": "n"}}, "schema": SCHEMA}
    spec = FlowSpec.model_validate({"sources": dict.fromkeys(sources, source), "steps": steps, "sink": {"discard": {}}})
    world = World(spec, sources)
    world.judged = {} if judged else None
    for _ in range(rnd.randrange(6)):
        world.start(rnd.randrange(1, 4))
        for _ in range(rnd.randrange(4)):
            go(world, rnd, rnd.randrange(12))
            world.epoch(rnd)
        go(world, rnd, rnd.randrange(12))
    world.start(rnd.randrange(1, 4))
    while not all(process.done() for process in world.processes):
        go(world, rnd, 10)
        if rnd.random() < 0.2:
            world.epoch(rnd)
    world.finish(rnd)
    return [msgspec.to_builtins(row) for row in world.results], world


def go(world: World, rnd: random.Random, turns: int) -> None:
    """Each begins at some time, and works in turns with the others."""
    for _ in range(turns):
        process = rnd.choice(world.processes)
        if not process.begun:
            if rnd.random() < 0.5:
                process.begin()
        else:
            process.turn(rnd)
        if rnd.random() < 0.5:
            world.deliver(rnd)


def everything(world: World) -> list[dict[str, Any]]:
    return [row for rows in world.sources.values() for row in rows]


def told(rows: list[dict[str, Any]]) -> dict[str, Any]:
    values = [row["v"] for row in rows]
    return {"n": len(rows), "total": sum(values), "low": min(values), "high": max(values)}


seeds = st.integers(0, 2**32)
fast = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@fast
@given(seeds, st.integers(1, 3), st.sampled_from([(20, 20), (50, 50), (40, 10)]))
def test_windows_are_those_of_all_messages(seed, partitions, shape):
    size, every = shape
    kind = {"tumbling": size / 1000} if size == every else {"sliding": {"size": size / 1000, "every": every / 1000}}
    window = {**kind, "key": "k", "time": "t", "lateness": DISORDER / 1000, "emit": EMIT}
    found, world = run([{"window": window}], seed, partitions)
    wanted: dict[tuple[str, int], list[Any]] = defaultdict(list)
    for row in everything(world):
        latest = row["t"] // every * every
        for start in range(latest - size + every, latest + 1, every):
            wanted[(row["k"], start)].append(row)
    made = {(row["k"], row["window_start"]): row for row in found}
    assert len(made) == len(found), "a window came twice"
    assert world.late == 0
    assert {window: {name: row[name] for name in EMIT} for window, row in made.items()} == {
        window: told(rows) for window, rows in wanted.items()
    }


@fast
@given(seeds, st.integers(1, 3), st.sampled_from([(40, 10), (12, 4), (20, 20)]), st.sampled_from([0, 7, 15]))
def test_a_message_counts_in_the_windows_that_were_open_when_it_came_and_in_no_other(seed, partitions, shape, lateness):
    """Whatever the other processes knew by then: it was judged once, where it came in."""
    size, every = shape
    kind = {"tumbling": size / 1000} if size == every else {"sliding": {"size": size / 1000, "every": every / 1000}}
    window = {**kind, "key": "k", "time": "t", "lateness": lateness / 1000, "emit": EMIT}
    found, world = run([{"window": window}], seed, partitions, judged=True)
    assert world.judged is not None
    wanted: dict[tuple[str, int], list[Any]] = defaultdict(list)
    late = 0
    for name, rows in world.sources.items():
        for place, row in enumerate(rows):
            pane, low = row["t"] // every, world.judged[name, place]
            late += pane < low
            for window_pane in range(max(low, pane - size // every + 1), pane + 1):
                wanted[(row["k"], window_pane * every)].append(row)
    made = {(row["k"], row["window_start"]): row for row in found}
    assert len(made) == len(found), "a window came twice"
    assert world.late == late
    assert {window: {name: row[name] for name in EMIT} for window, row in made.items()} == {
        window: told(rows) for window, rows in wanted.items()
    }


@fast
@given(seeds, st.integers(1, 3))
def test_sessions_are_those_of_all_messages(seed, partitions):
    gap = 15
    window = {"session": {"gap": gap / 1000}, "key": "k", "time": "t", "lateness": DISORDER / 1000, "emit": EMIT}
    found, world = run([{"window": window}], seed, partitions)
    wanted: list[list[dict[str, Any]]] = []
    for key in "abcd":
        last = None
        for row in sorted((row for row in everything(world) if row["k"] == key), key=lambda row: row["t"]):
            if last is None or row["t"] - last >= gap:
                wanted.append([])
            wanted[-1].append(row)
            last = row["t"]
    made = Counter((row["k"], row["window_start"], *(row[name] for name in EMIT)) for row in found)
    assert world.late == 0
    assert made == Counter((rows[0]["k"], rows[0]["t"], *told(rows).values()) for rows in wanted)


@fast
@given(seeds)
@pytest.mark.parametrize("unmatched", ["left", "drop"])
def test_joins_are_those_of_all_messages(unmatched, seed):
    right = "coalesce(right.v, -1)" if unmatched == "left" else "right.v"
    join = {"left": "p", "right": "q", "on": "k", "time": "t", "within": 0.01, "lateness": DISORDER / 1000}
    emit = {"l": "left.v", "r": right}
    found, world = run([{"join": {**join, "unmatched": unmatched, "emit": emit}}], seed, 2)
    left, right_rows = world.sources["p"], world.sources["q"]
    pairs = [(a, b) for a in left for b in right_rows if a["k"] == b["k"] and abs(a["t"] - b["t"]) <= 10]
    wanted = Counter((a["v"], b["v"]) for a, b in pairs)
    if unmatched == "left":
        met = [id(a) for a, _ in pairs]
        wanted += Counter((a["v"], -1) for a in left if id(a) not in met)
    assert world.late == 0
    assert Counter((row["l"], row["r"]) for row in found) == wanted
