"""Compiles the flow's sources: each gets one loop, from its messages to rows or into the window."""

from __future__ import annotations

from typing import Any

from streamsd.core.diagnostics import FieldPath, name_hint
from streamsd.flow import records
from streamsd.flow.compiler.draft import Draft
from streamsd.flow.compiler.keyed import KeyedEnd
from streamsd.flow.generated import faults_of
from streamsd.flow.loops import LoopBuilder
from streamsd.flow.plan import SourcePlan
from streamsd.flow.seals import Opener
from streamsd.flow.spec.sources import BINARY, LINES, Source
from streamsd.flow.spec.steps import SHAPED, Batch, Step
from streamsd.flow.spec.words import read_type
from streamsd.flow.types import BYTES, STR, Type


class SourcesCompiler:
    """`keyed`: the flow's window or join, where it has one."""

    def __init__(self, draft: Draft, keyed: KeyedEnd | None) -> None:
        self.draft = draft
        self.keyed = keyed
        self._counts: dict[tuple[LoopBuilder, str], int] = {}
        self._remembering: set[str] = set()

    def compile(self, main: tuple[Step, ...]) -> None:
        """`main`: the flow's steps before its window or join, which every source's loop does."""
        first: tuple[str, dict[str, Type] | None] | None = None
        sources = self.draft.spec.all_sources
        joined = self.keyed is not None and self.keyed.joins(sources)
        for name, source in sources.items():
            path: FieldPath = ("source",) if self.draft.spec.source is not None else ("sources", name)
            builder = self._begin(source, path, main)
            self.draft.note(f"source {name}", source.transport, builder)
            self.draft.look(f"source {name}", builder)
            self._own_steps(builder, source.steps, path, name)
            united = builder.schema()
            if first is None:
                first = (name, united)
            elif not joined and united != first[1]:
                self._not_alike(path, name, united, first)
                continue
            known = len(self.draft.problems)
            self._main_steps(builder, main, name)
            self._end(builder, name)
            if self.draft.told:
                # The flow's steps are the same for every source: their faults are told once.
                self.draft.tell_once(known)
            self.draft.told = True
            loop, code = (_nothing, "") if self.draft.problems else builder.build()
            opener = self._opener(source, path)
            self.draft.plan.sources[name] = SourcePlan(name, source, loop, builder.pool.uses_meta, code, opener)

    def _opener(self, source: Source, path: FieldPath) -> Opener | None:
        sealed = source.sealed
        if sealed is None:
            return None
        return self.draft.sealing(lambda: Opener(sealed), (*path, "sealed"), ("keys",))

    def _begin(self, source: Source, path: FieldPath, main: tuple[Step, ...]) -> LoopBuilder:
        schema = {name: read_type(kind) for name, kind in source.schema_.items()} if source.schema_ else None
        if source.generator is not None:
            for name, fault in faults_of(source.generator.fields):
                self.draft.fault((*path, "generator", "fields", name), fault, source.generator.fields[name])
        if source.format in BINARY and source.transport in LINES and source.sealed is None:
            words = f"a line of a {source.transport} source ends where {source.format} may have any byte"
            hint = "send it through a source of messages (mqtt, kafka, udp, websocket …), or sealed"
            self.draft.wrong("flow-source", (*path, "format"), words, hint)
        match source.format:
            case "json" | "ndjson":
                decode = records.json_decoder(schema)
            case "msgpack":
                decode = records.msgpack_decoder(schema)
            case "csv":
                columns = source.columns or tuple(schema or ())
                schema = schema or dict.fromkeys(columns, STR)
                for name in schema:
                    if name not in columns:
                        where = ("schema",) if self.draft.spec.schema_ is not None else (*path, "schema")
                        self.draft.wrong(
                            "flow-schema", (*where, name), "no such column", name_hint(name, columns, "columns")
                        )
                decode = records.csv_decoder(columns, schema)
            case "text":
                if schema is not None:
                    self.draft.wrong(
                        "flow-schema",
                        (*path, "format"),
                        "text has one field, line, and takes no schema",
                        "use a `parse` step",
                    )
                schema = {"line": STR}
                decode = records.text_decoder()
            case "raw":
                if schema is not None:
                    words = "raw has one field, data, and takes no schema"
                    self.draft.wrong("flow-schema", (*path, "format"), words, "use a `custom` step")
                schema = {"data": BYTES}
                decode = records.raw_decoder()
        windowed = any(step.window is not None for step in self.draft.spec.steps)
        if schema is None and self.draft.tap is None and _never_whole((*source.steps, *main), windowed):
            return LoopBuilder(None, self.draft.standing, self.draft.problems, self.draft.base, lean=source.format)
        return LoopBuilder(schema, self.draft.standing, self.draft.problems, self.draft.base, decode)

    def _own_steps(self, builder: LoopBuilder, steps: tuple[Step, ...], path: FieldPath, name: str) -> None:
        for index, step in enumerate(steps):
            here = (*path, "steps", index)
            if step.does in ("window", "join", "key"):
                self.draft.wrong("flow-step", here, f"{step.does} stands in the flow's steps, not in a source's")
            elif step.dedupe is not None:
                self._dedupe(builder, step, f"source {name}", here)
            elif step.batch is not None:
                self._batch(builder, step.batch, f"source {name}", here)
            else:
                builder.step(step, here)
            self.draft.note(f"source {name} step {index + 1}", step.does, builder)
            self.draft.look(f"source {name} step {index + 1}", builder)

    def _main_steps(self, builder: LoopBuilder, steps: tuple[Step, ...], name: str) -> None:
        for index, step in enumerate(steps):
            here: FieldPath = ("steps", index)
            if step.key is not None:
                continue
            if step.dedupe is not None:
                self._dedupe(builder, step, "flow", here)
            elif step.batch is not None:
                self._batch(builder, step.batch, "flow", here)
            else:
                builder.step(step, here)
            if not self.draft.told:
                self.draft.note(f"step {index + 1}", step.does, builder)
            self.draft.look(f"step {index + 1}", builder)

    def _dedupe(self, builder: LoopBuilder, step: Step, owner: str, path: FieldPath) -> None:
        assert step.dedupe is not None
        name = self._named(builder, owner)
        if name not in self._remembering:
            self._remembering.add(name)
            shape = step.dedupe.model_dump(mode="json", include=set(SHAPED["dedupe"]))
            self.draft.shape.append(["dedupe", name, shape])
        builder.steps.dedupe(step.dedupe, name, (*path, "dedupe"))

    def _batch(self, builder: LoopBuilder, batch: Batch, owner: str, path: FieldPath) -> None:
        name = self._named(builder, f"{owner} batch")
        if name not in self._remembering:
            self._remembering.add(name)
            # That it is there and what it is called: how much it holds may change while it holds something.
            self.draft.shape.append(["batch", name, batch.as_])
        builder.batch(batch, self.draft.standing.batchers.named(name, batch), apart=self.keyed is not None)

    def _named(self, builder: LoopBuilder, owner: str) -> str:
        """By its order among its owner's, so that steps without memory can come and go live."""
        number = self._counts.get((builder, owner), 0)
        self._counts[(builder, owner)] = number + 1
        return f"{owner}.{number}"

    def _not_alike(
        self, path: FieldPath, name: str, mine: dict[str, Type] | None, first: tuple[str, dict[str, Type] | None]
    ) -> None:
        other = first[1]
        if mine is None or other is None:
            words = "one has a schema and the other has none"
        else:
            names = [n for n in {**mine, **other} if mine.get(n) != other.get(n)]
            words = ", ".join(f"{n}: {other.get(n, 'missing')} and {mine.get(n, 'missing')}" for n in names[:5])
        self.draft.wrong(
            "flow-union",
            path,
            f"the messages of {name!r} are not like those of {first[0]!r} ({words})",
            "make them alike with `map` or `convert` in the source's own steps",
        )

    def _end(self, builder: LoopBuilder, name: str) -> None:
        if self.keyed is not None:
            self.keyed.end(builder, name)
            return
        self.draft.rows = builder.schema()
        if builder.steps.row.open or len(self.draft.spec.all_sinks) != 1 or self.draft.needs_own_loop():
            builder.append()
        else:
            builder.write_out()


def _never_whole(steps: tuple[Step, ...], windowed: bool) -> bool:
    """Whether nothing needs a message as a whole before a step makes a new one of some of its fields."""
    for step in steps:
        if step.does in ("map", "keep"):
            return True
        if step.does not in ("filter", "throttle", "sample", "dedupe", "key"):
            return False
    return windowed


def _nothing(msgs: Any, metas: Any, now: int, partition: str) -> tuple[list[Any], list[tuple[BaseException, Any]]]:
    raise AssertionError("a flow with problems does not run")
