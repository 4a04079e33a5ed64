"""Bytewax's recovery store: made and mended here for whoever drives the flow, and used by the loop that runs where
there is no Bytewax. What one of them has stored the other goes on from.

The tables are those of Bytewax 0.21.1, as it makes them: one SQLite file, in which an execution is a run from an epoch
on, `fronts` has the epoch that each worker of it has come to, and `snaps` every state by step, key and the epoch at
whose end it was taken. To resume is to take the newest state of each that is older than what all workers came to.
"""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from streamsd.programs.flow.durable import StateDamaged

SOURCE, SHARDS, RESULTS, SINKS = "flow.source", "flow.shards", "flow.results", "flow.sinks"
"""The steps that have states, as Bytewax names those of `graph`."""

_FILE = "part-0.sqlite3"
_DAMAGE = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
"""What SQLite says of a file that is none of its, or lacks our tables."""
_VERSION = 5
"""Of the tables: each of them was a migration."""
_TABLES = """
CREATE TABLE parts (
    created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    part_index INTEGER PRIMARY KEY NOT NULL CHECK (part_index >= 0),
    part_count INTEGER NOT NULL CHECK (part_count > 0),
    CHECK (part_index < part_count)
) STRICT;
CREATE TABLE exs (
    created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    ex_num INTEGER NOT NULL PRIMARY KEY,
    worker_count INTEGER NOT NULL CHECK (worker_count > 0),
    resume_epoch INTEGER NOT NULL
) STRICT;
CREATE TABLE fronts (
    created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    ex_num INTEGER NOT NULL,
    worker_index INTEGER NOT NULL CHECK (worker_index >= 0),
    worker_frontier INTEGER NOT NULL,
    PRIMARY KEY (ex_num, worker_index)
) STRICT;
CREATE TABLE commits (
    created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    part_index INTEGER PRIMARY KEY NOT NULL,
    commit_epoch INTEGER NOT NULL
) STRICT;
CREATE TABLE snaps (
    created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    step_id TEXT NOT NULL,
    state_key TEXT NOT NULL,
    snap_epoch INTEGER NOT NULL,
    ser_change BLOB,
    PRIMARY KEY (step_id, state_key, snap_epoch)
) STRICT;
INSERT INTO parts (part_index, part_count) VALUES (0, 1);
"""


def open_store(directory: Path, begun: bool) -> None:
    """Make the store, or see that it is whole, before a run begins. `begun`: one has begun with it before, so it has to
    be there. StateDamaged when it cannot be gone on from, sqlite3.Error when the disk does not let us.

    States that were taken in an epoch that did not become whole are removed. Bytewax leaves them there: should its next
    run not touch one of these keys before it ends in a crash itself, the run after that would take the state, which has
    seen messages that are to come again.
    """
    with _opened(directory) as database:
        database.execute("PRAGMA journal_mode = WAL")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if not version and begun:
            raise StateDamaged(f"{directory / _FILE} is missing or empty: what it held is lost")
        if not version:
            database.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT;")
        epoch, _ = _newest(database)
        database.execute("DELETE FROM snaps WHERE snap_epoch >= ?", (epoch,))
        _states(database, directory, epoch)


@contextmanager
def _opened(directory: Path) -> Iterator[sqlite3.Connection]:
    """The store, for a moment."""
    database = sqlite3.connect(directory / _FILE, isolation_level=None)
    try:
        yield database
    except sqlite3.DatabaseError as fault:
        if getattr(fault, "sqlite_errorcode", 0) & 0xFF in _DAMAGE:
            raise StateDamaged(f"{directory / _FILE}: {fault}") from fault
        raise
    finally:
        database.close()


def _newest(database: sqlite3.Connection) -> tuple[int, int]:
    """The epoch to go on with, and the number of the run that does."""
    last = database.execute("SELECT ex_num, worker_count, resume_epoch FROM exs ORDER BY ex_num DESC LIMIT 1")
    run, workers, began = last.fetchone() or (-1, 0, 1)
    fronts = [epoch for (epoch,) in database.execute("SELECT worker_frontier FROM fronts WHERE ex_num = ?", (run,))]
    # A worker that has stored nothing is where it began.
    return min(fronts) if fronts and len(fronts) == workers else began, run + 1


def _states(database: sqlite3.Connection, directory: Path, epoch: int) -> dict[tuple[str, str], Any]:
    """The newest state of each that is older than the epoch, by step and key. StateDamaged."""
    newest = (
        "SELECT step_id, state_key, ser_change FROM snaps AS one WHERE snap_epoch = (SELECT max(snap_epoch) "
        "FROM snaps WHERE step_id = one.step_id AND state_key = one.state_key AND snap_epoch < ?)"
    )
    made: dict[tuple[str, str], Any] = {}
    for step, key, state in database.execute(newest, (epoch,)):
        if state is None:
            continue
        try:
            # Only ever what Bytewax or `store` wrote into a private directory.
            made[step, key] = pickle.loads(state)  # noqa: S301
        except Exception as fault:  # what is no pickle any more fails in any way
            raise StateDamaged(f"{directory / _FILE}: the state of {step} {key} cannot be read: {fault}") from fault
    return made


class Snapshots:
    """The states of one run, of one process. `epoch`: the one that is under way."""

    def __init__(self, directory: Path) -> None:
        """Begin a run after the newest epoch that is whole. `directory`: of a store (`open_store`)."""
        self._database = sqlite3.connect(directory / _FILE, isolation_level=None)
        # Also after a power cut what is stored belongs to what sinks and journals have on the disk.
        self._database.execute("PRAGMA synchronous = FULL")
        self.epoch, self._run = _newest(self._database)
        self.states = _states(self._database, directory, self.epoch)
        """By step and key."""
        begun = "INSERT INTO exs (ex_num, worker_count, resume_epoch) VALUES (?, 1, ?)"
        self._database.execute(begun, (self._run, self.epoch))

    def store(self, changed: Iterable[tuple[str, str, Any]]) -> None:
        """End the epoch with the states (step, key, state) that are not what they were: all of them, or none.
        sqlite3.Error when the disk does not take them."""
        epoch = self.epoch
        rows = [(step, key, epoch, pickle.dumps(state)) for step, key, state in changed]
        database = self._database
        database.execute("BEGIN IMMEDIATE")
        try:
            database.executemany("DELETE FROM snaps WHERE step_id = ? AND state_key = ?", [row[:2] for row in rows])
            database.executemany(
                "INSERT INTO snaps (step_id, state_key, snap_epoch, ser_change) VALUES (?, ?, ?, ?)", rows
            )
            database.execute(
                "INSERT OR REPLACE INTO fronts (ex_num, worker_index, worker_frontier) VALUES (?, 0, ?)",
                (self._run, epoch + 1),
            )
            database.execute("INSERT OR REPLACE INTO commits (part_index, commit_epoch) VALUES (0, ?)", (epoch,))
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
        self.epoch += 1

    def close(self) -> None:
        self._database.close()
