"""Bytewax's recovery store: made and mended here for whoever drives the flow, and used by the loop that runs where
there is no Bytewax. What one of them has stored the other goes on from.

The tables are those of Bytewax 0.21.1, as it makes them: one SQLite file, in which an execution is a run from an epoch
on, `fronts` has the epoch that each worker of it has come to, and `snaps` every state by step, key and the epoch at
whose end it was taken. To resume is to take the newest state of each that is older than what all workers came to.
"""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SOURCE, SHARDS, RESULTS, SINKS = "flow.source", "flow.shards", "flow.results", "flow.sinks"
"""The steps that have states, as Bytewax names those of `graph`."""

_FILE = "part-0.sqlite3"
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


def begin_store(directory: Path) -> None:
    """Make an empty store, unless there is one. It is whole, or it is not there."""
    database = sqlite3.connect(directory / _FILE, isolation_level=None)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if not version:
            database.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT;")
    finally:
        database.close()


def forget_unfinished(directory: Path) -> None:
    """Remove the states that were taken in an epoch that did not become whole, before a run begins.

    Bytewax leaves them there. Should its next run not touch one of these keys before it ends in a crash itself, the run
    after that would take the state, which has seen messages that are to come again.
    """
    database = sqlite3.connect(directory / _FILE, isolation_level=None)
    try:
        epoch, _ = _newest(database)
        database.execute("DELETE FROM snaps WHERE snap_epoch >= ?", (epoch,))
    finally:
        database.close()


def _newest(database: sqlite3.Connection) -> tuple[int, int]:
    """The epoch to go on with, and the number of the run that does."""
    last = database.execute("SELECT ex_num, worker_count, resume_epoch FROM exs ORDER BY ex_num DESC LIMIT 1")
    run, workers, began = last.fetchone() or (-1, 0, 1)
    fronts = [epoch for (epoch,) in database.execute("SELECT worker_frontier FROM fronts WHERE ex_num = ?", (run,))]
    # A worker that has stored nothing is where it began.
    return min(fronts) if fronts and len(fronts) == workers else began, run + 1


class Snapshots:
    """The states of one run, of one process. `epoch`: the one that is under way."""

    def __init__(self, directory: Path) -> None:
        """Begin a run after the newest epoch that is whole. `directory`: of a store (`begin_store`)."""
        self._database = sqlite3.connect(directory / _FILE, isolation_level=None)
        # Also after a power cut what is stored belongs to what sinks and journals have on the disk.
        self._database.execute("PRAGMA synchronous = FULL")
        self.epoch, self._run = _newest(self._database)
        self.states = self._read()
        """By step and key."""
        begun = "INSERT INTO exs (ex_num, worker_count, resume_epoch) VALUES (?, 1, ?)"
        self._database.execute(begun, (self._run, self.epoch))

    def _read(self) -> dict[tuple[str, str], Any]:
        newest = (
            "SELECT step_id, state_key, ser_change FROM snaps AS one WHERE snap_epoch = (SELECT max(snap_epoch) "
            "FROM snaps WHERE step_id = one.step_id AND state_key = one.state_key AND snap_epoch < ?)"
        )
        # Only ever what Bytewax or `store` wrote into a private directory.
        return {
            (step, key): pickle.loads(state)  # noqa: S301
            for step, key, state in self._database.execute(newest, (self.epoch,))
            if state is not None
        }

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
