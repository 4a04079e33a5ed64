"""From an instance's spec to its processes, and its scenes and outputs kept while it runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from streamsd.core.address import Address
from streamsd.core.claim import free_tcp_port, tcp_claim
from streamsd.core.diagnostics import Problem, ProblemsError
from streamsd.core.kind import (
    Compiled,
    Context,
    Finding,
    Happening,
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
from streamsd.core.unit import Limits, Unit
from streamsd.drivers import programs
from streamsd.drivers.cookies import stable_cookie
from streamsd.drivers.obs import capabilities
from streamsd.drivers.obs.check import check_files, files_among
from streamsd.drivers.obs.content import Collection, Json, SceneContent, collect
from streamsd.drivers.obs.control import DirectorFault, ask
from streamsd.drivers.obs.inputs import input_of, special_of
from streamsd.drivers.obs.render import Instance
from streamsd.drivers.pulse import PulseDevice
from streamsd.drivers.relay import RtmpPoint, StreamExports
from streamsd.drivers.x11 import XDisplay
from streamsd.drivers.x11.numbers import display_claim, is_free
from streamsd.kinds.obs.check import check_collection, check_spec
from streamsd.kinds.obs.document import SPECIAL, channels, digest, document, windows_document
from streamsd.kinds.obs.operations import CONFLICTS, question_of
from streamsd.kinds.obs.spec import ObsSpec
from streamsd.kinds.obs.units import DIRECTOR, Places, director_unit, display_unit, obs_unit, windows_unit

_DISPLAYS = range(100, 1000)
_PORTS = range(14455, 15455)
"""Below what hosts give to outgoing connections."""

_LONGEST_SOCKET_PATH = 107

_OBSERVED = (
    "obs_version",
    "converged",
    "collection",
    "program",
    "preview",
    "scenes",
    "inputs",
    "outputs",
    "stats",
    "overrides",
)


class ObsKind(Kind[ObsSpec]):
    name = "Obs"
    section = "obs"
    summary = "An OBS Studio that is kept as declared: scenes, sources, audio, streaming and recording."
    spec = ObsSpec

    def check_spec(self, name: str, spec: ObsSpec) -> Iterable[Problem]:
        return check_spec(spec)

    def check(self, resource: Resource[ObsSpec], context: Context) -> Iterable[Problem]:
        spec = resource.spec
        before = context.accepted(resource.address)
        known = files_among(before.spec.sources.values(), before.base) if before is not None else ()
        for name, source in spec.sources.items():
            yield from check_files(source, ("sources", name), resource.base, known)
        control = _places(resource.address, context).control
        if len(str(control).encode()) > _LONGEST_SOCKET_PATH:
            hint = "give a shorter name, or the daemon a shorter run directory"
            yield Problem("path-too-long", f"{control} is too long for the name of a socket", hint)
        if spec.external is not None:
            return
        program = context.program("obs")
        if program is None:
            yield Problem("program-missing", "OBS is not installed", f"apt install {capabilities.PACKAGE}")
        else:
            version = capabilities.version(program)
            if version and version < capabilities.OLDEST:
                words = ".".join(map(str, version))
                yield Problem("program-too-old", f"OBS {words} has no obs-websocket 5", "OBS 28 or later")
            record = spec.record
            if version and version < capabilities.HYBRID and record is not None and record.format == "hybrid_mp4":
                hint = "OBS 30.2 or later; mkv can be played too when OBS was killed"
                yield Problem("format-unknown", "this OBS has no hybrid_mp4", hint, ("record", "format"))
        if spec.display is None and context.program("Xvfb") is None:
            yield Problem("program-missing", "Xvfb is not installed", "apt install xvfb, or name a display")

    def compile(self, resource: Resource[ObsSpec], context: Context) -> Compiled:
        """Makes the websocket's password at the first time: it must be the same ever after (see stable_cookie)."""
        spec, address = resource.spec, resource.address
        places = _places(address, context)
        cookie = stable_cookie(places.run)
        audio = context.exports(Address("Audio", spec.audio), PulseDevice) if spec.audio else None
        collection = _collection(spec, resource.base.absolute(), context)
        point = _point(spec, context)
        problems = list(check_collection(spec, collection, audio))
        if problems:
            raise ProblemsError(problems)
        if spec.external is not None:
            return self._external(resource, context, collection, places, cookie, point)
        program = context.program("obs")
        assert program is not None, "check refuses an instance without it"
        version = capabilities.version(program)
        desired = document(spec, collection, resource.base.absolute(), version, cookie, point)
        password = spec.websocket.password or Secret(digest("websocket", cookie) + digest("password", cookie))
        port = spec.websocket.port or context.allocate("tcp-port", address, _PORTS, free_tcp_port("0.0.0.0"))
        instance = Instance(
            program=program,
            version=version,
            home=places.home,
            port=port,
            profile=spec.profile,
            collection=spec.current_collection,
            sample_rate=spec.sample_rate,
            channels=channels(spec),
        )
        claims = [tcp_claim("0.0.0.0", port, ("websocket", "port"))]
        units: list[Unit] = []
        if spec.display is not None:
            display = context.exports(Address("Display", spec.display), XDisplay)
        else:
            xvfb = context.program("Xvfb")
            assert xvfb is not None, "check refuses an instance without it"
            number = context.allocate("display", address, _DISPLAYS, is_free)
            unit, display = display_unit(address, places, xvfb, number, cookie)
            units.append(unit)
            claims.append(display_claim(number))
        units.append(
            obs_unit(
                address,
                places,
                instance,
                password,
                context.python("streamsd.programs.obs_launch"),
                display,
                collection.displays,
                audio,
                _limits(spec),
                own_display=spec.display is None,
            )
        )
        director = context.python("streamsd.programs.director")
        units.append(director_unit(address, places, director, desired, password, "127.0.0.1", port, instance.scenes))
        units += _followers(address, places, collection, context)
        return Compiled(
            units=tuple(units),
            live=_live(desired),
            claims=tuple(claims),
            exports=_named(places, collection),
        )

    def _external(
        self,
        resource: Resource[ObsSpec],
        context: Context,
        collection: Collection,
        places: Places,
        cookie: Secret,
        point: RtmpPoint | None,
    ) -> Compiled:
        spec = resource.spec
        external = spec.external
        assert external is not None
        desired = document(spec, collection, resource.base.absolute(), (), cookie, point)
        program = context.python("streamsd.programs.director")
        unit = director_unit(
            resource.address, places, program, desired, external.password, external.host, external.port, None
        )
        units = (unit, *_followers(resource.address, places, collection, context))
        return Compiled(units=units, live=_live(desired), exports=_named(places, collection))

    async def observe(
        self, resource: Resource[ObsSpec], compiled: Compiled, units: Mapping[str, ObservedUnit]
    ) -> Observation:
        """What the director reports."""
        report = programs.told(_of(compiled).report, DIRECTOR, units)
        if report is None:
            return Observation()
        told = report.observed
        return Observation(
            live=_mapping(told.get("parts")),
            observed=report.some(_OBSERVED),
            findings=report.findings and (tuple(_findings(told)) or report.findings),
            on_air=_on_air(_mapping(told.get("outputs"))),
            overridden=_overridden(_mapping(told.get("overrides"))),
            happened=tuple(_happened(told)),
        )

    async def patch(self, resource: Resource[ObsSpec], compiled: Compiled, parts: frozenset[str]) -> None:
        """Hand the document over, and wait for OBS to hold it. Parts that interrupt are patched only when nothing is
        on the air or somebody asked for it: so the director may."""
        for unit in compiled.units:
            for file in unit.files:
                if file.live:
                    programs.rewrite(file)
        interrupt = any(compiled.live[part].interrupts for part in parts)
        try:
            await ask(_of(compiled).control, {"do": "desired", "interrupt": interrupt})
        except DirectorFault as fault:
            raise PatchFault(f"{fault.reason}: {fault}") from fault

    async def operate(
        self, resource: Resource[ObsSpec], compiled: Compiled, operation: str, arguments: Mapping[str, JsonValue]
    ) -> JsonValue:
        places = _of(compiled)
        question = question_of(operation, arguments)
        for key in ("scene", "source"):
            name = question.get(key)
            if isinstance(name, str):
                question[key] = places.titles.get(name, name)
        try:
            answer = await ask(places.control, question)
        except DirectorFault as fault:
            raise OperationFault(f"{fault.reason}: {fault}", fault.hint, conflict=fault.reason in CONFLICTS) from fault
        return {key: value for key, value in answer.items() if key != "ok"}


def _places(address: Address, context: Context) -> Places:
    return Places(context.directory(address), context.state_directory(address))


def _named(places: Places, collection: Collection) -> Places:
    """With what OBS calls scenes, by what they are called here, where that differs."""
    each = (collection, *collection.others.values())
    return replace(places, titles={s.key: s.name for c in each for s in c.scenes if s.key != s.name})


def _of(compiled: Compiled) -> Places:
    assert isinstance(compiled.exports, Places)
    return compiled.exports


def _point(spec: ObsSpec, context: Context) -> RtmpPoint | None:
    """Where the stream that it streams to is published to. ProblemsError when that stream takes nothing in."""
    if spec.stream is None or spec.stream.to is None:
        return None
    point = context.exports(Address("Stream", spec.stream.to), StreamExports).ingest
    if point is None:
        problem = Problem(
            "stream-without-ingest",
            f"the stream {spec.stream.to} is captured here: nobody can publish to it",
            "declare it with `source: {ingest: {}}` instead of `video`",
            ("stream", "to"),
        )
        raise ProblemsError([problem])
    return point


def _collection(spec: ObsSpec, base: Path, context: Context) -> Collection:
    """The scenes of the loaded collection, and of the others. ProblemsError when they do not fit together."""
    displays: list[XDisplay] = []
    devices: list[PulseDevice] = []

    def display(name: str) -> XDisplay:
        displays.append(context.exports(Address("Display", name), XDisplay))
        return displays[-1]

    def device(name: str) -> PulseDevice:
        devices.append(context.exports(Address("Audio", name), PulseDevice))
        return devices[-1]

    shared = {name: input_of(source, base, display, device) for name, source in spec.sources.items()}

    def collected(names: Iterable[str]) -> tuple[Collection, list[Problem]]:
        return collect([context.exports(Address("Scene", name), SceneContent) for name in names], shared)

    collection, problems = collected(spec.current_scenes)
    others: dict[str, Collection] = {}
    for name, scenes in spec.collections.items():
        # Somebody may switch to them during a show.
        if name != spec.current_collection:
            others[name], found_there = collected(scenes)
            problems += [replace(problem, path=("collections", name)) for problem in found_there]
    if problems:
        raise ProblemsError(problems)
    special: dict[str, str] = {}
    heard: dict[str, Json] = {}
    for place, found in spec.special.items():
        name = found.name or SPECIAL[place]
        each = (collection, *others.values())
        if name in heard or any(name in c.inputs or any(name == s.name for s in c.scenes) for c in each):
            hint = f"give it another name: special.{place}.name"
            raise ProblemsError(
                [Problem("source-defined-twice", f"{name!r} is defined already", hint, ("special", place))]
            )
        special[place.replace("_", "")] = name
        heard[name] = special_of(found, place, device)
    return Collection(
        special=special,
        scenes=collection.scenes,
        inputs={**collection.inputs, **heard},
        groups=collection.groups,
        displays=tuple(dict.fromkeys([*(d for c in (collection, *others.values()) for d in c.displays), *displays])),
        devices=tuple(dict.fromkeys([*(d for c in (collection, *others.values()) for d in c.devices), *devices])),
        others={name: replace(other, inputs={**other.inputs, **heard}) for name, other in others.items()},
    )


def _followers(address: Address, places: Places, collection: Collection, context: Context) -> list[Unit]:
    wanted = windows_document(collection)
    if wanted is None:
        return []
    program = context.python("streamsd.programs.windows")
    return [windows_unit(address, places, program, wanted, collection.displays)]


def _live(desired: Json) -> Mapping[str, LivePart]:
    return {
        part: LivePart(value, DIRECTOR, opaque=True, interrupts=part != "scenes")
        for part, value in _mapping(desired["digests"]).items()
    }


def _limits(spec: ObsSpec) -> Limits:
    memory = spec.limits.memory.bytes if spec.limits.memory is not None else None
    return Limits(memory_bytes=memory, cpu_percent=spec.limits.cpu, nice=spec.limits.nice)


def _mapping(value: JsonValue) -> dict[str, JsonValue]:
    return value if isinstance(value, dict) else {}


def _findings(told: Mapping[str, JsonValue]) -> Iterable[Finding]:
    rows = told.get("findings")
    for row in rows if isinstance(rows, list) else []:
        found = cast("dict[str, str]", row)
        yield Finding(found["reason"], f"{found['about']}: {found['message']}", DIRECTOR)


def _happened(told: Mapping[str, JsonValue]) -> Iterable[Happening]:
    rows = told.get("events")
    for row in rows if isinstance(rows, list) else []:
        entry = cast("dict[str, Any]", row)
        at = datetime.fromtimestamp(entry["number"] / 1000, UTC)
        yield Happening(entry["number"], at, entry["event"], DIRECTOR, entry["fields"])


def _on_air(outputs: Mapping[str, JsonValue]) -> str:
    words = {"stream": "streaming", "record": "recording"}
    return " and ".join(word for name, word in words.items() if _mapping(outputs.get(name)).get("active"))


def _overridden(overrides: Mapping[str, JsonValue]) -> str:
    words = []
    if "collection" in overrides:
        words.append(f"collection {overrides['collection']} is loaded")
    if "program" in overrides:
        words.append(f"{overrides['program']} is on air")
    words += [f"{name} is {'on' if on else 'off'}" for name, on in _mapping(overrides.get("outputs")).items()]
    items = overrides.get("items")
    for row in items if isinstance(items, list) else []:
        owner, source, on = cast("list[JsonValue]", row)
        words.append(f"{source} is {'shown' if on else 'hidden'} in {owner}")
    words += [f"{name} is {'muted' if on else 'heard'}" for name, on in _mapping(overrides.get("muted")).items()]
    return ", ".join(words)


KIND = ObsKind()
