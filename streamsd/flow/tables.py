"""Lookup tables: rows of a file by key, read again when the file changes."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from streamsd.core.diagnostics import name_hint
from streamsd.flow.records import annotation
from streamsd.flow.types import Type

MAX_ROWS = 5_000_000


class TableFault(Exception):
    """A table that cannot be read, in words."""


class LookupTable:
    """`rows`: from key to the wanted columns' values, in order. It is replaced as a whole by `refresh`."""

    def __init__(self, file: Path, query: str | None, key: str, columns: Mapping[str, Type]) -> None:
        self._file = file
        self._query = query
        self._key = key
        self._columns = dict(columns)
        self._seen: tuple[int, int, int] | None = None
        self._changing: tuple[int, int, int] | None = None
        self.rows: dict[Any, tuple[Any, ...]] = {}
        self.fault = ""

    def load(self) -> None:
        """Read the file. TableFault when it is missing or does not hold what the step names."""
        try:
            stat = self._file.stat()
            found = self._read()
        except (OSError, ValueError, csv.Error, sqlite3.Error, msgspec.MsgspecError) as fault:
            raise TableFault(f"{self._file}: {_words(fault)}") from None
        self._seen = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        self.rows = self._index(found)

    def refresh(self) -> bool:
        """Read it again if the file changed, and is the same at two looks (it may be in the middle of being written).
        The old rows stay when it cannot be read, and `fault` says why."""
        try:
            stat = self._file.stat()
            found = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            if found == self._seen:
                return False
            if found != self._changing:
                self._changing = found
                return False
            self._seen = found
            self.load()
        except OSError as fault:
            self._seen = None  # one that comes back as it was is read again too
            self.fault = f"{self._file}: {_words(fault)}"
            return False
        except TableFault as fault:
            self.fault = str(fault)
            return False
        self.fault = ""
        return True

    def _read(self) -> Iterable[Mapping[str, Any]]:
        match self._file.suffix.lower():
            case ".csv":
                with self._file.open(newline="", encoding="utf-8") as lines:
                    reader = csv.DictReader(lines, strict=True)
                    wanted = [self._key, *(name for name, kind in self._columns.items() if not kind.optional)]
                    for name in wanted:
                        if name not in (reader.fieldnames or ()):
                            raise ValueError(
                                f"no column {name!r}; {name_hint(name, reader.fieldnames or (), 'columns')}"
                            )
                    return list(reader)
            case ".json":
                data = msgspec.json.decode(self._file.read_bytes())
                if isinstance(data, dict):
                    return [{self._key: key, **row} for key, row in data.items()]
                if not isinstance(data, list):
                    raise ValueError("a table is a list of rows, or a map from key to row")
                return data
            case ".db" | ".sqlite" | ".sqlite3":
                if self._query is None:
                    raise ValueError("a SQLite table needs a query")
                with sqlite3.connect(f"file:{self._file}?mode=ro", uri=True) as database:
                    database.row_factory = sqlite3.Row
                    return [dict(row) for row in database.execute(self._query)]
            case other:
                raise ValueError(f"a table is a .csv, .json, .db or .sqlite file, not {other!r}")

    def _index(self, found: Iterable[Mapping[str, Any]]) -> dict[Any, tuple[Any, ...]]:
        kinds = [(name, kind, annotation(kind)) for name, kind in self._columns.items()]
        rows: dict[Any, tuple[Any, ...]] = {}
        for number, row in enumerate(found, 1):
            if number > MAX_ROWS:
                raise TableFault(f"{self._file}: more than {MAX_ROWS} rows")
            if self._key not in row:
                raise TableFault(f"{self._file}: row {number} has no column {self._key!r}")
            try:
                rows[row[self._key]] = tuple(self._cell(row, *column) for column in kinds)
            except (msgspec.ValidationError, KeyError, TypeError) as fault:
                raise TableFault(f"{self._file}: row {number}: {_words(fault)}") from None
        return rows

    @staticmethod
    def _cell(row: Mapping[str, Any], name: str, kind: Type, wanted: Any) -> Any:
        value = row.get(name) if kind.optional else row[name]
        if kind.optional and value == "":
            value = None
        return msgspec.convert(value, wanted, strict=False)


def _words(fault: BaseException) -> str:
    if isinstance(fault, OSError) and fault.strerror:
        return fault.strerror
    return f"no column {fault.args[0]!r}" if isinstance(fault, KeyError) else str(fault)
