"""Writes the code of the steps that look at one message at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import assert_never

from streamsd.core.diagnostics import FieldPath, Problem, name_hint
from streamsd.flow.expressions.check import compile_condition, compile_expression
from streamsd.flow.expressions.source import ExpressionError
from streamsd.flow.expressions.typed import Pool, Typed, regex
from streamsd.flow.memory import EveryNth, Fraction
from streamsd.flow.rows import Row, Writer
from streamsd.flow.spec.steps import Dedupe, Enrich, Flatten, Parse, Redact, Sample, Step
from streamsd.flow.spec.steps import Throttle as ThrottleSpec
from streamsd.flow.spec.words import read_type
from streamsd.flow.standing import Standing
from streamsd.flow.types import ANY, STR, Base, TimeForm, Type

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?::([a-z_]+\??))?\}")


class Steps:
    """Compiles steps one after the other onto a row. Faults are gathered in `problems`, each with its path."""

    def __init__(self, row: Row, pool: Pool, writer: Writer, standing: Standing, problems: list[Problem]) -> None:
        self.row = row
        self.pool = pool
        self.writer = writer
        self.standing = standing
        self.problems = problems

    # --- faults

    def fault(self, path: FieldPath, fault: ExpressionError, text: str) -> None:
        self.problems.extend(fault.problems(text, path))

    def wrong(self, path: FieldPath, message: str, hint: str = "") -> None:
        self.problems.append(Problem("flow-step", message, hint, path))

    def expression(self, text: str, path: FieldPath) -> Typed | None:
        """A compiled expression, or None after its fault was told."""
        try:
            return compile_expression(text, self.row, self.pool)
        except ExpressionError as fault:
            self.fault(path, fault, text)
            return None

    @contextmanager
    def telling(self, text: str, path: FieldPath) -> Iterator[None]:
        try:
            yield
        except ExpressionError as fault:
            self.fault(path, fault, text)

    # --- steps

    def step(self, step: Step, path: FieldPath) -> None:
        """Write one step. Windows, joins and custom steps are not written here."""
        match step.does:
            case "filter":
                self.filter(step.filter or "", (*path, "filter"))
            case "map":
                self._map(step.map or {}, (*path, "map"))
            case "set":
                self._set(step.set or {}, (*path, "set"))
            case "drop":
                for index, name in enumerate(step.drop or ()):
                    self._known(name, (*path, "drop", index))
                    self.row.take(name)
            case "keep":
                self._keep(step.keep or (), (*path, "keep"))
            case "rename":
                self._rename(step.rename or {}, (*path, "rename"))
            case "convert":
                self._convert(step, (*path, "convert"))
            case "parse" if step.parse:
                self._parse(step.parse, (*path, "parse"))
            case "enrich" if step.enrich:
                self._enrich(step.enrich, (*path, "enrich"))
            case "flatten" if step.flatten:
                self._flatten(step.flatten, (*path, "flatten"))
            case "redact" if step.redact:
                self._redact(step.redact, (*path, "redact"))
            case "throttle" if step.throttle:
                self._throttle(step.throttle, (*path, "throttle"))
            case "sample" if step.sample:
                self._sample(step.sample, (*path, "sample"))
            case other:
                raise AssertionError(f"not a step of single messages: {other}")

    def filter(self, text: str, path: FieldPath) -> None:
        with self.telling(text, path):
            typed, known = compile_condition(text, self.row, self.pool)
            self.writer.line(f"if not {typed.code}: continue")
            self.row.narrow(known)

    def _known(self, name: str, path: FieldPath) -> bool:
        if self.row.open or self.row.peek(name) is not None:
            return True
        self.wrong(path, f"unknown field {name!r}", name_hint(name, self.row.names(), "fields"))
        return False

    def _map(self, fields: dict[str, str], path: FieldPath) -> None:
        made: dict[str, Typed] = {}
        for name, text in fields.items():
            typed = self.expression(text, (*path, name)) or Typed("None", ANY)
            made[name] = Typed(self.row.local(typed.kept()), typed.type)
        self.row.replace(made)

    def _set(self, fields: dict[str, str], path: FieldPath) -> None:
        for name, text in fields.items():
            typed = self.expression(text, (*path, name))
            if typed is None:
                self.row.forget(name)
            else:
                self.row.put(name, Typed(self.row.local(typed.kept()), typed.type))

    def _keep(self, names: tuple[str, ...], path: FieldPath) -> None:
        if self.row.open:
            made = {name: self.row.field(name) or Typed("None", ANY) for name in names}
            self.row.replace({name: Typed(self.row.local(typed.code), typed.type) for name, typed in made.items()})
            return
        for index, name in enumerate(names):
            self._known(name, (*path, index))
        for name in [name for name in self.row.names() if name not in names]:
            self.row.take(name)

    def _rename(self, names: dict[str, str], path: FieldPath) -> None:
        taken: dict[str, Typed] = {}
        for old, new in names.items():
            if not self._known(old, (*path, old)):
                continue
            typed = self.row.field(old) or Typed("None", ANY)
            taken[new] = Typed(self.row.local(typed.code), typed.type)
        for old in names:
            self.row.take(old)
        for new, typed in taken.items():
            if self.row.peek(new) is not None:
                self.wrong(path, f"there is a field {new!r} already", "drop it before")
            self.row.put(new, typed)

    def _convert(self, step: Step, path: FieldPath) -> None:
        for name, written in (step.convert or {}).items():
            here = (*path, name)
            if not self._known(name, here):
                continue
            wanted = read_type(written)
            typed = self.row.field(name) or Typed("None", ANY)
            code = self._converted(typed, wanted, here)
            if code is not None:
                self.row.put(name, Typed(self.row.local(code), wanted))

    def _converted(self, given: Typed, wanted: Type, path: FieldPath) -> str | None:
        """Code of a value made the wanted type, or None after a fault was told."""
        if given.type.optional and not wanted.optional:
            self.wrong(path, f"the field may be null; {wanted} may not", f"write {wanted}?")
            return None
        if given.type.required() == wanted.required():
            return given.code
        made = self._conversion(Typed("cv" if wanted.optional else given.code, given.type.required()), wanted)
        if made is None:
            self.wrong(path, f"cannot convert {given.type} to {wanted}", "convert to int, float, str, bool or time")
            return None
        return f"(None if (cv := {given.code}) is None else {made})" if wanted.optional else made

    @staticmethod
    def _conversion(given: Typed, wanted: Type) -> str | None:
        base = given.type.base
        scalar = base in (Base.STR, Base.BOOL, Base.INT, Base.FLOAT, Base.NUMBER, Base.ANY)
        match wanted.base:
            case Base.INT if scalar:
                return f"to_int({given.code})"
            case Base.FLOAT if scalar:
                return f"to_float({given.code})"
            case Base.BOOL if scalar:
                return f"to_bool({given.code})"
            case Base.STR if base is Base.TIME:
                return f"to_text({given.micros()})"
            case Base.STR if base is not Base.OBJECT:
                return f"to_str({given.code})"
            case Base.TIME if base in (Base.TIME, Base.STR, Base.ANY) or given.type.numeric:
                return _time_as(given, wanted)
            case Base.ANY:
                return given.code
            case Base.LIST | Base.MAP if base is Base.ANY and (wanted.item is None or wanted.item == ANY):
                return f"as_{wanted.base}({given.code})"
            case _:
                return None

    # --- parse

    def _parse(self, parse: Parse, path: FieldPath) -> None:
        typed = self.expression(parse.field, (*path, "field"))
        if typed is None:
            return
        if typed.type.base not in (Base.STR, Base.ANY) or typed.type.optional:
            self.wrong((*path, "field"), f"parse takes a text; this is {typed.type}")
            return
        types = {name: read_type(kind) for name, kind in parse.types.items()}
        text = self.row.local(typed.code if typed.type == STR else f"as_str({typed.code})")
        if parse.pattern is not None:
            found = self._by_pattern(parse.pattern, text, types, (*path, "pattern"))
        else:
            found = self._by_regex(parse.regex or "", text, (*path, "regex"))
        for name in types:
            if name not in found:
                self.wrong(
                    (*path, "types", name), f"the pattern has no field {name!r}", name_hint(name, found, "fields")
                )
        for name, code in found.items():
            wanted = types.get(name, STR)
            made = self._converted(
                Typed(code, STR.or_null() if wanted.optional else STR), wanted, (*path, "types", name)
            )
            if made is not None:
                self.row.put(name, Typed(self.row.local(made), wanted))

    def _by_pattern(self, pattern: str, text: str, types: dict[str, Type], path: FieldPath) -> dict[str, str]:
        """Cut the text at the literals between the fields, each once, from left to right: linear in the text."""
        pieces = _PLACEHOLDER.split(pattern)
        literals, names = pieces[0::3], pieces[1::3]
        for name, written in zip(names, pieces[2::3], strict=True):
            if written:
                try:
                    types.setdefault(name, read_type(written))
                except ValueError as fault:
                    self.wrong(path, str(fault))
        if not names:
            self.wrong(path, "the pattern has no field", "write a field in braces: {host}")
        if len(set(names)) != len(names):
            self.wrong(path, "a field stands twice in the pattern")
        if any(not literal for literal in literals[1:-1]):
            self.wrong(path, "two fields follow each other with nothing between", "put the text that parts them there")
        found: dict[str, str] = {}
        rest = text
        if literals[0]:
            rest = self.row.local(f"after({rest}, {literals[0]!r})")
        for name, literal in zip(names, literals[1:], strict=True):
            if literal:
                pair = self.row.local(f"cut({rest}, {literal!r})")
                found[name] = f"{pair}[0]"
                rest = f"{pair}[1]"
            else:
                found[name] = rest
                rest = ""
        if literals[-1] and names:
            self.writer.line(f"if {rest}: no_match()")
        return found

    def _by_regex(self, pattern: str, text: str, path: FieldPath) -> dict[str, str]:
        try:
            compiled = regex(pattern)
        except ExpressionError as fault:
            self.wrong(path, fault.message, fault.hint)
            return {}
        if not compiled.groupindex:
            self.wrong(path, "the expression has no named group", r"write (?P<name>\d+)")
            return {}
        match = self.row.local(f"{self.pool.constant(compiled.search)}({text})")
        self.writer.line(f"if {match} is None: no_match()")
        return {name: f"{match}.group({number})" for name, number in compiled.groupindex.items()}

    # --- tables, lists, secrets

    def _enrich(self, enrich: Enrich, path: FieldPath) -> None:
        typed = self.expression(enrich.on, (*path, "on"))
        columns = {name: read_type(kind) for name, kind in enrich.fields.items()}
        for name, kind in columns.items():
            if enrich.missing == "null" and not kind.optional:
                self.wrong((*path, "fields", name), "with missing: null this may be null", f"write {kind}?")
        table = self.standing.table(enrich, columns, path, self.problems)
        if typed is None:
            for name in columns:
                self.row.forget(name)
            return
        texts = enrich.table.file.lower().endswith(".csv")
        if texts and typed.type.base not in (Base.STR, Base.ANY):
            self.wrong(
                (*path, "on"), f"the keys of a CSV file are texts, and this is {typed.type}", f"str({enrich.on})"
            )
        found = self.row.local(f"{self.pool.constant(table)}.rows.get({typed.code})")
        match enrich.missing:
            case "drop":
                self.writer.line(f"if {found} is None: continue")
            case "dead_letter":
                self.writer.line(f"if {found} is None: no_row({typed.code})")
            case "null":
                self.writer.line(f"if {found} is None: {found} = ({'None, ' * len(columns)})")
            case other:
                assert_never(other)
        for index, (name, kind) in enumerate(columns.items()):
            self.row.put(name, Typed(self.row.local(f"{found}[{index}]"), kind))

    def _flatten(self, flatten: Flatten, path: FieldPath) -> None:
        typed = self.expression(flatten.field, (*path, "field"))
        if typed is None:
            self.row.forget(flatten.as_)
            return
        if typed.type.base not in (Base.LIST, Base.ANY) or typed.type.optional:
            self.wrong(
                (*path, "field"),
                f"flatten takes a list; this is {typed.type}",
                "write coalesce(x, []) where it may be null",
            )
            return
        values = self.row.local(typed.code if typed.type.base is Base.LIST else f"as_list({typed.code})")
        item = self.pool.local()
        self.writer.line(f"for {item} in {values}:")
        self.writer.indent += 1
        # A fault in one item must not take back the others, which may be on their way already.
        self.writer.line("try:")
        self.writer.indent += 1
        self.writer.nested += 1
        if self.row.open:
            holder = self.row.local(f"dict({self.row.holder})")
            self.row.holder = holder
        self.row.put(flatten.as_, Typed(item, typed.type.item or ANY))

    def _redact(self, redact: Redact, path: FieldPath) -> None:
        for index, name in enumerate(redact.fields):
            if not self._known(name, (*path, "fields", index)):
                continue
            if redact.with_ == "mask":
                self.row.put(name, Typed("'***'", STR))
                continue
            hasher = self.pool.constant(self.standing.hasher(redact))
            typed = self.row.field(name) or Typed("None", ANY)
            self.row.put(name, Typed(self.row.local(f"{hasher}({typed.code})"), STR))

    # --- steps with memory

    def _throttle(self, throttle: ThrottleSpec, path: FieldPath) -> None:
        key = "None"
        if throttle.key is not None:
            typed = self.expression(throttle.key, (*path, "key"))
            key = _as_key(typed) if typed else "None"
        bucket = self.standing.throttle(throttle.rate, throttle.burst)
        self.writer.line(f"if not {self.pool.constant(bucket)}.take({key}, now): continue")

    def _sample(self, sample: Sample, path: FieldPath) -> None:
        if sample.every is not None:
            nth = self.standing.once(partial(EveryNth, sample.every))
            self.writer.line(f"if not {self.pool.constant(nth)}.take(): continue")
            return
        typed = self.expression(sample.key or "", (*path, "key"))
        if typed is not None:
            chooser = self.pool.constant(Fraction(sample.fraction or 1.0))
            self.writer.line(f"if not {chooser}.take({typed.code}): continue")

    def dedupe(self, dedupe: Dedupe, name: str, path: FieldPath) -> None:
        """`name`: by which the memory is found again after a restart."""
        texts = (dedupe.key,) if isinstance(dedupe.key, str) else dedupe.key
        parts = [self.expression(text, (*path, "key")) for text in texts]
        if any(part is None for part in parts):
            return
        keys = [_as_key(part) for part in parts if part is not None]
        key = keys[0] if len(keys) == 1 else f"({', '.join(keys)})"
        seen = self.standing.seen(name, dedupe)
        self.writer.line(f"if not {self.pool.constant(seen)}.first({key}, now): continue")


def _as_key(typed: Typed) -> str:
    return f"hashable({typed.code})" if typed.type.base in (Base.ANY, Base.LIST, Base.MAP) else typed.code


def _time_as(given: Typed, wanted: Type) -> str | None:
    """Code of a time in the wanted form: numbers and texts are taken as written in that form."""
    if given.type.numeric:
        return {TimeForm.TEXT: f"to_text(seconds_to_micros({given.code}))"}.get(
            wanted.form or TimeForm.TEXT, given.code
        )
    micros = f"as_micros({given.code})" if given.type.base is not Base.TIME else given.micros()
    match wanted.form:
        case TimeForm.MILLIS:
            return f"({micros} // 1000)"
        case TimeForm.MICROS | TimeForm.COMPUTED:
            return micros
        case TimeForm.NANOS:
            return f"({micros} * 1000)"
        case TimeForm.SECONDS:
            return f"seconds_text({micros})"
        case _:
            return given.code if given.type.base is Base.STR else f"to_text({micros})"
