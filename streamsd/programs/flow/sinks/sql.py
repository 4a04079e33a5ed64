"""Rows of a table, each exactly once.

Without a key each result is a row of its own, with its number in the column `streamsd_seq`: after a crash the rows
beyond the stored number are deleted, and written again. With a key a later result replaces an earlier one, so writing
again changes nothing.
"""

from __future__ import annotations

import sqlite3
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from streamsd.core.report import JsonValue
from streamsd.flow.outputs import Batch
from streamsd.flow.spec.sinks import PostgresSink, SqliteSink
from streamsd.flow.types import Base, TimeForm, Type
from streamsd.programs.flow.life import Backoff, Life
from streamsd.programs.flow.outlet import Outlet
from streamsd.programs.flow.parcels import long_columns, size_of_rows

SEQ = "streamsd_seq"
_MOST_WAITING, _MOST_BYTES = 20_000, 8 * 1024 * 1024
"""Rows, and bytes of texts in them, of one transaction."""


class TableOutlet(Outlet):
    """What the two databases share. `errors`: what is tried again."""

    errors: tuple[type[BaseException], ...] = ()
    mark = "?"

    def __init__(self, table: str, key: Sequence[str], fields: Mapping[str, Type], life: Life) -> None:
        self.table = table
        self.key = tuple(key)
        self.columns = tuple(fields)
        self.types = dict(fields)
        self._life = life
        self._seq = 0
        self._waiting: list[tuple[Any, ...]] = []
        self._bytes = 0
        self._long = long_columns(fields)
        self._written = 0

    @abstractmethod
    def open(self) -> None:
        """Connect, and make the table if it is not there."""

    @abstractmethod
    def put(self, rows: Sequence[tuple[Any, ...]], last: int) -> None:
        """Write rows in one transaction that ends with number `last`."""

    @abstractmethod
    def cut(self, seq: int) -> None:
        """Delete rows of a higher number."""

    @abstractmethod
    def highest(self) -> int:
        """The highest number in the table."""

    @abstractmethod
    def drop(self) -> None:
        """Forget a connection that failed."""

    # --- the outlet

    def start(self, position: Any) -> None:
        def begin() -> None:
            self.open()
            if self.key:
                self._seq = position or 0
            elif position is None:
                self._seq = self.highest()
            else:
                self.cut(position)
                self._seq = position

        self._insist(begin)

    def write(self, batch: Batch) -> None:
        self._waiting += batch.items
        self._bytes += size_of_rows(batch.items, self._long)
        if len(self._waiting) >= _MOST_WAITING or self._bytes >= _MOST_BYTES:
            self._drain()

    def flush(self) -> Any:
        if self._waiting:
            self._drain()
        return self._seq

    def _drain(self) -> None:
        if self.key:
            rows = self._waiting
            last = self._seq + len(rows)
        else:
            rows = [(*row, self._seq + place) for place, row in enumerate(self._waiting, 1)]
            last = self._seq + len(rows)
        tried = False

        def put() -> None:
            nonlocal tried
            self.open()
            # Whether a transaction took place whose end we did not hear of.
            if not (tried and not self.key and self.highest() >= last):
                tried = True
                self.put(rows, last)

        self._insist(put)
        self._seq = last
        self._written += len(rows)
        self._waiting, self._bytes = [], 0

    def _insist(self, work: Any) -> None:
        backoff = Backoff(0.2, 10.0)
        while True:
            try:
                work()
                self.fault = ""
                return
            except self.errors as fault:
                self.fault = (
                    f"{self.table}: {str(fault).strip().splitlines()[0] if str(fault) else type(fault).__name__}"
                )
                self.drop()
                self._life.pause(backoff.next() or 0.1)

    def figures(self) -> Mapping[str, JsonValue]:
        return {"rows": self._written}

    # --- SQL

    def create(self, words: Mapping[Base, str]) -> str:
        columns = [f"{quoted(name)} {column_type(self.types[name], words)}" for name in self.columns]
        if self.key:
            columns.append(f"PRIMARY KEY ({', '.join(map(quoted, self.key))})")
        else:
            columns.append(f"{SEQ} BIGINT")
        return f"CREATE TABLE IF NOT EXISTS {quoted(self.table)} ({', '.join(columns)})"

    def insert(self) -> str:
        names = list(self.columns) + ([] if self.key else [SEQ])
        marks = ", ".join([self.mark] * len(names))
        text = f"INSERT INTO {quoted(self.table)} ({', '.join(map(quoted, names))}) VALUES ({marks})"  # noqa: S608  # quoted names
        if self.key:
            rest = [name for name in self.columns if name not in self.key]
            sets = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in rest)
            text += f" ON CONFLICT ({', '.join(map(quoted, self.key))}) DO " + (
                f"UPDATE SET {sets}" if rest else "NOTHING"
            )
        return text


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def column_type(kind: Type, words: Mapping[Base, str]) -> str:
    if kind.base is Base.TIME and kind.form not in (TimeForm.TEXT, TimeForm.COMPUTED, None):
        return words[Base.FLOAT] if kind.form is TimeForm.SECONDS else words[Base.INT]
    return words.get(kind.base, words[Base.STR])


_SQLITE = {
    Base.INT: "INTEGER",
    Base.FLOAT: "REAL",
    Base.NUMBER: "NUMERIC",
    Base.BOOL: "INTEGER",
    Base.BYTES: "BLOB",
    Base.STR: "TEXT",
}


class SqliteOutlet(TableOutlet):
    errors = (sqlite3.Error,)

    def __init__(self, spec: SqliteSink, fields: Mapping[str, Type], base: Path, life: Life) -> None:
        super().__init__(spec.table, spec.key, fields, life)
        self._path = base / spec.path
        self._database: sqlite3.Connection | None = None

    def open(self) -> None:
        if self._database is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(self._path, timeout=10, isolation_level=None, check_same_thread=False)
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=NORMAL")
            database.execute(self.create(_SQLITE))
            self._database = database

    @property
    def _connection(self) -> sqlite3.Connection:
        assert self._database is not None
        return self._database

    def put(self, rows: Sequence[tuple[Any, ...]], last: int) -> None:
        database = self._connection
        database.execute("BEGIN IMMEDIATE")
        try:
            database.executemany(self.insert(), rows)
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise

    def cut(self, seq: int) -> None:
        self._connection.execute(f"DELETE FROM {quoted(self.table)} WHERE {SEQ} > ?", (seq,))  # noqa: S608  # quoted

    def highest(self) -> int:
        found = self._connection.execute(f"SELECT max({SEQ}) FROM {quoted(self.table)}").fetchone()  # noqa: S608  # quoted
        return int(found[0] or 0)

    def drop(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    close = drop


_POSTGRES = {
    Base.INT: "BIGINT",
    Base.FLOAT: "DOUBLE PRECISION",
    Base.NUMBER: "DOUBLE PRECISION",
    Base.BOOL: "BOOLEAN",
    Base.BYTES: "BYTEA",
    Base.STR: "TEXT",
    Base.LIST: "JSONB",
    Base.MAP: "JSONB",
    Base.OBJECT: "JSONB",
    Base.ANY: "JSONB",
}


class PostgresOutlet(TableOutlet):
    mark = "%s"

    def __init__(self, spec: PostgresSink, fields: Mapping[str, Type], life: Life) -> None:
        import psycopg

        super().__init__(spec.table, spec.key, fields, life)
        self.errors = (psycopg.Error,)
        self._url = spec.url
        self._database: Any = None

    def open(self) -> None:
        import psycopg

        if self._database is None:
            database = psycopg.connect(self._url.reveal(), autocommit=True, connect_timeout=10)
            database.execute(self.create(_POSTGRES))
            self._database = database

    def put(self, rows: Sequence[tuple[Any, ...]], last: int) -> None:
        with self._database.transaction(), self._database.cursor() as cursor:
            if self.key:
                cursor.executemany(self.insert(), rows)
                return
            names = ", ".join(map(quoted, [*self.columns, SEQ]))
            with cursor.copy(f"COPY {quoted(self.table)} ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)

    def cut(self, seq: int) -> None:
        self._database.execute(f"DELETE FROM {quoted(self.table)} WHERE {SEQ} > %s", (seq,))  # noqa: S608  # quoted

    def highest(self) -> int:
        found = self._database.execute(f"SELECT max({SEQ}) FROM {quoted(self.table)}").fetchone()  # noqa: S608  # quoted
        return int(found[0] or 0)

    def drop(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    close = drop
