"""Kinds: what a profile can declare. One folder a kind; everything else follows from what is on this page."""

from __future__ import annotations

import types
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from streamsd.core.address import Address
from streamsd.core.claim import Claim
from streamsd.core.diagnostics import Diagnostic, FieldPath, Problem, Source, Span
from streamsd.core.report import JsonValue
from streamsd.core.runtime import ObservedUnit
from streamsd.core.unit import Unit


class Spec(BaseModel):
    """The base of every spec and of the models inside it: frozen, and unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, use_attribute_docstrings=True)


SpecT = TypeVar("SpecT", bound=Spec)
ExportT = TypeVar("ExportT")


@dataclass(frozen=True, slots=True)
class RefTo:
    """On a field that names another resource: `display: Annotated[str, RefTo("Display")]`.

    `follows`: when the target's processes start anew, this resource's do too (their connections are gone).
    """

    kind: str
    follows: bool = True

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core_schema)
        schema["x-ref"] = self.kind
        return schema


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference found in a spec: from the field at `path` to `target`."""

    path: FieldPath
    target: Address
    follows: bool


@dataclass(frozen=True, slots=True)
class LivePart:
    """A part of a resource that is changed in place, on the running process `role`.

    `desired` is compared with what `Kind.observe` measured under the same key. It must never hold a secret.
    """

    desired: JsonValue
    role: str
    opaque: bool = False
    """Its values say nothing to people (digests)."""
    interrupts: bool = False
    """Setting it stops an output for a moment: not done while something is on the air, unless asked for."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a spec comes to: processes, parts that are set live, claims, and what other kinds may know of it."""

    units: tuple[Unit, ...] = ()
    live: Mapping[str, LivePart] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    exports: object = None
    required: frozenset[str] | None = None
    """Roles without which the resource is not Ready; the others only degrade it. None: all of them."""

    def unit(self, role: str) -> Unit:
        return next(u for u in self.units if u.id.role == role)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing observed to be wrong: a resource with findings is Degraded."""

    reason: str
    message: str
    role: str = ""


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that the process `role` told of, for the event log: `event` is kebab-case, `at` when it happened.
    `number` grows from one to the next of a resource, as milliseconds of the wall clock do: by it the engine knows what
    it has told. Never holds a secret."""

    number: int
    at: datetime
    event: str
    role: str
    fields: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observation:
    """What a kind measured of a running resource. `live` has the same keys as `Compiled.live`; a key that could not
    be measured is left out. `observed` is for people and for `status --json`."""

    live: Mapping[str, JsonValue] = field(default_factory=dict)
    observed: Mapping[str, JsonValue] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    on_air: str = ""
    """What would be interrupted by a restart, in words ("streaming to Stream/main"); empty: nothing."""
    overridden: str = ""
    """What an operator has switched by hand, which is left so until it is reset; empty: nothing."""
    happened: tuple[Happening, ...] = ()
    """What happened lately, oldest first. Those that were among them before are not told again."""


class Locate(Protocol):
    """The place in the text of a path inside a spec, or of some characters of the text at that path."""

    def __call__(self, path: FieldPath, within: Span | None = None) -> Source | None: ...


def _nowhere(path: FieldPath, within: Span | None = None) -> Source | None:
    return None


@dataclass(frozen=True)
class Resource(Generic[SpecT]):
    """A declared thing."""

    address: Address
    spec: SpecT
    locate: Locate = field(default=_nowhere, compare=False)
    base: Path = field(default=Path(), compare=False)
    """The directory of the file that declares it: what relative paths in the spec are relative to."""


class Context(Protocol):
    """What a kind may ask while it checks and compiles. Compiling the same spec twice asks for the same things and
    gets the same answers, also after the controller was restarted."""

    @property
    def api_socket(self) -> Path:
        """Where the daemon answers: for programs that ask it."""
        ...

    def directory(self, address: Address) -> Path:
        """A private directory (0700) of the resource for sockets, cookies, progress files: gone when it is deleted."""
        ...

    def state_directory(self, address: Address) -> Path:
        """A private directory whose contents outlive restarts of the host."""
        ...

    def exports(self, address: Address, as_: type[ExportT]) -> ExportT:
        """What a referred resource says of itself; it was compiled before."""
        ...

    def accepted(self, address: Address) -> Resource[Any] | None:
        """The resource as it was accepted last: what is in it is no news. None when it is new."""
        ...

    def program(self, name: str) -> Path | None:
        """Where a program is, or None. `ffmpeg` is the chosen one; others come from PATH."""
        ...

    def allocate(
        self, pool: str, address: Address, choices: range, free: Callable[[int], bool] = lambda number: True
    ) -> int:
        """A number of the pool that no other resource has: the same one every time. `free`: whether nobody else on the
        host has it, asked before it is given for the first time."""
        ...

    def python(self, module: str) -> tuple[str, ...]:
        """argv that runs one of streamsd's own programs, such as `streamsd.programs.relay`."""
        ...


class Kind(ABC, Generic[SpecT]):
    """A kind. The methods with a body may be left alone."""

    name: ClassVar[str]
    """CamelCase, singular: `Stream`."""
    section: ClassVar[str]
    """The profile's key, plural: `streams`."""
    summary: ClassVar[str]
    """One sentence for schema, reference and CLI."""
    spec: ClassVar[type[Spec]]
    keeps_state: ClassVar[bool] = False
    """Whether its resources store a state that may not fit what they are declared as next: see `allow_reset`."""

    def check_spec(self, name: str, spec: SpecT) -> Iterable[Problem]:
        """What is wrong with the spec of `name` that its types cannot say: fields that do not fit each other, the
        expressions in it. Pure, and quick: asked for wherever a profile is read."""
        return ()

    def check(self, resource: Resource[SpecT], context: Context) -> Iterable[Problem]:
        """What is wrong with it on this host: missing programs, files. Asked for once the whole profile is valid."""
        return ()

    @abstractmethod
    def compile(self, resource: Resource[SpecT], context: Context) -> Compiled:
        """Pure but for what it asks of the context. ProblemsError for faults that only compiling shows."""

    async def observe(
        self, resource: Resource[SpecT], compiled: Compiled, units: Mapping[str, ObservedUnit]
    ) -> Observation:
        """Measure the running resource: live parts and figures. Called when it runs, about once a second at most;
        bounded in time; never raises for a program that does not answer (it says a Finding)."""
        return Observation()

    async def patch(self, resource: Resource[SpecT], compiled: Compiled, parts: frozenset[str]) -> None:
        """Set these live parts on the running processes. PatchFault when it does not take."""
        raise NotImplementedError(f"{self.name} has no live parts")

    async def operate(
        self, resource: Resource[SpecT], compiled: Compiled, operation: str, arguments: Mapping[str, JsonValue]
    ) -> JsonValue:
        """Carry out an operator's command. OperationFault when it is unknown or fails."""
        raise OperationFault(f"{self.name} has no operations")

    def allow_reset(self, resource: Resource[SpecT], compiled: Compiled) -> str:
        """Of a kind that keeps state: the resource may begin with an empty one, should the stored one not fit what it
        is declared as next; its own check does not ask for it to fit then. Returns what comes of that, in words for a
        plan. Quick; OSError when it cannot be written down."""
        raise NotImplementedError(f"{self.name} keeps no state")

    def withdraw_reset(self, resource: Resource[SpecT], compiled: Compiled) -> None:
        """Take back what `allow_reset` allowed: the apply that asked for it was refused. OSError as there."""
        raise NotImplementedError(f"{self.name} keeps no state")


class OperationFault(Exception):
    """An operator's command that could not be carried out. `conflict`: not as things are now."""

    def __init__(self, message: str, hint: str = "", *, conflict: bool = False) -> None:
        self.hint = hint
        self.conflict = conflict
        super().__init__(message)


class PatchFault(Exception):
    """A live change did not take."""


def diagnostic(kind: Kind[Any], name: str, locate: Locate, problem: Problem) -> Diagnostic:
    """A problem of the resource `name` as people are told it, with its place."""
    at = locate(problem.path, problem.within) or locate(())
    path = (kind.section, name, *problem.path)
    return Diagnostic(problem.code, problem.message, problem.hint, at, path, problem.severity)


class Registry:
    """The kinds there are, by name and by section."""

    def __init__(self, kinds: Iterable[Kind[Any]]) -> None:
        self._by_name = {kind.name: kind for kind in sorted(kinds, key=lambda k: k.section)}
        self._by_section = {kind.section: kind for kind in self._by_name.values()}

    def __iter__(self) -> Iterator[Kind[Any]]:
        return iter(self._by_name.values())

    def named(self, name: str) -> Kind[Any]:
        return self._by_name[name]

    def section(self, section: str) -> Kind[Any] | None:
        return self._by_section.get(section)


def references_of(spec: BaseModel, prefix: FieldPath = ()) -> Iterator[Reference]:
    """Every reference in a spec, found by the `RefTo` on its fields; in dicts and lists of names too."""
    for name, key, ref in _fields_with_references(type(spec)):
        yield from _references(getattr(spec, name), (*prefix, key), ref)


@cache
def _fields_with_references(model: type[BaseModel]) -> tuple[tuple[str, str, RefTo | None], ...]:
    """(field, its key in the text, the reference it is) of the fields that are references or may hold models that
    have some."""
    found = []
    for name, info in model.model_fields.items():
        ref = _ref_in(info.metadata) or _ref_in_type(info.annotation)
        if ref is not None or _holds_models(info.annotation):
            found.append((name, info.alias or name, ref))
    return tuple(found)


def _holds_models(annotation: object) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return True
    return any(_holds_models(part) for part in typing.get_args(annotation))


def _references(value: object, path: FieldPath, ref: RefTo | None) -> Iterator[Reference]:
    if isinstance(value, BaseModel):
        yield from references_of(value, path)
    elif isinstance(value, str):
        if ref:
            yield Reference(path, Address(ref.kind, value), ref.follows)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _references(item, (*path, key), ref)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _references(item, (*path, index), ref)


def _ref_in(metadata: Iterable[object]) -> RefTo | None:
    return next((item for item in metadata if isinstance(item, RefTo)), None)


def _ref_in_type(annotation: object) -> RefTo | None:
    """RefTo inside `Annotated` within unions and containers: `list[Annotated[str, RefTo(...)]]`."""
    if typing.get_origin(annotation) is typing.Annotated:
        found = _ref_in(typing.get_args(annotation)[1:])
        if found:
            return found
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is not None:
        for part in typing.get_args(annotation):
            found = _ref_in_type(part)
            if found:
                return found
    return None
