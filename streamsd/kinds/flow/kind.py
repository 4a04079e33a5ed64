"""From a flow's spec to its process, and its steps changed live."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from streamsd.core import unix_socket
from streamsd.core.address import Address, UnitId
from streamsd.core.claim import Claim, tcp_claim, udp_claim
from streamsd.core.diagnostics import Problem, ProblemsError
from streamsd.core.kind import (
    Compiled,
    Context,
    Kind,
    LivePart,
    Observation,
    OperationFault,
    PatchFault,
    Resource,
)
from streamsd.core.report import JsonValue
from streamsd.core.runtime import ObservedUnit
from streamsd.core.secret import Secret
from streamsd.core.unit import File, Limits, Probe, Probes, Reports, StopPolicy, Unit, UnixSocket
from streamsd.drivers import programs
from streamsd.drivers.obs.control import Directed
from streamsd.flow.asking import ask
from streamsd.flow.checks import (
    allow_reset,
    check_delivery,
    check_ends,
    check_processes,
    check_state,
    end_path,
    withdraw_reset,
)
from streamsd.flow.split import digest, split
from streamsd.kinds.flow.spec import FlowSpec

RUNNER = "runner"
_OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "tap": ("place", "count", "seconds"),
    "dead": ("count",),
    "replay": (),
}
_OBSERVED = (
    "sources",
    "sinks",
    "dead",
    "dead_reasons",
    "late",
    "throttled",
    "repeated",
    "epochs",
    "epoch_age",
    "watermark",
    "held_by",
    "complete",
    "processes",
)


@dataclass(frozen=True, slots=True)
class Places:
    """Where a flow's files are. `state` outlives restarts of the host."""

    run: Path
    state: Path

    @property
    def report(self) -> Path:
        return self.run / "report.json"

    @property
    def control(self) -> Path:
        return self.run / "control.sock"


class FlowKind(Kind[FlowSpec]):
    name = "Flow"
    section = "flows"
    summary = "A data flow: messages from sources, through typed steps and windows, to sinks."
    spec = FlowSpec
    keeps_state = True

    def check_spec(self, name: str, spec: FlowSpec) -> Iterable[Problem]:
        from streamsd.flow.compiler import problems_of
        from streamsd.flow.standing import Files

        yield from check_delivery(spec)
        yield from check_processes(spec)
        yield from problems_of(spec, Path(), Files.UNREAD)

    def check(self, resource: Resource[FlowSpec], context: Context) -> Iterable[Problem]:
        from streamsd.flow.compiler import compile_flow
        from streamsd.flow.standing import Files, Standing

        spec, base = resource.spec, resource.base.absolute()
        yield from check_ends(spec, supervised=True)
        control = _places(resource.address, context).control
        if len(str(control).encode()) > unix_socket.LONGEST:
            hint = "give a shorter name, or the daemon a shorter run directory"
            yield Problem("path-too-long", f"{control} is too long for the name of a socket", hint)
        try:
            plan = compile_flow(spec, Standing(base, Files.READ), base)
        except ProblemsError as fault:
            yield from fault.problems
            return
        reset = f"`streamsd apply --reset-state {resource.address.name}`"
        yield from check_state(spec, plan.state_shape, context.state_directory(resource.address), reset)

    def compile(self, resource: Resource[FlowSpec], context: Context) -> Compiled:
        spec, address = resource.spec, resource.address
        places = _places(address, context)
        held, live = split(spec)
        files = (
            File(places.run / "spec.json", Secret(json.dumps(held))),
            File(places.run / "live.json", Secret(json.dumps(live)), live=True),
        )
        unit = Unit(
            id=UnitId(address, RUNNER),
            argv=(
                *context.python("streamsd.programs.flow"),
                *("--name", address.name, "--base", str(resource.base.absolute())),
                *("--spec", str(files[0].path), "--live", str(files[1].path), "--state", str(places.state)),
                *("--report", str(places.report), "--control", str(places.control)),
                *_around(spec, context),
            ),
            files=files,
            limits=Limits(memory_bytes=spec.memory.bytes if spec.memory else None),
            probes=Probes(
                startup=Probe(UnixSocket(places.control), interval=0.05, timeout=5.0),
                readiness=Probe(Reports(places.report), interval=2.0),
                liveness=Probe(Reports(places.report), interval=10.0, failures=3),
                within=60.0,
            ),
            # What is under way is stored within an epoch, and a sink that does not answer is given eight seconds.
            stop=StopPolicy(((Signals.SIGTERM, 12.0 + spec.epoch_seconds),)),
        )
        return Compiled(
            units=(unit,),
            live={"steps": LivePart(digest(live), RUNNER)},
            claims=tuple(_claims(spec, resource.base.absolute())),
            exports=places,
        )

    async def observe(
        self, resource: Resource[FlowSpec], compiled: Compiled, units: Mapping[str, ObservedUnit]
    ) -> Observation:
        """What the runner reports."""
        report = programs.told(_of(compiled).report, RUNNER, units)
        if report is None:
            return Observation()
        live: dict[str, JsonValue] = {"steps": report.observed["live"]} if "live" in report.observed else {}
        return Observation(live, report.some(_OBSERVED), report.findings)

    async def patch(self, resource: Resource[FlowSpec], compiled: Compiled, parts: frozenset[str]) -> None:
        """Hand the live part over; the runner takes it in between two batches, or says what is wrong with it."""
        file = next(file for file in compiled.unit(RUNNER).files if file.live)
        programs.rewrite(file)
        request = {"do": "patch", "live": json.loads(file.data())}
        try:
            answer = await asyncio.to_thread(ask, _of(compiled).control, request)
        except (OSError, ValueError) as fault:
            raise PatchFault(f"the flow does not answer: {fault}") from fault
        if not answer.get("ok"):
            raise PatchFault(str(answer.get("error", "the flow did not say why")))

    async def operate(
        self, resource: Resource[FlowSpec], compiled: Compiled, operation: str, arguments: Mapping[str, JsonValue]
    ) -> JsonValue:
        """`tap` (place, count, seconds): the next messages there and their rate. `dead` (count): dead letters by
        reason, and the newest. `replay`: process dead letters once more."""
        if operation not in _OPERATIONS:
            raise OperationFault(f"a flow knows no operation {operation!r}; it knows {', '.join(_OPERATIONS)}")
        unknown = [name for name in arguments if name not in _OPERATIONS[operation]]
        if unknown:
            taken = ", ".join(_OPERATIONS[operation]) or "no arguments"
            raise OperationFault(f"{operation} takes {taken}, not {unknown[0]!r}")
        try:
            answer = await asyncio.to_thread(ask, _of(compiled).control, {"do": operation, **arguments}, 100.0)
        except (OSError, ValueError) as fault:
            raise OperationFault(f"the flow does not answer: {fault}") from fault
        if not answer.pop("ok", False):
            raise OperationFault(str(answer.get("error", "the flow did not say why")))
        told: dict[str, JsonValue] = answer
        return told

    def allow_reset(self, resource: Resource[FlowSpec], compiled: Compiled) -> str:
        stored = _stored(resource, compiled)
        if stored.is_dir():
            allow_reset(stored)
        return "begins with an empty state, where the stored one does not fit"

    def withdraw_reset(self, resource: Resource[FlowSpec], compiled: Compiled) -> None:
        withdraw_reset(_stored(resource, compiled))


def _places(address: Address, context: Context) -> Places:
    return Places(context.directory(address), context.state_directory(address))


def _of(compiled: Compiled) -> Places:
    assert isinstance(compiled.exports, Places)
    return compiled.exports


def _stored(resource: Resource[FlowSpec], compiled: Compiled) -> Path:
    """Where the state of its generation is."""
    return _of(compiled).state / f"generation-{resource.spec.recovery.generation}"


def _around(spec: FlowSpec, context: Context) -> Iterator[str]:
    """Sockets that the runner is told, where a source or sink needs them."""
    if any(source.streamsd is not None for source in spec.all_sources.values()):
        yield from ("--api", str(context.api_socket))
    for name in sorted({sink.obs.instance for sink in spec.all_sinks.values() if sink.obs is not None}):
        yield from ("--director", f"{name}={context.exports(Address('Obs', name), Directed).control}")


def _claims(spec: FlowSpec, base: Path) -> Iterator[Claim]:
    """Ports that a flow listens on, and files that it alone writes."""
    for what, ends in (("source", spec.all_sources), ("sink", spec.all_sinks)):
        for name, end in ends.items():
            path = end_path(spec, what, name)
            transport = end.transport
            told = getattr(end, transport)
            listen = getattr(told, "listen", None)
            if listen is not None:
                host, _, port = listen.rpartition(":")
                claim = udp_claim if transport == "udp" else tcp_claim
                yield claim(host, int(port), (*path, transport, "listen"))
            if what == "sink" and transport == "file":
                yield Claim("file", str(base / told.path), (*path, "file", "path"))
    if spec.dead_letter.path is not None:
        yield Claim("file", str(base / spec.dead_letter.path), ("dead_letter", "path"))


KIND = FlowKind()
