"""A stream that is published to us: the process that takes it in."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable
from pathlib import Path
from signal import Signals

from streamsd.core.address import Address, UnitId
from streamsd.core.claim import free_tcp_port
from streamsd.core.diagnostics import FieldPath, Problem
from streamsd.core.kind import Context
from streamsd.core.secret import Secret
from streamsd.core.unit import File, Probe, Probes, Reports, StopPolicy, Unit
from streamsd.drivers.cookies import stable_cookie
from streamsd.drivers.ffmpeg.render import RelayPorts, handover
from streamsd.drivers.relay import RtmpPoint
from streamsd.kinds.stream.sources import IngestSpec

INGEST = "ingest"
"""The role of what takes in."""

_PORTS = range(13455, 14455)
"""Below what hosts give to outgoing connections."""

_AT: FieldPath = ("source", "ingest")


def check(spec: IngestSpec) -> Iterable[Problem]:
    """What is wrong with it by itself."""
    if spec.port is not None and spec.port > 65535:
        yield Problem("port-invalid", f"there is no port {spec.port}", "ports end at 65535", (*_AT, "listen"))
    if not _of_this_host(spec.host) and spec.key is None:
        yield Problem(
            "key-missing",
            "others can reach it, and nobody was given a key",
            "write key: ${secret:file:PATH}, or listen on 127.0.0.1",
            (*_AT, "key"),
        )


def free_port(address: Address, context: Context) -> int:
    return context.allocate("tcp-port", address, _PORTS, free_tcp_port("127.0.0.1"))


def own_key(directory: Path) -> Secret:
    """A random key, the same one every time. The directory is the stream's private one."""
    return stable_cookie(directory)


def point(spec: IngestSpec, port: int, key: Secret) -> RtmpPoint:
    """Where publishers of this host send to."""
    anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    return RtmpPoint(f"rtmp://{_with_port(anywhere.get(spec.host, spec.host), port)}/{spec.app}", key)


def report_path(directory: Path) -> Path:
    """Where it tells its state."""
    return directory / "ingest.json"


def unit(
    address: Address, spec: IngestSpec, port: int, key: Secret, context: Context, ffmpeg: Path, ports: RelayPorts
) -> Unit:
    """It stays while publishers come and go."""
    directory = context.directory(address)
    report, secret = report_path(directory), directory / "ingest.key"
    commands = [list(handover(ffmpeg, ports, sound=sound)) for sound in (False, True)]
    reports = Reports(report)
    return Unit(
        id=UnitId(address, INGEST),
        argv=(
            *context.python("streamsd.programs.ingest"),
            *("--listen", _with_port(spec.host, port), "--app", spec.app, "--key-file", str(secret)),
            *("--commands", json.dumps(commands), "--report", str(report)),
        ),
        cwd=directory,
        files=(File(secret, key),),
        probes=Probes(
            # It reports once it listens, whether anybody publishes or not.
            startup=Probe(reports, interval=0.1),
            readiness=Probe(reports, interval=2.0),
            liveness=Probe(reports, interval=5.0, failures=4),
        ),
        stop=StopPolicy(((Signals.SIGTERM, 5.0),)),
        after=("relay",),
    )


def _of_this_host(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _with_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
