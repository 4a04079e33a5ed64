"""Writes the end of the loop: what becomes of a message after its last step, and what a closed window says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamsd.core.diagnostics import FieldPath
from streamsd.core.units import Seconds
from streamsd.flow import aggregates, moments
from streamsd.flow.emits import Plan, ResultScope, compile_emit
from streamsd.flow.expressions.check import compile_expression
from streamsd.flow.expressions.source import ExpressionError, read
from streamsd.flow.expressions.typed import Pool, Typed
from streamsd.flow.faults import ROW_ERRORS, RowFault
from streamsd.flow.keyed import KeyedFront
from streamsd.flow.rows import Writer
from streamsd.flow.spec.steps import Join, Key, Window
from streamsd.flow.stepcode import Steps
from streamsd.flow.types import ANY, COMPUTED_TIME, Base, TimeForm, Type
from streamsd.flow.windows import PaneFront, Panes

MAX_PANES = 3600

_TICKS = {TimeForm.MILLIS: 1_000, TimeForm.NANOS: 1_000_000_000}


@dataclass(frozen=True, slots=True)
class Ticks:
    """The unit of event time: of the field that holds it where that is a whole number, else microseconds."""

    per_second: int
    form: TimeForm

    @property
    def type(self) -> Type:
        """The type of a window's start and end."""
        form = TimeForm.COMPUTED if self.form is TimeForm.TEXT else self.form
        return Type(Base.TIME, form=form)

    def of(self, span: Seconds) -> int:
        return round(span.seconds * self.per_second)

    def exact(self, span: Seconds) -> bool:
        return abs(span.seconds * self.per_second - self.of(span)) < 1e-6

    def code(self, typed: Typed) -> str:
        """Code of a time in ticks."""
        return typed.code if typed.type.form in _TICKS and typed.type.base is Base.TIME else typed.micros()

    def text(self, ticks: int) -> str:
        """A moment, for people."""
        return moments.to_text(ticks * 1_000_000 // self.per_second)

    def back(self, ticks: str) -> str:
        """Code of ticks as a value of `type`."""
        return f"seconds_text({ticks})" if self.form is TimeForm.SECONDS else ticks


def ticks_of(kind: Type | None) -> Ticks:
    """The unit for an event time of this type; None: time of arrival."""
    form = kind.form if kind is not None and kind.base is Base.TIME and kind.form is not None else TimeForm.COMPUTED
    return Ticks(_TICKS.get(form, 1_000_000), form)


def event_time(steps: Steps, text: str | None, path: FieldPath) -> Typed | None:
    """The event time of a message; None for the time of arrival, or after a fault was told."""
    if text is None:
        return None
    typed = steps.expression(text, path)
    if typed is None:
        return None
    if typed.type.base not in (Base.TIME, Base.ANY) or typed.type.optional:
        hint = (
            "write time_ms(x) for milliseconds, time(x) for seconds or text"
            if not typed.type.optional
            else "give it a value: coalesce(x, now())"
        )
        steps.wrong(path, f"an event time is a time; this is {typed.type}", hint)
        return None
    return typed


def key_fields(steps: Steps, key: Key | None, path: FieldPath) -> dict[str, Typed]:
    """The fields of a window's key, by name."""
    if key is None:
        return {}
    if isinstance(key, str):
        named: Mapping[str, str] = {key: key}
    elif isinstance(key, dict):
        named = key
    else:
        named = {text: text for text in key}
    made: dict[str, Typed] = {}
    for name, text in named.items():
        here = (*path, name) if isinstance(key, dict) else path
        typed = steps.expression(text, here)
        if typed is None:
            continue
        if not isinstance(key, dict) and not text.isidentifier():
            steps.wrong(here, f"this part of the key has no name: {text}", "write {name: expression}")
        if typed.type.base in (Base.LIST, Base.MAP, Base.OBJECT, Base.FLOAT):
            steps.wrong(here, f"a key is a text, a whole number, a truth value or a time; this is {typed.type}")
        made[name] = typed
    return made


def ahead(ticks: int, limit: int) -> None:
    raise RowFault("time-ahead", f"the event time {ticks} is too far ahead of the clock (more than max_ahead)")


def late() -> None:
    raise RowFault("late", "the message came after its window had closed")


@dataclass
class WindowCode:
    """A window's code. `finish(groups, rows, dead)` makes rows of closed windows."""

    ticks: Ticks
    schema: dict[str, Type]
    finish: Callable[[Any, list[Any], list[Any]], None]
    begin: Callable[[int, Any], list[Any]]
    add: Callable[[list[Any], int, Any], None]
    merge: Callable[[list[Any], list[Any]], None]
    copy: Callable[[list[Any]], list[Any]]


def window_parts(
    steps: Steps, window: Window, key: Key | None, path: FieldPath
) -> tuple[dict[str, Typed], Typed | None, Ticks, Plan, ResultScope, dict[str, Typed]]:
    """Compile a window's expressions: key, time, and the results over `a`."""
    keys = key_fields(steps, key, (*path, "key"))
    time = event_time(steps, window.time, (*path, "time"))
    ticks = ticks_of(time.type if time else None)
    names = list(keys)
    fields = {name: Typed(f"k[{i}]" if len(names) > 1 else "k", keys[name].type) for i, name in enumerate(names)}
    for name, code in (("window_start", "start"), ("window_end", "end")):
        fields[name] = Typed(ticks.back(code), ticks.type)
    plan, results = Plan(), ResultScope(fields)
    emitted: dict[str, Typed] = {}
    for name, text in window.emit.items():
        if name in fields:
            steps.wrong((*path, "emit", name), f"{name!r} is a field of every result already")
        try:
            emitted[name] = compile_emit(read(text), steps.row, results, steps.pool, plan)
        except ExpressionError as fault:
            steps.fault((*path, "emit", name), fault, text)
            emitted[name] = Typed("None", ANY)
    return keys, time, ticks, plan, results, emitted


def key_code(keys: Mapping[str, Typed], steps: Steps) -> str:
    parts = [f"hashable({t.code})" if t.type.base is Base.ANY else t.code for t in keys.values()]
    return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"


def state_functions(plan: Plan, names: Mapping[str, Any]) -> dict[str, Callable[..., Any]]:
    """`begin`, `add`, `merge` and `copy` of a window's state, and `take` for states that lie flat (`panes.Take`)."""
    writer = Writer()
    unpack = ", ".join(f"x{number}" for number in range(len(plan.values)))
    writer.line("def begin(t, x):")
    if unpack:
        writer.line(f"    {unpack}, = x")
    writer.line(f"    return {plan.begin()}")
    writer.line("def add(a, t, x):")
    if unpack:
        writer.line(f"    {unpack}, = x")
    for line in plan.add("a") or ["pass"]:
        writer.line(f"    {line}")
    writer.line("def merge(a, b):")
    for line in plan.merge() or ["pass"]:
        writer.line(f"    {line}")
    writer.line("def take(index, cells, items):")
    writer.line("    known = index.get")
    writer.line("    for k, b in items:")
    writer.line("        i = known(k)")
    writer.line("        if i is None:")
    writer.line("            index[k] = len(cells)")
    writer.line("            cells += b")
    merge = plan.merge("cells[i + {}]")
    if merge:
        writer.line("        else:")
    for line in merge:
        writer.line(f"            {line}")
    writer.line("def copy(a):")
    writer.line(f"    return {plan.copy()}")
    return run(writer.text(), names)


def finish_function(emitted: Mapping[str, Typed], results: ResultScope, record: Any, names: Mapping[str, Any]) -> Any:
    """`finish(start, end, items, rows, dead)`: a row of each key's state, or a dead letter that tells key and start."""
    cells = [typed.code for typed in results.fields.values()] + [typed.kept() for typed in emitted.values()]
    writer = Writer()
    writer.line("def finish(start, end, items, rows, dead, now):")
    writer.line("    for k, a in items:")
    writer.line("        try:")
    writer.line(f"            rows.append(Record({', '.join(cells)}))")
    writer.line("        except ROW_ERRORS as fault:")
    writer.line("            dead.append((fault, {'key': k, 'window_start': start, 'window_end': end}))")
    return run(writer.text(), {**names, "Record": record})["finish"]


def pane_loop(
    steps: Steps, front: PaneFront, shape: Panes, window: Window, key: str, time: str, plan: Plan
) -> tuple[list[str], list[str]]:
    """Write the end of the loop for windows of panes. Returns what stands before and after the loop."""
    pool, writer = steps.pool, steps.writer
    name = pool.constant(front)
    for number, typed in enumerate(plan.values):
        writer.line(f"x{number} = {typed.code}")
    writer.line(f"k = {key}")
    writer.line(f"t = {time}")
    writer.line("if t > mx:")
    writer.line("    if t > limit: ahead(t, limit)")
    writer.line("    mx = t")
    writer.line("    if t >= thr:")
    writer.line(f"        thr = {name}.cross(t)")
    writer.line(f"        low = {name}.low")
    writer.line("        last = None")
    writer.line(f"w = t // {shape.every}")
    writer.line("if w != last:")
    writer.line("    if w < low:")
    writer.line(f"        {name}.late += 1")
    writer.line("        continue" if window.late == "drop" else "        late()")
    writer.line("    d = parts.get(w)")
    writer.line("    if d is None: d = parts[w] = {}")
    writer.line("    last = w")
    writer.line("a = d.get(k)")
    writer.line("if a is None:")
    writer.line(f"    d[k] = {plan.begin()}")
    writer.line("else:")
    for line in plan.add("a") or ["pass"]:
        writer.line(f"    {line}")
    before = [
        f"mx, thr = {name}.begin(partition)",
        f"parts = {name}.parts",
        f"low = {name}.low",
        "last = None",
        "d = None",
    ]
    return before, [f"{name}.end(mx)"]


def keyed_loop(
    steps: Steps, front: KeyedFront, side: int, key: str, time: str, value: str, raw: str
) -> tuple[list[str], list[str]]:
    """Write the end of the loop for sessions and joins."""
    pool, writer = steps.pool, steps.writer
    name = pool.constant(front)
    writer.line(f"x = {value}")
    writer.line(f"k = {key}")
    writer.line(f"t = {time}")
    writer.line("if t > mx:")
    writer.line("    if t > limit: ahead(t, limit)")
    writer.line("    mx = t")
    writer.line("    if t >= thr:")
    writer.line(f"        thr = {name}.cross(t)")
    writer.line(f"        floor_ = {name}.floor")
    writer.line("wm = mx if mx < cap else cap")
    writer.line(f"{name}.add(k, t, wm if wm > floor_ else floor_, {side}, x, {raw})")
    before = [f"mx, thr = {name}.begin(partition)", f"cap = {name}.cap", f"floor_ = {name}.floor"]
    return before, [f"{name}.end(mx)"]


class PairScope:
    """What a join's `emit` sees: `left` and `right`."""

    open = False

    def __init__(self, sides: Mapping[str, Type]) -> None:
        self._fields = {name: Typed(name, kind) for name, kind in sides.items()}

    def field(self, name: str) -> Typed | None:
        return self._fields.get(name)

    lenient = field

    def names(self) -> Sequence[str]:
        return list(self._fields)


def join_finish(
    steps: Steps,
    join: Join,
    sides: Mapping[str, Type],
    records: Mapping[str, Any],
    record: Any,
    path: FieldPath,
    pool: Pool,
) -> tuple[dict[str, Type], str]:
    """Compile a join's `emit`. Returns the result's fields and the code of `finish(pairs, rows, dead)`."""
    scope = PairScope(sides)
    cells: dict[str, Typed] = {}
    for name, text in join.emit.items():
        try:
            cells[name] = compile_expression(text, scope, pool)
        except ExpressionError as fault:
            steps.fault((*path, "emit", name), fault, text)
            cells[name] = Typed("None", ANY)
    writer = Writer()
    writer.line("def finish(pairs, rows, dead, now):")
    writer.line("    for pair in pairs:")
    writer.line("        try:")
    for side in ("left", "right"):
        holder = pool.constant(records[side]) if records[side] is not None else None
        made = f"{holder}(*pair.{side})" if holder else f"pair.{side}"
        writer.line(f"            {side} = None if pair.{side} is None else {made}")
    writer.line(f"            rows.append({pool.constant(record)}({', '.join(t.kept() for t in cells.values())}))")
    writer.line("        except ROW_ERRORS as fault:")
    writer.line("            dead.append((fault, {'key': pair.key}))")
    return {name: typed.type for name, typed in cells.items()}, writer.text()


def run(text: str, names: Mapping[str, Any]) -> dict[str, Any]:
    """Run generated definitions with nothing but these names in reach."""
    space = dict(names) | {"ROW_ERRORS": ROW_ERRORS, "ahead": ahead, "late": late}
    exec(compile(text, "<flow>", "exec"), space)  # noqa: S102  # written by us from a checked tree, without builtins
    return space


NAMES: Mapping[str, Any] = aggregates.NAMES
TIME_OF_ARRIVAL = Typed("now", COMPUTED_TIME)
