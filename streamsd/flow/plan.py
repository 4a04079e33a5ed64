"""Compiles a flow: from its spec to the functions that run it, or to the problems in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamsd.core.diagnostics import FieldPath, Problem, ProblemsError, name_hint
from streamsd.flow import records
from streamsd.flow.expressions.source import ExpressionError
from streamsd.flow.expressions.template import compile_template
from streamsd.flow.joins import LEFT, RIGHT, JoinShard
from streamsd.flow.keyed import KeyedFront
from streamsd.flow.loops import Loop, LoopBuilder
from streamsd.flow.outputs import ADDRESSED, Encoder, address_check, encoder_of
from streamsd.flow.sessions import SessionShard
from streamsd.flow.spec.flow import FlowSpec
from streamsd.flow.spec.sinks import ROWS, Sink
from streamsd.flow.spec.sources import Source
from streamsd.flow.spec.steps import Join, Key, Step, Window
from streamsd.flow.spec.words import read_type
from streamsd.flow.standing import Standing
from streamsd.flow.tails import (
    MAX_PANES,
    TIME_OF_ARRIVAL,
    Ticks,
    event_time,
    finish_function,
    join_finish,
    key_code,
    keyed_loop,
    pane_loop,
    run,
    state_functions,
    ticks_of,
    window_parts,
)
from streamsd.flow.types import ANY, STR, Type, object_of
from streamsd.flow.watermark import Clock
from streamsd.flow.windows import PaneFront, Panes, PaneShard

Shard = PaneShard | SessionShard | JoinShard
Finish = Callable[[list[Any], list[Any], list[Any], int], None]
"""(what shards said, rows to add to, faults to add to, now)."""


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """`loop` takes the source's messages to rows, or into the front. `meta`: it asks for each message's origin."""

    name: str
    spec: Source
    loop: Loop
    meta: bool
    code: str


@dataclass(frozen=True, slots=True)
class SinkPlan:
    """`loop`: what is done for this sink alone; None where rows go to it as they are. `fields`: of what it gets.
    `addressed`: the loop's rows are (address…, row)."""

    name: str
    spec: Sink
    loop: Loop | None
    fields: Mapping[str, Type] | None
    encode: Encoder
    addressed: bool
    code: str


@dataclass(frozen=True, slots=True)
class Keyed:
    """A flow's window or join. `arrival`: its time is that of arrival, so that it moves on by itself."""

    front: PaneFront | KeyedFront
    clock: Clock
    shard: Callable[[], Shard]
    finish: Finish
    arrival: bool
    ticks: Ticks
    code: str


@dataclass(frozen=True, slots=True)
class Stage:
    """For people: what a step leaves. `fields` None: not known before it runs."""

    place: str
    does: str
    fields: Mapping[str, Type] | None


@dataclass
class FlowPlan:
    """A compiled flow. `state_shape` names the steps with memory: state written under another one does not fit."""

    spec: FlowSpec
    sources: dict[str, SourcePlan] = field(default_factory=dict)
    keyed: Keyed | None = None
    sinks: dict[str, SinkPlan] = field(default_factory=dict)
    standing: Standing = field(default_factory=lambda: Standing(Path()))
    stages: list[Stage] = field(default_factory=list)
    state_shape: str = ""


def problems_of(spec: FlowSpec, base: Path, load_tables: bool = True) -> tuple[Problem, ...]:
    """Everything that is wrong with a flow and can be known before it runs."""
    try:
        compile_flow(spec, Standing(base, load_tables), base)
    except ProblemsError as fault:
        return fault.problems
    return ()


def compile_flow(spec: FlowSpec, standing: Standing, base: Path) -> FlowPlan:
    """ProblemsError when something is wrong. `standing` keeps what a live change must not lose."""
    compiler = _Compiler(spec, standing, base)
    plan = compiler.compile()
    if compiler.problems:
        raise ProblemsError(compiler.problems)
    return plan


class _Compiler:
    def __init__(self, spec: FlowSpec, standing: Standing, base: Path) -> None:
        standing.renew()
        self.spec = spec
        self.standing = standing
        self.base = base
        self.problems: list[Problem] = []
        self.plan = FlowPlan(spec, standing=standing)
        self._shape: list[Any] = []
        self._rows: dict[str, Type] | None = None
        self._sides: dict[str, tuple[Type, Any]] = {}
        self._told = False
        self._counts: dict[tuple[LoopBuilder, str], int] = {}
        self._deduped: set[str] = set()
        self._joined: Join | None = None

    def compile(self) -> FlowPlan:
        windowed = self._place_of_window()
        main = self.spec.steps if windowed is None else self.spec.steps[:windowed]
        after = () if windowed is None else self.spec.steps[windowed + 1 :]
        self._joined = self.spec.steps[windowed].join if windowed is not None else None
        self._sources(main, windowed)
        if windowed is not None and self._joined is not None:
            self._join_end(self._joined, ("steps", windowed, "join"))
        self._sinks(after, 0 if windowed is None else windowed + 1)
        self.plan.state_shape = json.dumps(self._shape, sort_keys=True)
        return self.plan

    def wrong(self, code: str, path: FieldPath, message: str, hint: str = "") -> None:
        self.problems.append(Problem(code, message, hint, path))

    def _place_of_window(self) -> int | None:
        places = [i for i, step in enumerate(self.spec.steps) if step.does in ("window", "join")]
        for extra in places[1:]:
            self.wrong(
                "flow-step",
                ("steps", extra),
                "a flow has one window or join",
                "send the results to a second flow, such as through a file or a broker",
            )
        place = places[0] if places else None
        for index, step in enumerate(self.spec.steps):
            if place is not None and index > place and step.does in ("dedupe", "key"):
                self.wrong("flow-step", ("steps", index), f"{step.does} stands before the window or join")
        if place is None and any(step.key is not None for step in self.spec.steps):
            at = next(i for i, step in enumerate(self.spec.steps) if step.key is not None)
            self.wrong("flow-step", ("steps", at), "no window follows that this key could be for")
        return place

    # --- sources

    def _sources(self, main: tuple[Step, ...], windowed: int | None) -> None:
        first: tuple[str, dict[str, Type] | None] | None = None
        join = self._joined
        sources = self.spec.all_sources
        if join is not None:
            self._check_sides(join, sources, ("steps", windowed or 0, "join"))
        for name, source in sources.items():
            path: FieldPath = ("source",) if self.spec.source is not None else ("sources", name)
            builder = self._begin(source, path, main)
            self._note(f"source {name}", source.transport, builder)
            self._own_steps(builder, source.steps, path, name)
            united = builder.schema()
            if first is None:
                first = (name, united)
            elif join is None and united != first[1]:
                self._not_alike(path, name, united, first)
                continue
            known = len(self.problems)
            self._main_steps(builder, main, name)
            self._end(builder, name, windowed)
            if self._told:
                # The flow's steps are the same for every source: their faults are told once.
                self.problems[known:] = [p for p in self.problems[known:] if p not in self.problems[:known]]
            self._told = True
            loop, code = (_nothing, "") if self.problems else builder.build()
            self.plan.sources[name] = SourcePlan(name, source, loop, builder.pool.uses_meta, code)

    def _begin(self, source: Source, path: FieldPath, main: tuple[Step, ...]) -> LoopBuilder:
        schema = {name: read_type(kind) for name, kind in source.schema_.items()} if source.schema_ else None
        match source.format:
            case "json":
                decode = records.json_decoder(schema)
            case "msgpack":
                decode = records.msgpack_decoder(schema)
            case "csv":
                columns = source.columns or tuple(schema or ())
                schema = schema or dict.fromkeys(columns, STR)
                for name in schema:
                    if name not in columns:
                        where = ("schema",) if self.spec.schema_ is not None else (*path, "schema")
                        self.wrong("flow-schema", (*where, name), "no such column", name_hint(name, columns, "columns"))
                decode = records.csv_decoder(columns, schema)
            case "text":
                if schema is not None:
                    self.wrong(
                        "flow-schema",
                        (*path, "format"),
                        "text has one field, line, and takes no schema",
                        "use a `parse` step",
                    )
                schema = {"line": STR}
                decode = records.text_decoder()
        windowed = any(step.window is not None for step in self.spec.steps)
        if schema is None and _never_whole((*source.steps, *main), windowed):
            return LoopBuilder(None, self.standing, self.problems, self.base, lean=source.format)
        return LoopBuilder(schema, self.standing, self.problems, self.base, decode)

    def _own_steps(self, builder: LoopBuilder, steps: tuple[Step, ...], path: FieldPath, name: str) -> None:
        for index, step in enumerate(steps):
            here = (*path, "steps", index)
            if step.does in ("window", "join", "key"):
                self.wrong("flow-step", here, f"{step.does} stands in the flow's steps, not in a source's")
            elif step.dedupe is not None:
                self._dedupe(builder, step, f"source {name}", here)
            else:
                builder.step(step, here)
            self._note(f"source {name} step {index + 1}", step.does, builder)

    def _main_steps(self, builder: LoopBuilder, steps: tuple[Step, ...], name: str) -> None:
        for index, step in enumerate(steps):
            here: FieldPath = ("steps", index)
            if step.key is not None:
                continue
            if step.dedupe is not None:
                self._dedupe(builder, step, "flow", here)
            else:
                builder.step(step, here)
            if not self._told:
                self._note(f"step {index + 1}", step.does, builder)

    def _dedupe(self, builder: LoopBuilder, step: Step, owner: str, path: FieldPath) -> None:
        """Named by its order among its owner's, so that steps without memory can come and go live."""
        assert step.dedupe is not None
        number = self._counts.get((builder, owner), 0)
        self._counts[(builder, owner)] = number + 1
        name = f"{owner}.{number}"
        if name not in self._deduped:
            self._deduped.add(name)
            shape = step.dedupe.model_dump(mode="json", include={"key", "within"})
            self._shape.append(["dedupe", name, shape])
        builder.steps.dedupe(step.dedupe, name, (*path, "dedupe"))

    def _not_alike(
        self, path: FieldPath, name: str, mine: dict[str, Type] | None, first: tuple[str, dict[str, Type] | None]
    ) -> None:
        other = first[1]
        if mine is None or other is None:
            words = "one has a schema and the other has none"
        else:
            names = [n for n in {**mine, **other} if mine.get(n) != other.get(n)]
            words = ", ".join(f"{n}: {other.get(n, 'missing')} and {mine.get(n, 'missing')}" for n in names[:5])
        self.wrong(
            "flow-union",
            path,
            f"the messages of {name!r} are not like those of {first[0]!r} ({words})",
            "make them alike with `map` or `convert` in the source's own steps",
        )

    # --- the end of the loop

    def _end(self, builder: LoopBuilder, name: str, windowed: int | None) -> None:
        if windowed is None:
            self._rows = builder.schema()
            if builder.steps.row.open or len(self.plan.spec.all_sinks) != 1 or self._needs_own_loop():
                builder.append()
            else:
                builder.write_out()
            return
        step = self.spec.steps[windowed]
        path: FieldPath = ("steps", windowed, step.does)
        if step.window is not None:
            self._window_end(builder, step.window, self._key_before(windowed), path)
        elif step.join is not None:
            self._side(builder, step.join, name, path)

    def _needs_own_loop(self) -> bool:
        return any(
            sink.when is not None or sink.steps or sink.transport in ADDRESSED for sink in self.spec.all_sinks.values()
        )

    def _key_before(self, windowed: int) -> Key | None:
        window = self.spec.steps[windowed].window
        if window is not None and window.key is not None:
            return window.key
        keys = [step.key for step in self.spec.steps[:windowed] if step.key is not None]
        return keys[-1] if keys else None

    def _window_end(self, builder: LoopBuilder, window: Window, key: Key | None, path: FieldPath) -> None:
        steps = builder.steps
        keys, time, ticks, plan, results, emitted = window_parts(steps, window, key, path)
        clock = self.standing.clock(window.idle.seconds if window.idle else None)
        time_code = ticks.code(time or TIME_OF_ARRIVAL)
        names = builder.names()
        functions = state_functions(plan, names)
        session = window.session
        front: PaneFront | KeyedFront
        if session is not None:
            gap, lateness = self._span(ticks, session.gap, (*path, "session", "gap")), ticks.of(window.lateness)
            keyed = front = self.standing.keyed_front(gap + lateness, clock)
            value = "(" + "".join(f"{typed.code}, " for typed in plan.values) + ")"
            around = keyed_loop(steps, keyed, 0, key_code(keys, steps), time_code, value, window.late == "dead_letter")
            shard: Callable[[], Shard] = lambda: SessionShard(  # noqa: E731  # one expression, made where its values are
                gap, lateness, functions["begin"], functions["add"], functions["merge"]
            )
            shape: Any = ["session", gap]
        else:
            panes = self._panes(window, ticks, path)
            pane_front = front = self.standing.pane_front(panes, clock)
            around = pane_loop(steps, pane_front, panes, window, key_code(keys, steps), time_code, plan)
            shard = lambda: PaneShard(panes, functions["merge"], functions["copy"])  # noqa: E731  # as above
            shape = ["panes", panes.every, panes.panes]
        limit = f"limit = {_now_in(ticks)} + {ticks.of(window.max_ahead)}"
        builder.around([limit, *around[0]], around[1])
        fields = {n: t.type for n, t in results.fields.items()} | {n: t.type for n, t in emitted.items()}
        if not self._told:
            self._shape.append(
                ["window", shape, ticks.per_second, _key_words(key), window.time, dict(window.emit), plan.signature()]
            )
            record = records.record_of(list(fields))
            finish = (
                finish_function(emitted, results, record, {**names, **builder.pool.constants})
                if not self.problems
                else None
            )
            self.plan.keyed = Keyed(front, clock, shard, _groups(finish), time is None, ticks, "")
            self._rows = fields
            self.plan.stages.append(Stage(f"step {path[1] + 1}" if isinstance(path[1], int) else "", "window", fields))

    def _span(self, ticks: Ticks, span: Any, path: FieldPath) -> int:
        if not ticks.exact(span) or ticks.of(span) < 1:
            self.wrong(
                "flow-window", path, f"{span} is no whole number of the event time's unit (1/{ticks.per_second} s)"
            )
        return max(1, ticks.of(span))

    def _panes(self, window: Window, ticks: Ticks, path: FieldPath) -> Panes:
        lateness = ticks.of(window.lateness)
        if window.sliding is None:
            assert window.tumbling is not None
            return Panes(self._span(ticks, window.tumbling, (*path, "tumbling")), 1, lateness)
        every = self._span(ticks, window.sliding.every, (*path, "sliding", "every"))
        size = self._span(ticks, window.sliding.size, (*path, "sliding", "size"))
        if size % every or not 1 <= size // every <= MAX_PANES:
            self.wrong(
                "flow-window",
                (*path, "sliding", "size"),
                f"the size of sliding windows is a multiple of `every`, at most {MAX_PANES} times",
                f"write {max(1, round(size / every))} x {window.sliding.every}",
            )
        return Panes(every, max(1, min(MAX_PANES, size // every)), lateness)

    # --- joins

    def _check_sides(self, join: Join, sources: Mapping[str, Source], path: FieldPath) -> None:
        for side in ("left", "right"):
            name = getattr(join, side)
            if name not in sources:
                self.wrong("flow-join", (*path, side), f"no source {name!r}", name_hint(name, sources, "sources"))
        if join.left == join.right or len(sources) != 2:
            self.wrong("flow-join", path, "a join has two sources, and the flow no others", "name them in `sources`")

    def _side(self, builder: LoopBuilder, join: Join, name: str, path: FieldPath) -> None:
        steps = builder.steps
        texts = (join.on,) if isinstance(join.on, str) else join.on
        parts = {str(i): t for i, text in enumerate(texts) if (t := steps.expression(text, (*path, "on"))) is not None}
        time = event_time(steps, join.time, (*path, "time"))
        # Both sides in microseconds: their times may be of different forms.
        ticks = ticks_of(None)
        clock = self.standing.clock(join.idle.seconds if join.idle else None)
        within, lateness = self._span(ticks, join.within, (*path, "within")), ticks.of(join.lateness)
        front = self.standing.keyed_front(within + lateness, clock)
        side = LEFT if name == join.left else RIGHT
        fields = builder.schema()
        if fields is None:
            kind, record, value = ANY, None, builder.row.holder
        else:
            kind = object_of({n: records.plain(t) for n, t in fields.items()})
            record = records.record_of(list(fields))
            cells = [builder.row.field(n) for n in fields]
            value = "(" + "".join(f"{_kept(t.code, t.type)}, " for t in cells if t is not None) + ")"
        code = (time or TIME_OF_ARRIVAL).micros()
        around = keyed_loop(
            steps, front, side, key_code(parts, steps) if parts else "None", code, value, join.late == "dead_letter"
        )
        builder.around([f"limit = now + {ticks.of(join.max_ahead)}", *around[0]], around[1])
        self._sides["left" if side == LEFT else "right"] = (kind, record)
        if self.plan.keyed is None:
            unmatched = join.unmatched == "left"
            self._shape.append(["join", within, join.model_dump(mode="json", include={"left", "right", "on", "time"})])
            self.plan.keyed = Keyed(
                front, clock, lambda: JoinShard(within, lateness, unmatched), _nothing_to_say, time is None, ticks, ""
            )

    def _join_end(self, join: Join, path: FieldPath) -> None:
        if self.plan.keyed is None or set(self._sides) != {"left", "right"}:
            return
        left, right = self._sides["left"], self._sides["right"]
        sides = {"left": left[0], "right": right[0].or_null() if join.unmatched == "left" else right[0]}
        builder = LoopBuilder({}, self.standing, self.problems, self.base)
        record = records.record_of(list(join.emit))
        fields, code = join_finish(
            builder.steps, join, sides, {"left": left[1], "right": right[1]}, record, path, builder.pool
        )
        finish: Finish = _nothing_to_say
        if not self.problems:
            made = run(code, builder.names())["finish"]

            def finish(said: list[Any], rows: list[Any], dead: list[Any], now: int) -> None:
                made(said, rows, dead, now)

        keyed = self.plan.keyed
        self.plan.keyed = Keyed(keyed.front, keyed.clock, keyed.shard, finish, keyed.arrival, keyed.ticks, code)
        self._rows = fields
        self._shape[-1].append([[n, str(t)] for n, t in fields.items()])
        self.plan.stages.append(Stage(f"step {path[1] + 1}" if isinstance(path[1], int) else "", "join", fields))

    # --- sinks

    def _sinks(self, after: tuple[Step, ...], offset: int) -> None:
        sinks = self.spec.all_sinks
        own_loop = bool(after) or len(sinks) > 1 or self._needs_own_loop() or self.plan.keyed is not None
        for number, (name, sink) in enumerate(sinks.items()):
            path: FieldPath = ("sink",) if self.spec.sink is not None else ("sinks", name)
            builder = LoopBuilder(self._rows, self.standing, self.problems, self.base)
            known = len(self.problems)
            for index, step in enumerate(after):
                self._sink_step(builder, step, ("steps", offset + index))
                if number == 0:
                    self._note(f"step {offset + index + 1}", step.does, builder)
            if number:
                self.problems[known:] = [p for p in self.problems[known:] if p not in self.problems[:known]]
            if sink.when is not None:
                builder.steps.filter(sink.when, (*path, "when"))
            for index, step in enumerate(sink.steps):
                self._sink_step(builder, step, (*path, "steps", index))
                self._note(f"sink {name} step {index + 1}", step.does, builder)
            fields = builder.schema()
            self._check_format(sink, fields, path)
            self._note(f"sink {name}", sink.transport, builder)
            address = self._address(builder, sink, path)
            builder.write_out(address)
            loop, code = (None, "") if self.problems or not own_loop else builder.build()
            self.plan.sinks[name] = SinkPlan(name, sink, loop, fields, encoder_of(sink, fields), bool(address), code)

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
            try:
                made = compile_template(text, builder.row, builder.pool).code
                codes.append(f"{builder.pool.constant(address_check(sink.transport, name))}({made})")
            except ExpressionError as fault:
                builder.steps.fault(here, fault, text)
                codes.append("None")
        return codes

    def _sink_step(self, builder: LoopBuilder, step: Step, path: FieldPath) -> None:
        if step.does in ("window", "join", "key", "dedupe"):
            if path[0] != "steps":
                self.wrong("flow-step", path, f"{step.does} stands in the flow's steps, not in a sink's")
            return
        builder.step(step, path)

    def _check_format(self, sink: Sink, fields: Mapping[str, Type] | None, path: FieldPath) -> None:
        if sink.format == "csv" and fields is None:
            self.wrong(
                "flow-sink", (*path, "format"), "csv needs to know the fields", "give a schema, or a `map` step before"
            )
        if sink.format == "text" and fields is not None and "line" not in fields:
            self.wrong("flow-sink", (*path, "format"), "text is written from a field `line`", "make it in a `map` step")
        if sink.transport in ROWS:
            if fields is None:
                self.wrong(
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
                        self.wrong("flow-sink", where, f"unknown field {name!r}", name_hint(name, fields, "fields"))

    def _note(self, place: str, does: str, builder: LoopBuilder) -> None:
        self.plan.stages.append(Stage(place, does, builder.schema()))


def _never_whole(steps: tuple[Step, ...], windowed: bool) -> bool:
    """Whether nothing needs a message as a whole before a step makes a new one of some of its fields."""
    for step in steps:
        if step.does in ("map", "keep"):
            return True
        if step.does not in ("filter", "throttle", "sample", "dedupe", "key"):
            return False
    return windowed


def _now_in(ticks: Ticks) -> str:
    return {1_000: "now // 1000", 1_000_000: "now"}.get(ticks.per_second, "now * 1000")


def _kept(code: str, kind: Type) -> str:
    return f"to_builtins({code})" if records.has_objects(kind) else code


def _key_words(key: Key | None) -> Any:
    return list(key) if isinstance(key, tuple) else key


def _groups(finish: Any) -> Finish:
    def each(groups: list[Any], rows: list[Any], dead: list[Any], now: int) -> None:
        for start, end, items in groups:
            finish(start, end, items, rows, dead, now)

    return each


def _nothing_to_say(said: list[Any], rows: list[Any], dead: list[Any], now: int) -> None:
    raise AssertionError("a flow with problems does not run")


def _nothing(msgs: Any, metas: Any, now: int, partition: str) -> tuple[list[Any], list[tuple[BaseException, Any]]]:
    raise AssertionError("a flow with problems does not run")
