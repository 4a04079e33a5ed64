"""A kind to test the engine with: it has a field of every cost, references, several processes and a live part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from streamsd.core.address import Address, UnitId
from streamsd.core.change import OnChange
from streamsd.core.claim import Claim
from streamsd.core.diagnostics import Problem
from streamsd.core.kind import (
    Compiled,
    Context,
    Happening,
    Kind,
    LivePart,
    Observation,
    PatchFault,
    RefTo,
    Resource,
    Spec,
)
from streamsd.core.runtime import ObservedUnit, ProcessState
from streamsd.core.unit import (
    FileExists,
    Limits,
    Probe,
    Probes,
    Reports,
    RestartMode,
    RestartPolicy,
    Unit,
    UnixSocket,
)
from streamsd.testing.runtime import FakeRuntime


class ThingSpec(Spec):
    """A thing: one `main` process, more where asked for."""

    note: Annotated[str, OnChange.NONE] = ""
    """Nothing depends on it."""
    level: Annotated[int | None, OnChange.PATCH] = None
    """Set live on `main`; a new process begins at 0."""
    memory: Annotated[int | None, OnChange.PATCH] = None
    """Bytes that `main` may use: a limit, changed in place."""
    size: Annotated[str, OnChange.RESTART] = "small"
    """In the command line of `main`."""
    identity: Annotated[str, OnChange.REPLACE] = "one"
    """In the command line of `main`, and what others see of it."""
    uses: tuple[Annotated[str, RefTo("Thing")], ...] = ()
    """Things whose restart restarts this."""
    near: tuple[Annotated[str, RefTo("Thing", follows=False)], ...] = ()
    """Things that must run first, and no more."""
    helpers: tuple[str, ...] = ()
    """More processes: each after `main`, and anew with it."""
    extras: tuple[str, ...] = ()
    """More processes after `main` that the thing serves without."""
    extra_size: str = "small"
    """In the command line of the extras alone."""
    port: int | None = None
    """A claim that only one thing may have."""
    restart: Annotated[RestartMode, OnChange.NONE] = RestartMode.ALWAYS
    """When `main` is started again."""
    probed: Annotated[bool, OnChange.NONE] = False
    """Whether `main` has probes: startup FileExists, readiness UnixSocket, liveness Reports."""
    within: Annotated[float, OnChange.NONE] = 30.0
    """Seconds for the startup of `main`."""
    bad: str = ""
    """A problem that checking finds, by code."""


class ThingKind(Kind[ThingSpec]):
    """`levels` is what the running processes have live, by pid. `refuses`: why patches fail; empty: they work.
    `takes` false: a patch says that it worked and changes nothing. `on_air`, `happened`: told when measured."""

    name = "Thing"
    section = "things"
    summary = "Something to test with."
    spec = ThingSpec

    def __init__(self, runtime: FakeRuntime) -> None:
        self._runtime = runtime
        self.levels: dict[int, int] = {}
        self.refuses = ""
        self.takes = True
        self.on_air: dict[str, str] = {}
        self.happened: dict[str, tuple[Happening, ...]] = {}
        self.compiled: list[str] = []

    def check(self, resource: Resource[ThingSpec], context: Context) -> Iterable[Problem]:
        if resource.spec.bad:
            yield Problem(resource.spec.bad, "it is bad", path=("bad",))

    def compile(self, resource: Resource[ThingSpec], context: Context) -> Compiled:
        spec, address = resource.spec, resource.address
        self.compiled.append(address.name)
        others = [context.exports(Address("Thing", name), str) for name in (*spec.uses, *spec.near)]
        main = Unit(
            UnitId(address, "main"),
            argv=("/bin/thing", spec.size, spec.identity, *others),
            limits=Limits(memory_bytes=spec.memory),
            restart=RestartPolicy(mode=spec.restart),
            probes=_probes(address, spec) if spec.probed else Probes(within=spec.within),
        )
        helpers = tuple(_beside(address, role, "small", follows=True) for role in spec.helpers)
        extras = tuple(_beside(address, role, spec.extra_size, follows=False) for role in spec.extras)
        return Compiled(
            units=(*extras, *helpers, main),
            live={} if spec.level is None else {"level": LivePart(spec.level, "main")},
            claims=() if spec.port is None else (Claim("port", str(spec.port), ("port",)),),
            exports=spec.identity,
            required=frozenset(["main", *spec.helpers]),
        )

    async def observe(
        self, resource: Resource[ThingSpec], compiled: Compiled, units: Mapping[str, ObservedUnit]
    ) -> Observation:
        main = units.get("main")
        if main is None or main.state is ProcessState.EXITED:
            return Observation()
        level = self.levels.get(main.pid, 0)
        return Observation(
            live={"level": level},
            observed={"level": level},
            on_air=self.on_air.get(resource.address.name, ""),
            happened=self.happened.get(resource.address.name, ()),
        )

    async def patch(self, resource: Resource[ThingSpec], compiled: Compiled, parts: frozenset[str]) -> None:
        self._runtime.record("patch", f"{resource.address} {' '.join(sorted(parts))}")
        if self.refuses:
            raise PatchFault(self.refuses)
        main = self._runtime.process(UnitId(resource.address, "main"))
        if self.takes and resource.spec.level is not None:
            self.levels[main.pid] = resource.spec.level


def things(**specs: Mapping[str, Any]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """A profile of things: `things(a={}, b={"uses": ["a"]})`."""
    return {"things": dict(specs)}


def _probes(address: Address, spec: ThingSpec) -> Probes:
    place = Path("/fake") / address.name
    return Probes(
        startup=Probe(FileExists(place / "started"), interval=0.1),
        readiness=Probe(UnixSocket(place / "socket"), interval=2.0, failures=3),
        liveness=Probe(Reports(place / "report"), interval=1.0, failures=3),
        within=spec.within,
    )


def _beside(address: Address, role: str, size: str, *, follows: bool) -> Unit:
    unit = Unit(UnitId(address, role), argv=("/bin/beside", size), after=("main",))
    return replace(unit, follows=("main",)) if follows else unit


def said_against(kind: Kind[Any], resource: Resource[Any], context: Context) -> list[Problem]:
    """All that a kind has against a resource, in its spec and on this host."""
    return [*kind.check_spec(resource.address.name, resource.spec), *kind.check(resource, context)]
