"""A context that finds every program, and resources made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from streamsd.core.address import Address
from streamsd.core.kind import Compiled, Resource
from streamsd.core.secret import Secret
from streamsd.core.units import Resolution
from streamsd.drivers.pulse import PulseDevice
from streamsd.drivers.x11 import XDisplay
from streamsd.kinds.obs.kind import ObsKind
from streamsd.kinds.obs.spec import ObsSpec
from streamsd.kinds.scene.kind import SceneKind
from streamsd.kinds.scene.spec import SceneSpec
from streamsd.testing.kinds import said_against

T = TypeVar("T")


class FakeContext:
    """Exports are put in by hand; directories are under `root`."""

    def __init__(self, root: Path, programs: Mapping[str, Path] | None = None) -> None:
        self.root = root
        self.api_socket = root / "api.sock"
        self.known: dict[Address, object] = {}
        self._programs = programs if programs is not None else {"obs": root / "obs", "Xvfb": root / "Xvfb"}

    def directory(self, address: Address) -> Path:
        return self._made(self.root / "run" / str(address).replace("/", "."))

    def state_directory(self, address: Address) -> Path:
        return self._made(self.root / "state" / str(address).replace("/", "."))

    def _made(self, path: Path) -> Path:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def exports(self, address: Address, as_: type[T]) -> T:
        found = self.known[address]
        assert isinstance(found, as_)
        return found

    def accepted(self, address: Address) -> Resource[Any] | None:
        return None

    def program(self, name: str) -> Path | None:
        return self._programs.get(name)

    def allocate(self, pool: str, address: Address, choices: range, free: Any = None) -> int:
        return choices[0]

    def python(self, module: str) -> tuple[str, ...]:
        return ("/usr/bin/python3", "-m", module)


def display(name: str = ":7") -> XDisplay:
    size = Resolution(640, 360)
    return XDisplay(name, Path(f"/run/{name}"), size, size, Secret("0123456789abcdef" * 2))


def device(name: str) -> PulseDevice:
    run = Path("/run") / name
    return PulseDevice(f"unix:{run}/native", name, f"{name}.monitor", run / "cookie", 48000, 2, run / "control")


def scene(context: FakeContext, name: str, spec: Mapping[str, Any], base: Path = Path("/profile")) -> list[str]:
    """Check and compile a scene, and export it; its problems' codes."""
    resource = Resource(Address("Scene", name), SceneSpec.model_validate(spec), base=base)
    kind = SceneKind()
    problems = list(said_against(kind, resource, context))
    context.known[resource.address] = kind.compile(resource, context).exports
    return [p.code for p in problems]


def instance(spec: Mapping[str, Any], base: Path = Path("/profile")) -> Resource[ObsSpec]:
    return Resource(Address("Obs", "studio"), ObsSpec.model_validate(spec), base=base)


def compiled(context: FakeContext, spec: Mapping[str, Any]) -> Compiled:
    return ObsKind().compile(instance(spec), context)
