"""The row that generated code works on: which fields there are, what holds each, and the lines written so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streamsd.flow.expressions.typed import Pool, Typed, attribute
from streamsd.flow.types import ANY, COMPUTED_TIME, Type

_WORDS = ("true", "false", "null")


class Writer:
    """Lines of Python with their indentation."""

    def __init__(self, indent: int = 0) -> None:
        self.lines: list[str] = []
        self.indent = indent
        self.nested = 0
        """Blocks of `try` that a step opened and that the end of the loop's body closes."""

    def line(self, text: str) -> None:
        self.lines.append("    " * self.indent + text)

    def text(self) -> str:
        return "\n".join(self.lines) + "\n"


class Row:
    """The fields at one place of the loop; a Scope for expressions.

    Closed: `fields` are all there are. Open: `holder` is a dict of which `fields` are known, and others may be there.
    A closed row's fields may still lie in `holder` (a Struct); they are taken into locals when first used.
    """

    def __init__(self, writer: Writer, pool: Pool, fields: Mapping[str, Typed], *, open: bool, holder: str) -> None:
        self.writer = writer
        self.pool = pool
        self._fields = dict(fields)
        self.open = open
        self.holder = holder
        self.untouched = True
        """Whether `holder` still is the row: nothing was added, changed or taken away."""
        self._locals = 0

    @classmethod
    def closed(cls, writer: Writer, pool: Pool, schema: Mapping[str, Type], holder: str) -> Row:
        fields = {name: Typed(f"{holder}.{attribute(name)}", kind) for name, kind in schema.items()}
        return cls(writer, pool, fields, open=False, holder=holder)

    @classmethod
    def dynamic(cls, writer: Writer, pool: Pool, holder: str) -> Row:
        return cls(writer, pool, {}, open=True, holder=holder)

    # --- what expressions ask

    def field(self, name: str) -> Typed | None:
        found = self._fields.get(name)
        if found is not None:
            if not self.open and found.code.startswith(f"{self.holder}."):
                found = Typed(self.local(found.code), found.type)
                self._fields[name] = found
            return found
        if self.open and name not in _WORDS:
            return Typed(f"{self.holder}[{name!r}]", ANY)
        return None

    def lenient(self, name: str) -> Typed | None:
        if self.open and name not in self._fields and name not in _WORDS:
            return Typed(f"{self.holder}.get({name!r})", ANY)
        return self.field(name)

    def names(self) -> Iterable[str]:
        return self._fields

    # --- what steps do

    def local(self, code: str) -> str:
        """Put a value into a new local."""
        name = self.pool.local()
        self.writer.line(f"{name} = {code}")
        return name

    def types(self) -> dict[str, Type]:
        """The known fields, in order."""
        return {name: typed.type for name, typed in self._fields.items()}

    def peek(self, name: str) -> Typed | None:
        """A known field without taking it into a local."""
        return self._fields.get(name)

    def put(self, name: str, typed: Typed) -> None:
        """Add or replace a field. Its code is a local or a constant."""
        self.untouched = self.open
        self._fields[name] = typed
        if self.open:
            code = f"to_text({typed.code})" if typed.type == COMPUTED_TIME else typed.code
            self.writer.line(f"{self.holder}[{name!r}] = {code}")

    def take(self, name: str) -> None:
        """Take a field away."""
        self.untouched = self.open
        self._fields.pop(name, None)
        if self.open:
            self.writer.line(f"{self.holder}.pop({name!r}, None)")

    def replace(self, fields: Mapping[str, Typed]) -> None:
        """From here on the row is closed and holds these."""
        self._fields = dict(fields)
        self.open = False
        self.untouched = False
        self.holder = "\0"

    def narrow(self, names: Iterable[str]) -> None:
        """These fields are not null from here on."""
        for name in names:
            typed = self._fields.get(name)
            if typed is not None and typed.type.optional:
                self._fields[name] = Typed(typed.code, typed.type.required())

    def forget(self, name: str) -> None:
        """A field that could not be compiled: of unknown type, so that only one fault is told."""
        self._fields[name] = Typed("None", ANY)

    def whole(self, record: str) -> str:
        """Code of the row as one object: what holds it, or a record made of its fields."""
        if self.open or self.untouched:
            return self.holder
        return f"{record}({', '.join(typed.code for typed in self._fields.values())})"

    def shown(self) -> str:
        """Code of the row as a mapping, for people."""
        if self.open:
            return self.holder
        return "{" + ", ".join(f"{name!r}: {_text_of(typed)}" for name, typed in self._fields.items()) + "}"

    def written(self, record: str) -> str:
        """The same on its way out of the flow: computed times, integers inside, as text."""
        if self.open or not any(typed.type.required() == COMPUTED_TIME for typed in self._fields.values()):
            return self.whole(record)
        return f"{record}({', '.join(map(_text_of, self._fields.values()))})"


class LeanRow(Row):
    """A message without a schema of which only single fields are asked for, never the whole: a `map`, a `keep` or a
    window comes before anything else needs it. Only those fields are decoded, into a Struct, which is twice as quick.

    A field that is missing is UNSET there; asking for it is the same fault as it would be with a dict.
    """

    def __init__(self, writer: Writer, pool: Pool, holder: str) -> None:
        super().__init__(writer, pool, {}, open=True, holder=holder)
        self.used: dict[str, str] = {}
        """Fields that are asked for, and the attributes that hold them."""

    def field(self, name: str) -> Typed | None:
        if not self.open or name in self._fields or name in _WORDS:
            return super().field(name)
        temp = self.pool.temp()
        return Typed(f"({temp} if ({temp} := {self._held(name)}) is not UNSET else missing({name!r}))", ANY)

    def lenient(self, name: str) -> Typed | None:
        if not self.open or name in self._fields or name in _WORDS:
            return super().lenient(name)
        temp = self.pool.temp()
        return Typed(f"(None if ({temp} := {self._held(name)}) is UNSET else {temp})", ANY)

    def _held(self, name: str) -> str:
        return f"{self.holder}.{self.used.setdefault(name, attribute(name))}"


def _text_of(typed: Typed) -> str:
    if typed.type == COMPUTED_TIME:
        return f"to_text({typed.code})"
    if typed.type == COMPUTED_TIME.or_null():
        return f"(None if {typed.code} is None else to_text({typed.code}))"
    return typed.code
