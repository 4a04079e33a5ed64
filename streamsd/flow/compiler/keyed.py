"""Compiles the end of a source's loop where the flow has a window or a join, and what its shards' results become."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from streamsd.core.diagnostics import FieldPath, name_hint
from streamsd.flow import records
from streamsd.flow.compiler.draft import Draft
from streamsd.flow.joins import LEFT, RIGHT, JoinShard
from streamsd.flow.keyed import KeyedFront
from streamsd.flow.loops import LoopBuilder
from streamsd.flow.panes import PaneShard
from streamsd.flow.plan import Finish, Keyed, Shard, Stage
from streamsd.flow.sessions import SessionShard
from streamsd.flow.spec.sources import Source
from streamsd.flow.spec.steps import Join, Key, Window
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
from streamsd.flow.types import ANY, Base, Type, object_of
from streamsd.flow.windows import PaneFront, Panes

_SCALAR = (Base.STR, Base.INT, Base.FLOAT, Base.NUMBER, Base.BOOL)


class KeyedEnd:
    """The step at `place` of the flow's steps."""

    def __init__(self, draft: Draft, place: int) -> None:
        self.draft = draft
        self.place = place
        self.step = draft.spec.steps[place]
        self.path: FieldPath = ("steps", place, self.step.does)
        self._sides: dict[str, tuple[Type, Any]] = {}

    def joins(self, sources: Mapping[str, Source]) -> bool:
        """Whether it is a join, whose sources need not be alike; what is wrong with its sides is told."""
        if self.step.join is not None:
            self._check_sides(self.step.join, sources)
        return self.step.join is not None

    def end(self, builder: LoopBuilder, name: str) -> None:
        """Write the end of the loop of source `name`."""
        if self.step.window is not None:
            self._window_end(builder, self.step.window, self.path)
        elif self.step.join is not None:
            self._side(builder, self.step.join, name, self.path)

    # --- windows

    def _key(self, window: Window) -> Key | None:
        if window.key is not None:
            return window.key
        keys = [step.key for step in self.draft.spec.steps[: self.place] if step.key is not None]
        return keys[-1] if keys else None

    def _window_end(self, builder: LoopBuilder, window: Window, path: FieldPath) -> None:
        steps = builder.steps
        key = self._key(window)
        keys, time, ticks, plan, results, emitted = window_parts(steps, window, key, path)
        clock = self.draft.standing.clock(window.idle.seconds if window.idle else None)
        time_code = ticks.code(time or TIME_OF_ARRIVAL)
        names = builder.names()
        functions = state_functions(plan, names)
        session = window.session
        front: PaneFront | KeyedFront
        if session is not None:
            gap, lateness = self._span(ticks, session.gap, (*path, "session", "gap")), ticks.of(window.lateness)
            keyed = front = self.draft.standing.keyed_front(gap + lateness, clock)
            value = "(" + "".join(f"{typed.code}, " for typed in plan.values) + ")"
            around = keyed_loop(
                steps,
                keyed,
                0,
                key_code(keys, steps),
                time_code,
                value,
                builder.original if window.late == "dead_letter" else "None",
            )
            shard: Callable[[], Shard] = lambda: SessionShard(  # noqa: E731  # one expression, made where its values are
                gap, lateness, functions["begin"], functions["add"], functions["merge"]
            )
            shape: Any = ["session", gap]
        else:
            panes = self._panes(window, ticks, path)
            pane_front = front = self.draft.standing.pane_front(panes, clock)
            around = pane_loop(steps, pane_front, panes, window, key_code(keys, steps), time_code, plan)
            scalar = plan.scalar and all(typed.type.base in _SCALAR for typed in keys.values())
            shard = lambda: PaneShard(  # noqa: E731  # as above
                panes, len(plan.slots), functions["take"], functions["copy"], scalar
            )
            shape = ["panes", panes.every, panes.panes]
        limit = f"limit = {_now_in(ticks)} + {ticks.of(window.max_ahead)}"
        builder.around([limit, *around[0]], around[1])
        fields = {n: t.type for n, t in results.fields.items()} | {n: t.type for n, t in emitted.items()}
        if not self.draft.told:
            self.draft.shape.append(
                ["window", shape, ticks.per_second, _key_words(key), window.time, dict(window.emit), plan.signature()]
            )
            record = records.record_of(list(fields))
            finish = (
                finish_function(emitted, results, record, {**names, **builder.pool.constants})
                if not self.draft.problems
                else None
            )
            self.draft.plan.keyed = Keyed(front, clock, shard, _groups(finish), time is None, ticks, "")
            self.draft.rows = fields
            self.draft.plan.stages.append(Stage(f"step {self.place + 1}", "window", fields))

    def _span(self, ticks: Ticks, span: Any, path: FieldPath) -> int:
        if not ticks.exact(span) or ticks.of(span) < 1:
            self.draft.wrong(
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
            self.draft.wrong(
                "flow-window",
                (*path, "sliding", "size"),
                f"the size of sliding windows is a multiple of `every`, at most {MAX_PANES} times",
                f"write {max(1, round(size / every))} x {window.sliding.every}",
            )
        return Panes(every, max(1, min(MAX_PANES, size // every)), lateness)

    def _check_sides(self, join: Join, sources: Mapping[str, Source]) -> None:
        path = self.path
        for side in ("left", "right"):
            name = getattr(join, side)
            if name not in sources:
                self.draft.wrong("flow-join", (*path, side), f"no source {name!r}", name_hint(name, sources, "sources"))
        if join.left == join.right or len(sources) != 2:
            self.draft.wrong(
                "flow-join", path, "a join has two sources, and the flow no others", "name them in `sources`"
            )

    def _side(self, builder: LoopBuilder, join: Join, name: str, path: FieldPath) -> None:
        steps = builder.steps
        texts = (join.on,) if isinstance(join.on, str) else join.on
        parts = {str(i): t for i, text in enumerate(texts) if (t := steps.expression(text, (*path, "on"))) is not None}
        time = event_time(steps, join.time, (*path, "time"))
        # Both sides in microseconds: their times may be of different forms.
        ticks = ticks_of(None)
        clock = self.draft.standing.clock(join.idle.seconds if join.idle else None)
        within, lateness = self._span(ticks, join.within, (*path, "within")), ticks.of(join.lateness)
        front = self.draft.standing.keyed_front(within + lateness, clock)
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
            steps,
            front,
            side,
            key_code(parts, steps) if parts else "None",
            code,
            value,
            builder.original if join.late == "dead_letter" else "None",
        )
        builder.around([f"limit = now + {ticks.of(join.max_ahead)}", *around[0]], around[1])
        self._sides["left" if side == LEFT else "right"] = (kind, record)
        if self.draft.plan.keyed is None:
            unmatched = join.unmatched == "left"
            self.draft.shape.append(
                ["join", within, join.model_dump(mode="json", include={"left", "right", "on", "time"})]
            )
            self.draft.plan.keyed = Keyed(
                front, clock, lambda: JoinShard(within, lateness, unmatched), _nothing_to_say, time is None, ticks, ""
            )

    def finish_join(self) -> None:
        """Compile what pairs become, once both sides are known. Nothing for a window."""
        join = self.step.join
        if join is None or self.draft.plan.keyed is None or set(self._sides) != {"left", "right"}:
            return
        left, right = self._sides["left"], self._sides["right"]
        sides = {"left": left[0], "right": right[0].or_null() if join.unmatched == "left" else right[0]}
        builder = LoopBuilder({}, self.draft.standing, self.draft.problems, self.draft.base)
        record = records.record_of(list(join.emit))
        fields, code = join_finish(
            builder.steps, join, sides, {"left": left[1], "right": right[1]}, record, self.path, builder.pool
        )
        finish: Finish = _nothing_to_say
        if not self.draft.problems:
            made = run(code, builder.names())["finish"]

            def finish(said: list[Any], rows: list[Any], dead: list[Any], now: int) -> None:
                made(said, rows, dead, now)

        keyed = self.draft.plan.keyed
        self.draft.plan.keyed = Keyed(keyed.front, keyed.clock, keyed.shard, finish, keyed.arrival, keyed.ticks, code)
        self.draft.rows = fields
        self.draft.shape[-1].append([[n, str(t)] for n, t in fields.items()])
        self.draft.plan.stages.append(Stage(f"step {self.place + 1}", "join", fields))


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
