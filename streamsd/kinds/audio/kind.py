"""From a sound device's spec to its server, and its volume set live."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streamsd.core import unix_socket
from streamsd.core.address import Address, UnitId
from streamsd.core.diagnostics import Problem
from streamsd.core.kind import Compiled, Context, Finding, Kind, LivePart, Observation, PatchFault, Resource
from streamsd.core.runtime import ObservedUnit, ProcessState
from streamsd.core.unit import Probe, Probes, SocketAnswers, Unit, UnixSocket
from streamsd.drivers.cookies import stable_cookie
from streamsd.drivers.pulse import PulseDevice
from streamsd.drivers.pulse.capabilities import PACKAGES
from streamsd.drivers.pulse.control import STATE_QUESTION, SoundFault, measure, set_level
from streamsd.drivers.pulse.render import argv, cookie_file, device, env, script
from streamsd.kinds.audio.spec import AudioSpec

SERVER = "server"


class AudioKind(Kind[AudioSpec]):
    name = "Audio"
    section = "audio"
    summary = "A virtual sound device that programs play to and streams record."
    spec = AudioSpec

    def check(self, resource: Resource[AudioSpec], context: Context) -> Iterable[Problem]:
        if context.program("pulseaudio") is None:
            yield Problem("program-missing", "pulseaudio is not installed", f"apt install {PACKAGES['pulseaudio']}")
        control = str(context.directory(resource.address) / "control")
        if len(control.encode()) > unix_socket.LONGEST:
            yield Problem(
                "path-too-long",
                f"{control} is too long for the name of a socket",
                "give a shorter name, or the daemon a shorter run directory",
            )

    def compile(self, resource: Resource[AudioSpec], context: Context) -> Compiled:
        """Makes the server's cookie at the first time: it must be the same ever after (see stable_cookie)."""
        spec, address = resource.spec, resource.address
        program = context.program("pulseaudio")
        assert program is not None, "check refuses a device without it"
        directory = context.directory(address)
        own = device(directory, address.name, rate=spec.rate, channels=spec.channels)
        inputs = [context.exports(Address("Audio", name), PulseDevice) for name in spec.inputs]
        accepts = UnixSocket(directory / "native")
        answers = SocketAnswers(own.control, *STATE_QUESTION)
        return Compiled(
            units=(
                Unit(
                    id=UnitId(address, SERVER),
                    argv=argv(program, directory),
                    env=env(directory),
                    cwd=directory,
                    files=(script(directory, own, inputs), cookie_file(own, stable_cookie(directory))),
                    directories=(directory / "runtime", directory / "state"),
                    probes=Probes(
                        startup=Probe(accepts, interval=0.02),
                        readiness=Probe(accepts),
                        liveness=Probe(answers, timeout=5.0),
                    ),
                ),
            ),
            live={"volume": LivePart(spec.volume, SERVER), "muted": LivePart(spec.muted, SERVER)},
            exports=own,
        )

    async def observe(
        self, resource: Resource[AudioSpec], compiled: Compiled, units: Mapping[str, ObservedUnit]
    ) -> Observation:
        server = units.get(SERVER)
        if server is None or server.state is not ProcessState.RUNNING:
            return Observation()
        try:
            state = await measure(_device(compiled))
        except SoundFault as fault:
            return Observation(findings=(Finding("NotAnswering", str(fault), SERVER),))
        return Observation(
            live={"volume": state.volume, "muted": state.muted},
            observed={
                "volume": state.volume,
                "muted": state.muted,
                "players": state.players,
                "recorders": state.recorders,
                "monitor": _device(compiled).monitor,
            },
        )

    async def patch(self, resource: Resource[AudioSpec], compiled: Compiled, parts: frozenset[str]) -> None:
        """Volume and mute are set together, whichever of them differs."""
        try:
            await set_level(_device(compiled), volume=resource.spec.volume, muted=resource.spec.muted)
        except SoundFault as fault:
            raise PatchFault(str(fault)) from fault


def _device(compiled: Compiled) -> PulseDevice:
    assert isinstance(compiled.exports, PulseDevice)
    return compiled.exports


KIND = AudioKind()
