"""The engine with a fake world around it, in a few lines."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from streamsd.core.address import Address
from streamsd.core.conditions import Condition
from streamsd.core.diagnostics import Diagnostic, Severity, Source
from streamsd.core.events import Event
from streamsd.core.kind import Kind, Locate, Registry, Resource, diagnostic
from streamsd.core.settings import Settings
from streamsd.engine.compiler import Compiler
from streamsd.engine.context import HostContext
from streamsd.engine.desired import Generation
from streamsd.engine.plan import Plan
from streamsd.engine.reconciler import Reconciler
from streamsd.testing.clock import FakeClock, settle
from streamsd.testing.kinds import ThingKind
from streamsd.testing.runtime import FakeRuntime

_KEY = b"k" * 32


class Scenario:
    """A reconciler over a FakeRuntime and a FakeClock.

    `kinds`: given the runtime, the kinds a profile may use besides Thing. Profiles are what YAML would say: section
    to name to spec. `directory`: an empty one; kinds get their directories in it. A second scenario given the
    `runtime` of an ended one is the same daemon started anew.
    """

    def __init__(
        self,
        directory: Path,
        *,
        kinds: Callable[[FakeRuntime], Iterable[Kind[Any]]] = lambda runtime: (),
        clock: FakeClock | None = None,
        runtime: FakeRuntime | None = None,
        thing: ThingKind | None = None,
        seed: int = 1,
    ) -> None:
        self.clock = clock or FakeClock()
        self.runtime = runtime or FakeRuntime(self.clock)
        self.thing = thing or ThingKind(self.runtime)
        self.events: list[Event] = []
        self.discarded: list[str] = []
        self.directory = directory
        self._registry = Registry([self.thing, *kinds(self.runtime)])
        settings = Settings(directory / "profile.yaml", directory / "state", directory / "run", directory / "none")
        self.compiler = Compiler(self._registry, HostContext(settings, {}), _KEY)
        self.reconciler = Reconciler(
            self.runtime,
            self._registry,
            clock=self.clock,
            chance=random.Random(seed),
            emit=self.events.append,
            discard=lambda address: self.discarded.append(str(address)),
            told=self._newest_happening,
            ask=self.runtime.asker,
        )

    async def __aenter__(self) -> Self:
        await self.reconciler.start()
        self._broken = asyncio.ensure_future(self.reconciler.broken())
        await settle()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        broken = self._broken.done()
        if broken and kind is None:
            self._broken.result()
        self._broken.cancel()
        await self.reconciler.close()

    def anew(self) -> Scenario:
        """The next daemon over the same processes, once this one has been left."""
        return Scenario(self.directory, clock=self.clock, runtime=self.runtime, thing=self.thing)

    def _newest_happening(self, address: Address) -> int:
        told = [e.fields["happening"] for e in self.events if e.address == str(address) and "happening" in e.fields]
        return int(str(told[-1])) if told else 0

    # -- asking for things

    def generation(self, profile: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Generation:
        """The profile, compiled as the next generation. AssertionError when something is wrong with it."""
        found, diagnostics = self.compile(profile)
        errors = [str(d) for d in diagnostics if d.severity is Severity.ERROR]
        assert not errors, errors
        return replace(found, number=self.reconciler.world.generation.number + 1)

    def compile(
        self, profile: Mapping[str, Mapping[str, Mapping[str, Any]]]
    ) -> tuple[Generation, tuple[Diagnostic, ...]]:
        """The profile compiled, and what is wrong with it."""
        resources: dict[Address, Resource[Any]] = {}
        told: list[Diagnostic] = []
        for section, named in profile.items():
            kind = self._registry.section(section)
            assert kind is not None, f"no kind has the section {section}"
            for line, (name, spec) in enumerate(named.items(), start=1):
                address = Address(kind.name, name)
                made = kind.spec.model_validate(spec)
                told += [diagnostic(kind, name, _locator(line), p) for p in kind.check_spec(name, made)]
                resources[address] = Resource(address, made, _locator(line), self.directory)
        world = self.reconciler.world
        found, diagnostics = self.compiler.compile(resources, frozenset(world.units))
        return Generation(1, "test", found), (*told, *diagnostics)

    def accept(self, profile: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
        """Accept the profile as the next generation, and let nothing happen yet."""
        self.reconciler.accept(self.generation(profile))

    async def apply(self, profile: Mapping[str, Mapping[str, Mapping[str, Any]]], seconds: float = 0.0) -> None:
        """Accept the profile, and let all happen that needs no more than `seconds`."""
        self.accept(profile)
        await self.clock.advance(seconds)

    def preview(self, profile: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Plan:
        return self.reconciler.survey.preview(self.generation(profile))

    async def settle(self) -> None:
        """Let all happen that needs no time."""
        await settle()

    async def advance(self, seconds: float) -> None:
        await self.clock.advance(seconds)

    # -- looking

    @property
    def converged(self) -> bool:
        return self.reconciler.converged()

    def failed(self) -> list[str]:
        return sorted(map(str, self.reconciler.failed()))

    def condition(self, address: str, type: str) -> Condition:
        """A condition. AssertionError when the resource has none of that type."""
        found = self.reconciler.conditions[Address.parse(address)].get(type)
        assert found is not None, f"{address} has no condition {type}"
        return found

    def told(self, event: str) -> list[dict[str, object]]:
        """The events of that name so far, as they are printed."""
        return [e.to_json() for e in self.events if e.event == event]


def _locator(line: int) -> Locate:
    return lambda path, within=None: Source("profile.yaml", line, 1 + len(path))


async def until(fact: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait in real time until something is so: for tests of what has real threads or files. AssertionError after
    `seconds`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not fact():
        assert loop.time() < deadline, "it did not become so"
        await asyncio.sleep(0.01)
