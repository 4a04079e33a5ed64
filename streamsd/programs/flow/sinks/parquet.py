"""Parquet files, each row in them exactly once.

Rows gather in a working file (an Arrow IPC stream, hidden beside the others) that can be cut, as text files are; once
it is large or old enough it is written as Parquet under a temporary name, and renamed when it is whole: nobody ever
sees half a file.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # it ships no types

from streamsd.core.report import JsonValue
from streamsd.flow.outputs import Batch
from streamsd.flow.spec.sinks import FileSink
from streamsd.flow.types import Base, TimeForm, Type
from streamsd.programs.flow.life import GRACE, Backoff, Life
from streamsd.programs.flow.outlet import Outlet
from streamsd.programs.flow.parcels import long_columns, size_of_rows

_ROWS, _BYTES = 20_000, 8 * 1024 * 1024
"""Rows, and bytes of texts in them, that are gathered in memory before they are written to the working file."""
_GROUP, _GROUP_BYTES = 128 * 1024, 64 * 1024 * 1024
"""Rows of a row group, and bytes of them in memory."""
_SIZE = 128 * 1024 * 1024
"""Bytes of a working file from which on the next is begun, where nothing is said."""

_TYPES: Mapping[Base, Any] = {
    Base.BOOL: pa.bool_(),
    Base.INT: pa.int64(),
    Base.FLOAT: pa.float64(),
    Base.NUMBER: pa.float64(),
    Base.BYTES: pa.binary(),
}
_MOMENTS: Mapping[TimeForm, Any] = {
    TimeForm.SECONDS: pa.float64(),
    TimeForm.MILLIS: pa.timestamp("ms", "UTC"),
    TimeForm.MICROS: pa.timestamp("us", "UTC"),
    TimeForm.NANOS: pa.timestamp("ns", "UTC"),
}


def column_type(kind: Type) -> Any:
    """Lists, maps and objects are JSON; times that are texts stay so."""
    if kind.base is Base.TIME and kind.form is not None:
        return _MOMENTS.get(kind.form, pa.string())
    return _TYPES.get(kind.base, pa.string())


class ParquetOutlet(Outlet):
    """The position is (number of the file, bytes of the working file, when it was begun). A working file is removed
    when the state after its last row is stored, so that a file written just before a crash can be taken back."""

    closes_within = GRACE

    def __init__(self, spec: FileSink, base: Path, fields: Mapping[str, Type], life: Life) -> None:
        path = base / spec.path
        self._directory = path.parent
        self._stem = path.name.removesuffix(".parquet")
        self._most = spec.rotate.bytes if spec.rotate else _SIZE
        self._every = spec.rotate_every.seconds if spec.rotate_every else None
        self._keep = spec.keep
        self._life = life
        self._schema = pa.schema([pa.field(name, column_type(kind)) for name, kind in fields.items()])
        self._waiting: list[tuple[Any, ...]] = []
        self._bytes = 0
        self._long = long_columns(fields)
        self._number = 1
        self._fd = -1
        self._size = 0
        self._since = 0.0
        self._written = 0
        self._spent: Path | None = None
        """The working file of the newest finished one."""

    # --- names

    def _finished(self, number: int) -> Path:
        return self._directory / f"{self._stem}-{number:06}.parquet"

    def _working(self, number: int) -> Path:
        return self._directory / f".{self._stem}-{number:06}.arrows"

    def _numbers(self, pattern: str) -> dict[int, Path]:
        name = re.compile(pattern.format(re.escape(self._stem)))
        return {int(found[1]): file for file in self._directory.iterdir() if (found := name.fullmatch(file.name))}

    # --- the outlet

    def start(self, position: Any) -> None:
        self._insist(lambda: self._begin(position))

    def _begin(self, position: Any) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        finished, working = self._numbers(r"{}-(\d{{6,}})\.parquet"), self._numbers(r"\.{}-(\d{{6,}})\.arrows")
        if position is None:
            for stray in working.values():
                stray.unlink()
            self._number, self._since = max(finished, default=0) + 1, time.time()
            return
        self._number, self._size, self._since = position
        for files in (finished, working):
            for number in [n for n in files if n > self._number]:
                files.pop(number).unlink()
        for number in [n for n in working if n < self._number]:
            working.pop(number).unlink()
        mine = working.get(self._number)
        held = mine.stat().st_size if mine is not None else 0
        if mine is None and self._size:
            # Somebody took it away: its rows are lost, and a file with a hole would be no better.
            self._next()
            return
        if mine is not None and held > self._size:
            os.truncate(mine, self._size)
        if self._number in finished:
            if held == self._size and self._size:
                # Written when the flow ended: nothing came after.
                self._next()
                return
            finished[self._number].unlink()
        if self._size and not self._same_schema():
            self._finish()
            self._next()

    def _same_schema(self) -> bool:
        with pa.OSFile(str(self._working(self._number))) as file:
            same: bool = pa.ipc.open_stream(file).schema.equals(self._schema)
            return same

    def write(self, batch: Batch) -> None:
        self._waiting += batch.items
        self._bytes += size_of_rows(batch.items, self._long)
        if len(self._waiting) >= _ROWS or self._bytes >= _BYTES:
            self._drain()

    def _drain(self) -> None:
        columns = zip(*self._waiting, strict=True)
        arrays = [pa.array(list(column), kind.type) for column, kind in zip(columns, self._schema, strict=True)]
        block: bytes = pa.RecordBatch.from_arrays(arrays, schema=self._schema).serialize().to_pybytes()
        if not self._size:
            block = self._schema.serialize().to_pybytes() + block
        self._insist(lambda: self._append(block))
        self._size += len(block)
        self._written += len(self._waiting)
        self._waiting, self._bytes = [], 0

    def _append(self, block: bytes) -> None:
        """At the known size: what a failed attempt left half written is written over."""
        if self._fd < 0:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            # Private: it is no file of the user's yet, and nobody else's business.
            self._fd = os.open(self._working(self._number), flags, 0o600)
        view, at = memoryview(block), self._size
        while view:
            done = os.pwrite(self._fd, view, at)
            view, at = view[done:], at + done

    def flush(self) -> Any:
        if self._waiting:
            self._drain()
        self._insist(self._settle)
        return self._number, self._size, self._since

    def _settle(self) -> None:
        if self._spent is not None:
            # The state after it is stored by now.
            self._spent.unlink(missing_ok=True)
            self._spent = None
        if self._fd >= 0:
            os.fdatasync(self._fd)
        if not self._size:
            self._since = time.time()
        elif self._size >= self._most or (self._every is not None and time.time() - self._since >= self._every):
            self._finish()
            self._next()

    def _finish(self) -> None:
        """The working file as Parquet."""
        part = self._finished(self._number).with_suffix(".part")
        with (
            pa.OSFile(str(self._working(self._number))) as file,
            pa.ipc.open_stream(file) as rows,
            pq.ParquetWriter(str(part), rows.schema, compression="zstd") as out,
        ):
            gathered: list[Any] = []
            held = 0
            for batch in rows:
                gathered.append(batch)
                held += batch.nbytes
                if held >= _GROUP_BYTES or sum(one.num_rows for one in gathered) >= _GROUP:
                    out.write_table(pa.Table.from_batches(gathered), row_group_size=_GROUP)
                    gathered, held = [], 0
            if gathered:
                out.write_table(pa.Table.from_batches(gathered), row_group_size=_GROUP)
        with part.open("rb") as whole:
            os.fsync(whole.fileno())
        os.replace(part, self._finished(self._number))
        if self._keep is not None:
            for number, old in self._numbers(r"{}-(\d{{6,}})\.parquet").items():
                if number <= self._number - self._keep:
                    old.unlink()

    def _next(self) -> None:
        self._release()
        self._spent = self._working(self._number)
        self._number, self._size, self._since = self._number + 1, 0, time.time()

    def _insist(self, work: Callable[[], None]) -> None:
        backoff = Backoff()
        while True:
            try:
                work()
                self.fault = ""
                return
            except OSError as fault:
                self.fault = f"{self._directory}: {fault.strerror or fault}"
                self._life.pause(backoff.next() or 0.1)

    def figures(self) -> Mapping[str, JsonValue]:
        return {"rows": self._written, "files": self._number - 1, "size": self._size}

    def close(self) -> None:
        """The last rows become a file too; when the flow goes on, it goes on with the next."""
        if self._size and not self._waiting:
            with contextlib.suppress(OSError):
                self._finish()
        self._release()

    def _release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
