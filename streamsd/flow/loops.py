"""One generated loop: messages in, rows (or a window's partial states) and dead letters out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from streamsd.core.diagnostics import FieldPath, Problem
from streamsd.flow.batches import Batcher
from streamsd.flow.custom import CustomBatch, function_of
from streamsd.flow.expressions.names import NAMES
from streamsd.flow.expressions.typed import Pool
from streamsd.flow.records import Decode, lean_decoder, record_of
from streamsd.flow.rows import LeanRow, Row, Writer
from streamsd.flow.spec.steps import Batch, Custom, Step
from streamsd.flow.spec.words import read_type
from streamsd.flow.standing import Standing
from streamsd.flow.stepcode import Steps
from streamsd.flow.tails import NAMES as AGGREGATE_NAMES
from streamsd.flow.tails import run
from streamsd.flow.types import ANY, Type, list_of, map_of

Loop = Callable[[Sequence[Any], Any, int, str], "tuple[list[Any], list[tuple[BaseException, Any]]]"]
"""(messages, what the source says of each or None, now in microseconds, partition) to (rows, faults with messages)."""


class LoopBuilder:
    """Builds one loop. Its first part decodes messages; without `decode` it takes rows as they are.

    `lean`: the format of messages without a schema of which only single fields are needed.
    """

    def __init__(
        self,
        schema: Mapping[str, Type] | None,
        standing: Standing,
        problems: list[Problem],
        base: Path,
        decode: Decode | None = None,
        lean: str | None = None,
    ) -> None:
        self.pool = Pool()
        self.writer = Writer(indent=3)
        self.problems = problems
        self._standing = standing
        self._base = base
        self._decode = decode
        self._parts: list[str] = []
        self._before: list[str] = []
        self._after: list[str] = []
        self._first = True
        self._lean = lean
        self._lean_row: LeanRow | None = None
        if lean is not None:
            self._decoder = self.pool.constant(None)
            self.writer.line(f"m = {self._decoder}(raw)")
        elif decode is None:
            self.writer.line("m = raw" if schema is not None else "m = dict(raw)")
        else:
            self.writer.line(f"m = {self.pool.constant(decode)}(raw)")
        self.row = self._row(schema)
        self.steps = Steps(self.row, self.pool, self.writer, standing, problems)

    def _row(self, schema: Mapping[str, Type] | None) -> Row:
        if self._lean is not None and self._first:
            self._lean_row = LeanRow(self.writer, self.pool, "m")
            return self._lean_row
        if schema is None:
            return Row.dynamic(self.writer, self.pool, "m")
        return Row.closed(self.writer, self.pool, schema, "m")

    @property
    def original(self) -> str:
        """Code of what a message is in a dead letter: its bytes, or what a step before made of several."""
        return "raw" if self._first else "to_builtins(raw)"

    def schema(self) -> dict[str, Type] | None:
        """The fields where the loop stands now; None where they are not known."""
        return None if self.row.open else self.row.types()

    def step(self, step: Step, path: FieldPath) -> None:
        """A step that looks at single messages or batches."""
        if step.custom is not None:
            self._custom(step.custom, (*path, "custom"))
        else:
            self.steps.step(step, path)

    def _custom(self, custom: Custom, path: FieldPath) -> None:
        schema = {name: read_type(kind) for name, kind in custom.schema_.items()} if custom.schema_ else None

        def make() -> CustomBatch:
            file, files = self._base / custom.file, self._standing.files
            outside = self._standing.outside(f"{custom.function} of {custom.file}")
            with outside:
                function = function_of(file, custom.function, files, path, self.problems)
            return CustomBatch(function, schema, file, outside)

        self.append()
        self._finish_part()
        batch = self.pool.constant(self._standing.once(make).run)
        self._next_part(f"{batch}(rows, dead)", schema)

    def batch(self, spec: Batch, batcher: Batcher, apart: bool = False) -> None:
        """A step that holds messages back, in `batcher`. `apart`: those of each partition by themselves."""
        self.writer.line(f"append({self.row.written(self._record(True))})")
        self._finish_part()
        held = self.pool.constant(batcher.take)
        self._next_part(
            f"{held}(rows, now, dead, {'partition' if apart else repr('')})", {spec.as_: list_of(map_of(ANY))}
        )

    def _next_part(self, code: str, schema: Mapping[str, Type] | None) -> None:
        """Another loop over the rows that the code makes of those so far."""
        self._parts.append(f"    msgs = {code}\n    rows = []\n    append = rows.append\n")
        self._first = False
        self.writer = Writer(indent=3)
        self.writer.line("m = raw")
        self.row = self._row(schema)
        self.steps = Steps(self.row, self.pool, self.writer, self._standing, self.problems)

    def append(self) -> None:
        """The row is a result as it is. Where it is sent on is a matter of whoever runs the loop."""
        self.writer.line(f"append({self.row.whole(self._record(False))})")

    def write_out(self, address: Sequence[str] = ()) -> None:
        """The same for a row that leaves the flow, with the code of what it is addressed with."""
        row = self.row.written(self._record(True))
        made = f"({', '.join([*address, row])})" if address else row
        self.writer.line(f"append({made})")

    def _record(self, out: bool) -> str:
        if self.row.open or (self.row.untouched and not out):
            return ""
        return self.pool.constant(record_of(list(self.row.names())))

    def around(self, before: list[str], after: list[str]) -> None:
        """Lines before and after the (last) loop."""
        self._before += before
        self._after += after

    def _finish_part(self) -> None:
        lines = self.writer.lines
        while self.writer.nested:
            self.writer.indent -= 1
            self.writer.line("except ROW_ERRORS as fault:")
            self.writer.line("    bury((fault, raw))")
            self.writer.indent -= 1
            self.writer.nested -= 1
        meta = self.pool.uses_meta and self._first
        head = [f"    {line}" for line in self._before]
        head.append("    for raw, mt in zip(msgs, metas):" if meta else "    for raw in msgs:")
        head.append("        try:")
        tail = ["        except ROW_ERRORS as fault:", "            bury((fault, raw))"]
        tail += [f"    {line}" for line in self._after]
        self._parts.append("\n".join([*head, *lines, *tail]) + "\n")
        self._before, self._after = [], []

    def text(self) -> str:
        """The whole function. Call it once, at the end."""
        self._finish_part()
        head = (
            "def loop(msgs, metas, now, partition):\n"
            "    rows = []\n    append = rows.append\n    dead = []\n    bury = dead.append\n"
        )
        return head + "".join(self._parts) + "    return rows, dead\n"

    def names(self) -> dict[str, Any]:
        return {**NAMES, **AGGREGATE_NAMES, **self.pool.constants}

    def build(self) -> tuple[Loop, str]:
        """The function and its text."""
        text = self.text()
        if self._lean is not None and self._lean_row is not None:
            self.pool.constants[self._decoder] = lean_decoder(self._lean, self._lean_row.used)
        loop: Loop = run(text, self.names())["loop"]
        return loop, text
