"""The processes of an instance: a display of its own, OBS, and the director."""

from __future__ import annotations

import glob
import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from streamsd.core.address import Address, UnitId
from streamsd.core.secret import Secret
from streamsd.core.unit import (
    File,
    FileGrows,
    Limits,
    NoComplaint,
    Probe,
    Probes,
    Reports,
    StopPolicy,
    TcpPort,
    Unit,
    UnixSocket,
    XAnswers,
)
from streamsd.core.units import Resolution
from streamsd.drivers.obs.authority import authority_of
from streamsd.drivers.obs.content import Json
from streamsd.drivers.obs.control import Directed
from streamsd.drivers.obs.render import Instance, environment, launch_document, start_document
from streamsd.drivers.pulse import PulseDevice
from streamsd.drivers.x11 import XDisplay
from streamsd.drivers.x11.authority import authority_file
from streamsd.drivers.x11.render import xvfb

DISPLAY = "display"
OBS = "obs"
DIRECTOR = "director"
WINDOWS = "windows"

SCREEN = Resolution(1280, 720)
"""Of a display of its own: OBS's window is on it, which nobody sees. The canvas does not depend on it."""


@dataclass(frozen=True, slots=True)
class Places(Directed):
    """Where an instance's files are: `run` is gone with it, `state` outlives the host's restarts. `titles`: what OBS
    calls scenes that have another name here."""

    run: Path
    state: Path
    titles: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def password(self) -> Path:
        return self.run / "password"

    @property
    def desired(self) -> Path:
        return self.run / "desired.json"

    @property
    def report(self) -> Path:
        return self.run / "report.json"

    @property
    def control(self) -> Path:
        return self.run / "control"

    @property
    def complaint(self) -> Path:
        """The director's word that OBS hangs; not there while it does not."""
        return self.run / "complaint"

    @property
    def windows(self) -> Path:
        """Where captured windows are."""
        return self.run / "found.json"

    @property
    def authority(self) -> Path:
        """What OBS shows to the displays that it draws on and captures."""
        return self.run / "obs.Xauthority"

    @property
    def home(self) -> Path:
        return self.state / "home"


def display_unit(address: Address, places: Places, program: Path, number: int, cookie: Secret) -> tuple[Unit, XDisplay]:
    """An Xvfb of the instance's own."""
    display = XDisplay(f":{number}", places.run / "Xauthority", SCREEN, SCREEN, cookie)
    answers = XAnswers(display.name, display.authority)
    unit = Unit(
        id=UnitId(address, DISPLAY),
        argv=xvfb(program, display.name, display.authority, SCREEN),
        files=(authority_file(display.authority, cookie),),
        probes=Probes(
            startup=Probe(answers, interval=0.02, timeout=5.0),
            liveness=Probe(answers, interval=3.0, timeout=3.0, failures=3),
        ),
    )
    return unit, display


def obs_unit(
    address: Address,
    places: Places,
    instance: Instance,
    password: Secret,
    launcher: tuple[str, ...],
    display: XDisplay,
    captured: tuple[XDisplay, ...],
    audio: PulseDevice | None,
    limits: Limits,
    *,
    own_display: bool,
) -> Unit:
    """OBS, by its launcher."""
    runtime = places.run / "xdg"
    # Without a server of its own libpulse would look for one, and start it.
    sound = audio.env if audio is not None else {"PULSE_SERVER": f"unix:{runtime}/none"}
    launch, start = places.run / "launch.json", places.run / "start.json"
    return Unit(
        id=UnitId(address, OBS),
        argv=(*launcher, str(launch), str(start)),
        env={
            **environment(places.home, runtime),
            **sound,
            "DISPLAY": display.name,
            "XAUTHORITY": str(places.authority),
        },
        cwd=places.state,
        files=(
            File(launch, launch_document(instance, places.password, places.complaint)),
            File(start, start_document(instance), live=True),
            File(places.password, password),
            authority_of(places.authority, (display, *captured)),
        ),
        directories=(places.home, runtime),
        limits=limits,
        probes=Probes(
            startup=Probe(TcpPort("127.0.0.1", instance.port), interval=0.1),
            # Asked of the director, who talks with OBS all the time: a socket of an OBS that hangs still accepts.
            # A director that hangs itself says nothing.
            liveness=Probe(NoComplaint(places.complaint), interval=2.0, failures=1),
            within=60.0,
        ),
        # The launcher closes OBS's window (6 s), interrupts it (3 s) and kills it.
        stop=StopPolicy(((signal.SIGTERM, 12.0),)),
        after=(DISPLAY,) if own_display else (),
        follows=(DISPLAY,) if own_display else (),
    )


def director_unit(
    address: Address,
    places: Places,
    program: tuple[str, ...],
    desired: Json,
    password: Secret,
    host: str,
    port: int,
    scenes: Path | None,
) -> Unit:
    """The director. It outlives OBS's restarts and connects anew."""
    argv = [*program, "--host", host, "--port", str(port), "--password-file", str(places.password)]
    argv += ["--desired", str(places.desired), "--state", str(places.state / "director.json")]
    argv += ["--report", str(places.report), "--control", str(places.control), "--windows", str(places.windows)]
    if scenes is not None:
        argv += ["--scenes", str(scenes), "--complaint", str(places.complaint)]
    files = (File(places.desired, Secret(json.dumps(desired)), live=True), File(places.password, password))
    reports = Reports(places.report)
    return Unit(
        id=UnitId(address, DIRECTOR),
        argv=tuple(argv),
        cwd=places.state,
        files=files,
        probes=Probes(
            startup=Probe(UnixSocket(places.control), interval=0.05),
            readiness=Probe(reports, interval=1.0, failures=2),
            # It writes every second, but for the time that it waits for an answer of OBS.
            liveness=Probe(FileGrows(glob.escape(str(places.report))), interval=10.0, failures=6),
        ),
        stop=StopPolicy(((signal.SIGTERM, 15.0),)),
        after=(OBS,) if scenes is not None else (),
    )


def windows_unit(
    address: Address, places: Places, program: tuple[str, ...], wanted: Json, displays: tuple[XDisplay, ...]
) -> Unit:
    """The follower of captured windows, which are on these displays."""
    authority = authority_of(places.run / "windows.Xauthority", displays)
    file = File(places.run / "windows.json", json.dumps(wanted), live=True)
    report = places.run / "windows.report.json"
    argv = [*program, "--wanted", str(file.path), "--found", str(places.windows), "--control", str(places.control)]
    return Unit(
        id=UnitId(address, WINDOWS),
        argv=(*argv, "--report", str(report)),
        env={"XAUTHORITY": str(authority.path)},
        files=(file, authority),
        # Soon: OBS shows what else moves into the place where a window was last seen.
        probes=Probes(liveness=Probe(FileGrows(glob.escape(str(report))), interval=3.0, failures=4)),
    )
