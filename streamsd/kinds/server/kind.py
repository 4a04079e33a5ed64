"""From a web server's spec to its process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from signal import Signals

from streamsd.core.address import UnitId
from streamsd.core.claim import tcp_claim
from streamsd.core.diagnostics import Problem
from streamsd.core.kind import Compiled, Context, Kind, Observation, Resource
from streamsd.core.runtime import ObservedUnit
from streamsd.core.unit import HttpOk, Probe, Probes, StopPolicy, Unit
from streamsd.drivers.web import WebRoot
from streamsd.kinds.server.spec import ServerSpec

SERVER = "server"
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class ServerKind(Kind[ServerSpec]):
    name = "Server"
    section = "servers"
    summary = "A small web server for what streams publish."
    spec = ServerSpec

    def check_spec(self, name: str, spec: ServerSpec) -> Iterable[Problem]:
        if spec.port > 65535:
            yield Problem("port-invalid", f"there is no port {spec.port}", "ports end at 65535", ("listen",))

    def compile(self, resource: Resource[ServerSpec], context: Context) -> Compiled:
        spec, address = resource.spec, resource.address
        root = context.directory(address) / "www"
        host = _ANYWHERE.get(spec.host, spec.host)
        url = f"http://{f'[{host}]' if ':' in host else host}:{spec.port}"
        healthy = HttpOk(f"{url}/healthz")
        unit = Unit(
            id=UnitId(address, SERVER),
            argv=(
                *context.python("streamsd.programs.webserver"),
                *("--host", spec.host, "--port", str(spec.port), "--root", str(root)),
            ),
            directories=(root,),
            probes=Probes(
                startup=Probe(healthy, interval=0.05, timeout=2.0),
                liveness=Probe(healthy, interval=5.0, timeout=5.0),
            ),
            stop=StopPolicy(((Signals.SIGTERM, 3.0),)),
        )
        return Compiled(
            units=(unit,),
            claims=(tcp_claim(spec.host, spec.port, ("listen",)),),
            exports=WebRoot(root, url),
        )

    async def observe(
        self, resource: Resource[ServerSpec], compiled: Compiled, units: Mapping[str, ObservedUnit]
    ) -> Observation:
        assert isinstance(compiled.exports, WebRoot)
        return Observation(observed={"url": compiled.exports.url})


KIND = ServerKind()
