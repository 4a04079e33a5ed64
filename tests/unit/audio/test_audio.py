"""The audio kind: what a spec comes to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streamsd.core.address import Address
from streamsd.core.kind import Compiled, Resource, references_of
from streamsd.core.settings import Settings
from streamsd.core.unit import spec_hash
from streamsd.drivers.pulse import PulseDevice
from streamsd.engine.context import HostContext
from streamsd.kinds.audio.kind import KIND
from streamsd.kinds.audio.spec import AudioSpec

PULSE = Path("/usr/bin/pulseaudio")


@pytest.fixture
def context(tmp_path: Path) -> HostContext:
    settings = Settings(tmp_path / "p", tmp_path / "s", tmp_path / "r", tmp_path / "c")
    return HostContext(settings, {"pulseaudio": lambda: PULSE})


def resource(name: str = "music", **fields: Any) -> Resource[AudioSpec]:
    return Resource(Address("Audio", name), AudioSpec(**fields))


def compiled(context: HostContext, name: str = "music", **fields: Any) -> Compiled:
    found = KIND.compile(resource(name, **fields), context)
    context.export(Address("Audio", name), found.exports)
    return found


def test_a_device_is_a_server_with_its_own_script(context: HostContext) -> None:
    found = compiled(context, channels=1, rate=44100)
    directory = context.directory(Address("Audio", "music"))
    assert found.unit("server").argv[:4] == (str(PULSE), "-n", "-F", str(directory / "server.pa"))
    assert found.unit("server").files[0].data().decode().splitlines() == [
        "load-module module-null-sink sink_name=music rate=44100 channels=1",
        "set-default-sink music",
        "set-default-source music.monitor",
        f"load-module module-cli-protocol-unix socket={directory}/control",
        f"load-module module-native-protocol-unix socket={directory}/native auth-cookie={directory}/pulse-cookie",
    ]
    device = found.exports
    assert isinstance(device, PulseDevice)
    assert (device.server, device.sink, device.monitor) == (f"unix:{directory}/native", "music", "music.monitor")


def test_volume_and_mute_are_live(context: HostContext) -> None:
    before = spec_hash(compiled(context).unit("server"), b"k")
    found = compiled(context, volume=20, muted=True, description="x")
    assert spec_hash(found.unit("server"), b"k") == before
    assert {key: part.desired for key, part in found.live.items()} == {"volume": 20, "muted": True}
    assert spec_hash(compiled(context, rate=96000).unit("server"), b"k") != before


def test_inputs_are_references_and_sources(context: HostContext) -> None:
    compiled(context, rate=96000)
    found = compiled(context, "desk", inputs=("music",))
    music = context.directory(Address("Audio", "music"))
    assert (
        f"load-module module-tunnel-source server=unix:{music}/native source=music.monitor source_name=music"
        f" rate=96000 channels=2 cookie={music}/pulse-cookie"
    ) in found.unit("server").files[0].data().decode()
    assert [str(r.target) for r in references_of(resource("desk", inputs=("music",)).spec)] == ["Audio/music"]


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    context = HostContext(Settings(deep, deep, deep, deep), {})
    context._programs["pulseaudio"] = None
    found = list(KIND.check(resource(), context))
    assert [problem.code for problem in found] == ["program-missing", "path-too-long"]
    assert found[0].hint == "apt install pulseaudio"
