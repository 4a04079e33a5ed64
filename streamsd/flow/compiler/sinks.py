"""Compiles the flow's sinks: the steps after the window, each sink's own, its addresses and its encoder."""

from __future__ import annotations

from collections.abc import Mapping

from streamsd.core.diagnostics import FieldPath, name_hint
from streamsd.flow.compiler.draft import Draft
from streamsd.flow.expressions.source import ExpressionError
from streamsd.flow.expressions.template import compile_template
from streamsd.flow.faults import RowFault
from streamsd.flow.loops import LoopBuilder
from streamsd.flow.outputs import ADDRESSED, MESSAGES, TEXTS, address_check, encoder_of, most_of
from streamsd.flow.plan import SinkPlan
from streamsd.flow.seals import Sealer
from streamsd.flow.spec.sinks import ROWS, Sink
from streamsd.flow.spec.sources import BINARY
from streamsd.flow.spec.steps import Step
from streamsd.flow.types import Type


class SinksCompiler:
    def __init__(self, draft: Draft) -> None:
        self.draft = draft

    def compile(self, after: tuple[Step, ...], offset: int) -> None:
        """`after`: the flow's steps behind its window or join, and the last batch there; they are done for each sink.
        The first is the flow's step `offset`."""
        sinks = self.draft.spec.all_sinks
        own_loop = bool(after) or len(sinks) > 1 or self.draft.needs_own_loop() or self.draft.plan.keyed is not None
        for number, (name, sink) in enumerate(sinks.items()):
            path: FieldPath = ("sink",) if self.draft.spec.sink is not None else ("sinks", name)
            builder = LoopBuilder(self.draft.rows, self.draft.standing, self.draft.problems, self.draft.base)
            known = len(self.draft.problems)
            for index, step in enumerate(after):
                self._sink_step(builder, step, ("steps", offset + index))
                if number == 0:
                    self.draft.note(f"step {offset + index + 1}", step.does, builder)
                    self.draft.look(f"step {offset + index + 1}", builder)
            if number:
                self.draft.tell_once(known)
            if sink.when is not None:
                builder.steps.filter(sink.when, (*path, "when"))
            for index, step in enumerate(sink.steps):
                self._sink_step(builder, step, (*path, "steps", index))
                self.draft.note(f"sink {name} step {index + 1}", step.does, builder)
                self.draft.look(f"sink {name} step {index + 1}", builder)
            fields = builder.schema()
            self._check_format(sink, fields, path)
            self.draft.note(f"sink {name}", sink.transport, builder)
            self.draft.look(f"sink {name}", builder)
            address = self._address(builder, sink, path)
            builder.write_out(address)
            loop, code = (None, "") if self.draft.problems or not own_loop else builder.build()
            encode = encoder_of(sink, fields, self._sealer(sink, path))
            self.draft.plan.sinks[name] = SinkPlan(name, sink, loop, fields, encode, bool(address), code)

    def _sealer(self, sink: Sink, path: FieldPath) -> Sealer | None:
        seal = sink.seal
        if seal is None:
            return None
        if sink.format == "parquet":
            return None
        if sink.transport not in MESSAGES:
            self.draft.wrong("flow-sink", (*path, "seal"), f"a {sink.transport} sink sends no messages to seal")
            return None
        text = sink.transport in TEXTS and not (sink.websocket is not None and sink.format in BINARY)
        return self.draft.sealing(lambda: Sealer(seal, text, most_of(sink)), (*path, "seal"), ("key",))

    def _address(self, builder: LoopBuilder, sink: Sink, path: FieldPath) -> list[str]:
        """Code of what each result is addressed with."""
        codes = []
        end = getattr(sink, sink.transport)
        for name in ADDRESSED.get(sink.transport, ()):
            text = getattr(end, name)
            if text is None:
                codes.append("None")
                continue
            here = (*path, sink.transport, name)
            check = address_check(sink.transport, name)
            try:
                if "{" not in text and "}" not in text:  # the same for every result: checked once, and here
                    codes.append(repr(check(text)))
                    continue
                made = compile_template(text, builder.row, builder.pool).code
                codes.append(f"{builder.pool.constant(check)}({made})")
            except RowFault as fault:
                self.draft.wrong("flow-sink", here, str(fault))
                codes.append("None")
            except ExpressionError as fault:
                builder.steps.fault(here, fault, text)
                codes.append("None")
        return codes

    def _sink_step(self, builder: LoopBuilder, step: Step, path: FieldPath) -> None:
        if step.does in ("window", "join", "key", "dedupe", "batch"):
            if path[0] != "steps":
                self.draft.wrong("flow-step", path, f"{step.does} stands in the flow's steps, not in a sink's")
            return
        builder.step(step, path)

    def _check_format(self, sink: Sink, fields: Mapping[str, Type] | None, path: FieldPath) -> None:
        if sink.format == "csv" and fields is None:
            self.draft.wrong(
                "flow-sink", (*path, "format"), "csv needs to know the fields", "give a schema, or a `map` step before"
            )
        if sink.format == "parquet":
            here = (*path, "format")
            if sink.transport != "file":
                self.draft.wrong("flow-sink", here, "parquet is a format of files", "write it to a `file` sink")
            if fields is None:
                hint = "give a schema, or a `map` step before"
                self.draft.wrong("flow-sink", here, "parquet needs to know the fields", hint)
            if sink.seal is not None:
                self.draft.wrong("flow-sink", (*path, "seal"), "a Parquet file holds no messages to seal")
        for format, name in (("text", "line"), ("raw", "data")):
            if sink.format == format and fields is not None and name not in fields:
                words = f"{format} is written from a field `{name}`"
                self.draft.wrong("flow-sink", (*path, "format"), words, "make it in a `map` step")
        if sink.format in BINARY and sink.transport == "sse" and sink.seal is None:
            hint = "use a websocket sink, or seal it"
            self.draft.wrong("flow-sink", (*path, "format"), f"events are text, {sink.format} is none", hint)
        if sink.transport in ROWS:
            if fields is None:
                self.draft.wrong(
                    "flow-sink",
                    (*path, sink.transport),
                    "a table needs to know the fields",
                    "give a schema, or a `map` step before",
                )
            else:
                ends = sink.sqlite or sink.postgres
                for name in ends.key if ends else ():
                    if name not in fields:
                        where = (*path, sink.transport, "key")
                        self.draft.wrong(
                            "flow-sink", where, f"unknown field {name!r}", name_hint(name, fields, "fields")
                        )
