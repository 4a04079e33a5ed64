"""The recovery store without Bytewax: the same file, and what a crash left half done is not taken for stored."""

from __future__ import annotations

import pickle
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from streamsd.programs.flow.durable import StateDamaged
from streamsd.programs.flow.snapshots import SHARDS, SINKS, SOURCE, Snapshots, open_store


def rows(directory: Path, query: str, *values: Any) -> list[tuple[Any, ...]]:
    database = sqlite3.connect(directory / "part-0.sqlite3", isolation_level=None)
    try:
        return database.execute(query, values).fetchall()
    finally:
        database.close()


def run(directory: Path, *epochs: dict[tuple[str, str], Any]) -> None:
    """One run that stores these epochs, and crashes."""
    open_store(directory, begun=False)
    snapshots = Snapshots(directory)
    for changed in epochs:
        snapshots.store([(step, key, state) for (step, key), state in changed.items()])
    snapshots.close()


def states(directory: Path) -> dict[tuple[str, str], Any]:
    snapshots = Snapshots(directory)
    snapshots.close()
    return snapshots.states


def test_the_store_is_the_one_that_bytewax_makes(tmp_path):
    recovery = pytest.importorskip("bytewax.recovery")
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    open_store(ours, begun=False)
    recovery.init_db_dir(theirs, 1)

    def shape(directory: Path) -> Any:
        tables = rows(directory, "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
        told = [rows(directory, f"PRAGMA {name}") for name in ("user_version", "journal_mode")]
        parts = rows(directory, "SELECT part_index, part_count FROM parts")
        return [(name, "".join(sql.split())) for name, sql in tables], told, parts

    assert shape(ours) == shape(theirs)


def test_the_newest_state_of_each_is_what_the_next_run_begins_with(tmp_path):
    run(
        tmp_path, {(SOURCE, "0"): 1, (SHARDS, "3"): "a"}, {(SOURCE, "0"): 2}, {(SOURCE, "0"): 3, (SINKS, "out"): (9, 1)}
    )
    assert states(tmp_path) == {(SOURCE, "0"): 3, (SHARDS, "3"): "a", (SINKS, "out"): (9, 1)}
    run(tmp_path, {(SOURCE, "0"): 4, (SHARDS, "3"): "b"})
    assert states(tmp_path) == {(SOURCE, "0"): 4, (SHARDS, "3"): "b", (SINKS, "out"): (9, 1)}
    assert len(rows(tmp_path, "SELECT 1 FROM snaps")) == 3, "old ones are removed"


def test_an_empty_store_begins_with_the_first_epoch(tmp_path):
    open_store(tmp_path, begun=False)
    open_store(tmp_path, begun=True)
    first = Snapshots(tmp_path)
    first.close()
    assert (first.epoch, first.states) == (1, {})


def test_a_state_that_cannot_be_stored_leaves_the_epoch_before(tmp_path):
    run(tmp_path, {(SOURCE, "0"): 1, (SHARDS, "1"): "a"})
    snapshots = Snapshots(tmp_path)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        snapshots.store([(SOURCE, "0", 2), (SHARDS, "1", lambda: None)])
    snapshots.close()
    assert states(tmp_path) == {(SOURCE, "0"): 1, (SHARDS, "1"): "a"}


def test_of_several_workers_the_slowest_says_what_is_whole(tmp_path):
    run(tmp_path, {(SOURCE, "0"): 1})
    rows(tmp_path, "INSERT INTO exs (ex_num, worker_count, resume_epoch) VALUES (9, 3, 2)")
    for worker, epoch in ((0, 7), (1, 5)):
        rows(tmp_path, "INSERT INTO fronts (ex_num, worker_index, worker_frontier) VALUES (9, ?, ?)", worker, epoch)
    for epoch in (1, 4, 5, 6):
        values = (epoch, pickle.dumps(f"of {epoch}"))
        rows(
            tmp_path, "INSERT INTO snaps (step_id, state_key, snap_epoch, ser_change) VALUES ('s', 'k', ?, ?)", *values
        )
    told = Snapshots(tmp_path)
    told.close()
    assert (told.epoch, told.states[("s", "k")]) == (2, "of 1"), "the third has stored nothing"


def test_a_state_of_an_epoch_that_was_not_whole_is_never_taken(tmp_path):
    """The run that left it crashed; the next one does not touch its key, and crashes as well."""
    run(tmp_path, {(SOURCE, "0"): 1, (SHARDS, "1"): "stored"})
    ghost = (SHARDS, "1", 2, pickle.dumps("has seen what comes again"))
    rows(tmp_path, "INSERT INTO snaps (step_id, state_key, snap_epoch, ser_change) VALUES (?, ?, ?, ?)", *ghost)
    run(tmp_path, {(SOURCE, "0"): 2})
    assert states(tmp_path) == {(SOURCE, "0"): 2, (SHARDS, "1"): "stored"}


@pytest.mark.parametrize("fault", ["no database", "cut", "empty", "missing", "no state", "no table"])
def test_a_store_that_somebody_else_changed_is_told_and_not_begun_anew(tmp_path, fault):
    run(tmp_path, {(SOURCE, "0"): 1, (SHARDS, "1"): "a" * 20_000})
    path = tmp_path / "part-0.sqlite3"
    rows(tmp_path, "PRAGMA wal_checkpoint(TRUNCATE)")
    match fault:
        case "no database":
            path.write_bytes(b"\x07" * 50_000)
        case "cut":
            path.write_bytes(path.read_bytes()[:9000])
        case "empty":
            path.write_bytes(b"")
        case "missing":
            path.unlink()
        case "no state":
            rows(tmp_path, "UPDATE snaps SET ser_change = x'00ff'")
        case "no table":
            rows(tmp_path, "DROP TABLE snaps")
    with pytest.raises(StateDamaged, match=r"part-0\.sqlite3"):
        open_store(tmp_path, begun=True)
