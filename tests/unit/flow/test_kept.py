"""A shard whose state is journalled says what one that never stopped says; a journal that is not whole is told."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest

from streamsd.flow.pipeline import PIECE, Chunk, Pipeline
from streamsd.flow.sessions import Late
from streamsd.flow.spec import FlowSpec
from streamsd.flow.stored import dump_scalars, load
from streamsd.programs.flow import kept
from streamsd.programs.flow.durable import StateDamaged
from streamsd.programs.flow.journal import Journal, JournalRoom
from streamsd.programs.flow.kept import KeptShard

EMIT = {"n": "count()", "mean": "mean(v)", "kinds": "distinct(v)", "all": "collect(v, 5)", "first": "first(v)"}
WINDOWS = [{"tumbling": "10ms"}, {"sliding": {"size": "30ms", "every": "10ms"}}, {"session": {"gap": "7ms"}}]
SCALAR = {"n": "count()", "mean": "mean(v + 0.1)", "low": "min(v)", "some": "sum(v if v > 3 else None)"}
"""What is kept in states of numbers and nulls alone, which are written in another way."""


def pipeline(window: dict[str, Any], emit: dict[str, str] = EMIT, key: Any = "k") -> Pipeline:
    spec = {
        "source": {"generator": {"fields": {"n": "n"}}},
        "schema": {"k": "str", "t": "time_ms", "v": "int"},
        "steps": [{"window": {**window, "time": "t", "key": key, "emit": emit}}],
        "sink": {"discard": {}},
    }
    return Pipeline(FlowSpec.model_validate(spec), Path())


def works(made: Pipeline, rnd: random.Random) -> list[tuple[int, Any]]:
    """What the front gives the shards, drawn at random."""
    given: list[tuple[int, Any]] = []
    for batch in range(60):
        messages = [
            f'{{"k":"k{rnd.randrange(400)}","t":{batch * 3 + rnd.randrange(9)},"v":{rnd.randrange(9)}}}'.encode()
            for _ in range(rnd.randrange(120))
        ]
        made.front.feed("in", Chunk("", messages), 0, 0.0)
        given += made.front.work()
    made.front.close()
    return [*given, *made.front.work()]


def plain(said: list[Any]) -> list[Any]:
    """What a shard said, key by key: how it was cut in pieces does not matter."""
    found: list[Any] = []
    for item in said:
        if isinstance(item, Late):
            found.append(("late", repr(item.raw)))
        else:
            start, end, rows = item
            found += [
                (f"{start} {end} {key}", repr([sorted(x) if type(x) is set else x for x in a])) for key, a in rows
            ]
    return sorted(found)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_JOURNAL_FROM", 3)
    monkeypatch.setattr(kept, "_APART", 0)
    monkeypatch.setattr(kept, "_JOURNAL_TO", 1)
    monkeypatch.setattr(kept, "_SLACK", 200)
    monkeypatch.setattr(kept, "PIECE", 2)


@pytest.mark.parametrize("window", WINDOWS, ids=["tumbling", "sliding", "session"])
@pytest.mark.parametrize(("emit", "key"), [(EMIT, "k"), (SCALAR, "k"), (SCALAR, ["k", "v"])], ids=["", "scalar", "two"])
@pytest.mark.parametrize("seed", range(6))
def test_a_shard_killed_at_any_moment_says_what_one_says_that_went_on(
    tmp_path: Path, small: None, window: dict[str, Any], emit: dict[str, str], key: Any, seed: int
) -> None:
    rnd = random.Random(seed)
    made = pipeline(window, emit, key)
    assert made.plan.keyed is not None
    new = made.plan.keyed.shard
    by_shard: dict[int, list[Any]] = {}
    for number, work in works(made, rnd):
        by_shard.setdefault(number, []).append(work)
    for number, todo in by_shard.items():
        expected = []
        shard = new()
        for work in fresh(todo):
            expected += shard.apply(work)
            while shard.due:
                expected += shard.drain(PIECE)
        assert plain(survivor(tmp_path, new, number, todo, rnd)) == plain(expected)
    assert len(list(tmp_path.iterdir())) <= 3 * len(by_shard), "journals that nobody needs are removed"


def fresh(todo: list[Any]) -> list[Any]:
    """Shards may take what they are given into their state: each gets its own."""
    return copy.deepcopy(todo)


def survivor(directory: Path, new: Any, number: int, todo: list[Any], rnd: random.Random) -> list[Any]:
    """What was said up to each stored state, by shards that were killed in between."""
    room = JournalRoom(directory)
    shard = KeptShard(new(), room, number)
    stored: tuple[Any, int, list[Any]] = (None, 0, [])
    said: list[Any] = []
    at = 0
    pending = fresh(todo)
    while at < len(todo) or shard.due:
        if at < len(todo) and (not shard.due or rnd.random() < 0.5):
            said += shard.apply(pending[at])
            at += 1
        else:
            said += shard.drain()
        if rnd.random() < 0.3:
            stored = (shard.snapshot(), at, list(said))
            room.settle()
        elif rnd.random() < 0.1:
            room.close()
            room = JournalRoom(directory)
            shard = KeptShard(new(), room, number)
            state, at, before = stored
            said, pending = list(before), fresh(todo)
            if state is not None:
                shard.restore(state)
    room.close()
    return said


def test_a_journal_that_is_short_damaged_or_gone_is_told(tmp_path: Path) -> None:
    path = tmp_path / "1-0.journal"
    journal = Journal.begin(path, b"base")
    journal.add(b"change")
    length = journal.write()
    journal.add(b"of no epoch")
    journal.write()
    journal.close()
    resumed, records = Journal.resume(path, length)
    assert records == [b"base", b"change"]
    assert path.stat().st_size == length, "what belongs to no epoch is cut off"
    resumed.add(b"more")
    longer = resumed.write()
    resumed.close()
    assert Journal.resume(path, longer)[1] == [b"base", b"change", b"more"]

    with pytest.raises(StateDamaged, match=f"ends at byte {longer} of {longer + 1}"):
        Journal.resume(path, longer + 1)
    with pytest.raises(StateDamaged, match="damaged at byte 12"):
        Journal.resume(path, 12 + 3)  # within a record's head
    data = bytearray(path.read_bytes())
    data[12 + 8 + 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(StateDamaged, match="damaged at byte 12"):
        Journal.resume(path, longer)
    path.unlink()
    with pytest.raises(StateDamaged, match="missing"):
        Journal.resume(path, longer)


def test_scalars_come_back_as_they_were_to_the_last_bit() -> None:
    cells = [0, -1, 2**63, -(2**63), 0.1, -0.0, 5e-324, float("inf"), float("nan"), None, True, False, 1.0, "é\0", ""]
    for more in ([], [2**64], [-(2**63) - 1], ["\ud800"]):
        state = [[7, ["a", "b"], cells + more]]
        data = dump_scalars(state)
        assert (data[:1] == b"s") == (not more), "what MessagePack does not take is written as before"
        assert repr(load(data)) == repr(state)
        assert [type(cell) for cell in load(data)[0][2]] == [type(cell) for cell in cells + more]


def test_which_windows_are_of_scalars() -> None:
    for emit, key, first in ((SCALAR, "k", b"s"), (SCALAR, ["k", "v"], b"s"), (EMIT, "k", b"m"), (SCALAR, "t", b"m")):
        keyed = pipeline(WINDOWS[0], emit, key).plan.keyed
        assert keyed is not None
        assert keyed.shard().state()[:1] == first, (emit, key)
