"""From a display's spec to its X server, and its size set live."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streamsd.core.address import UnitId
from streamsd.core.diagnostics import Problem
from streamsd.core.kind import (
    Compiled,
    Context,
    Finding,
    Kind,
    LivePart,
    Observation,
    PatchFault,
    Resource,
)
from streamsd.core.runtime import ObservedUnit, ProcessState
from streamsd.core.unit import Probe, Probes, Unit, XAnswers
from streamsd.drivers.cookies import stable_cookie
from streamsd.drivers.x11 import XDisplay
from streamsd.drivers.x11.authority import authority_file
from streamsd.drivers.x11.capabilities import PACKAGES
from streamsd.drivers.x11.control import DisplayFault, measure, resize
from streamsd.drivers.x11.numbers import clear_remains, display_claim, is_free
from streamsd.drivers.x11.randr import Size
from streamsd.drivers.x11.render import xvfb
from streamsd.kinds.display.spec import DisplaySpec

SERVER = "server"
_NUMBERS = range(100, 1000)


class DisplayKind(Kind[DisplaySpec]):
    name = "Display"
    section = "displays"
    summary = "A virtual X screen that programs draw on and streams capture."
    spec = DisplaySpec

    def check_spec(self, name: str, spec: DisplaySpec) -> Iterable[Problem]:
        if not spec.resolution.fits(spec.largest):
            yield Problem(
                "resolution-too-large",
                f"a resolution of {spec.resolution} is more than max_resolution, {spec.largest}",
                "raise max_resolution, or leave it out",
                ("resolution",),
            )

    def check(self, resource: Resource[DisplaySpec], context: Context) -> Iterable[Problem]:
        if context.program("Xvfb") is None:
            yield Problem("program-missing", "Xvfb is not installed", f"apt install {PACKAGES['Xvfb']}", ("backend",))

    def compile(self, resource: Resource[DisplaySpec], context: Context) -> Compiled:
        """Makes the display's cookie at the first time: it must be the same ever after (see stable_cookie). What a
        dead server left of the display's number is removed, so that it neither counts as taken nor stops the new one.
        """
        spec, address = resource.spec, resource.address
        program = context.program("Xvfb")
        assert program is not None, "check refuses a display without it"
        number = context.allocate("display", address, _NUMBERS, is_free) if spec.number is None else spec.number
        clear_remains(number)
        directory = context.directory(address)
        cookie = stable_cookie(directory)
        display = XDisplay(f":{number}", directory / "Xauthority", spec.resolution, spec.largest, cookie)
        answers = XAnswers(display.name, display.authority)
        size = Size.at(spec.resolution, spec.dpi)
        return Compiled(
            units=(
                Unit(
                    id=UnitId(address, SERVER),
                    argv=xvfb(program, display.name, display.authority, spec.largest),
                    files=(authority_file(display.authority, cookie),),
                    probes=Probes(
                        startup=Probe(answers, interval=0.02, timeout=5.0),
                        liveness=Probe(answers, interval=3.0, timeout=3.0, failures=2),
                    ),
                ),
            ),
            live={
                "resolution": LivePart(str(size.resolution), SERVER),
                "size_mm": LivePart(size.millimetres, SERVER),
            },
            claims=(display_claim(number, ("number",)),),
            exports=display,
        )

    async def observe(
        self, resource: Resource[DisplaySpec], compiled: Compiled, units: Mapping[str, ObservedUnit]
    ) -> Observation:
        display = _display(compiled)
        server = units.get(SERVER)
        if server is None or server.state is not ProcessState.RUNNING:
            return Observation(observed={"display": display.name})
        try:
            size = await measure(display)
        except DisplayFault as fault:
            return Observation(
                observed={"display": display.name}, findings=(Finding("NotAnswering", str(fault), SERVER),)
            )
        return Observation(
            live={"resolution": str(size.resolution), "size_mm": size.millimetres},
            observed={
                "display": display.name,
                "resolution": str(size.resolution),
                "max_resolution": str(display.max_resolution),
            },
        )

    async def patch(self, resource: Resource[DisplaySpec], compiled: Compiled, parts: frozenset[str]) -> None:
        """Pixels and millimetres are set at once, whichever of them differs."""
        try:
            await resize(_display(compiled), Size.at(resource.spec.resolution, resource.spec.dpi))
        except DisplayFault as fault:
            raise PatchFault(str(fault)) from fault


def _display(compiled: Compiled) -> XDisplay:
    assert isinstance(compiled.exports, XDisplay)
    return compiled.exports


KIND = DisplayKind()
