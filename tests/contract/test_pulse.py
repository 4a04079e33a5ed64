"""The contract of the sound driver and of the audio kind: a real server, a real tone, heard where it should be."""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest

from streamsd.core.address import Address
from streamsd.core.kind import Compiled, Resource
from streamsd.core.runtime import ObservedUnit, ProcessState
from streamsd.core.settings import Settings
from streamsd.drivers.pulse import PulseDevice
from streamsd.drivers.pulse.control import SoundFault, measure
from streamsd.engine.context import HostContext
from streamsd.kinds.audio.kind import KIND, SERVER
from streamsd.kinds.audio.spec import AudioSpec
from streamsd.runtime.probes import asker
from tests.contract.run_unit import Running, running, until
from tests.programs_needed import need

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
TONE = "sine=frequency=440:sample_rate=48000:duration=600,volume=4,asetpts=N/SR/TB"
"""Half of full scale: -6 dBFS at its peak, -9 dB in the mean."""


@pytest.fixture
def context() -> Iterator[HostContext]:
    need("pulseaudio")
    with tempfile.TemporaryDirectory(prefix="sd-") as directory:  # pytest's own are too long for sockets
        base = Path(directory)
        yield HostContext(Settings(base / "p", base / "s", base / "r", base / "c"), {})


def compile_device(context: HostContext, name: str, **fields: Any) -> tuple[Resource[AudioSpec], Compiled]:
    resource = Resource(Address("Audio", name), AudioSpec(**fields))
    assert not list(KIND.check(resource, context))
    compiled = KIND.compile(resource, context)
    context.export(resource.address, compiled.exports)
    return resource, compiled


def exported(compiled: Compiled) -> PulseDevice:
    assert isinstance(compiled.exports, PulseDevice)
    return compiled.exports


def observed(run: Running) -> dict[str, ObservedUnit]:
    return {SERVER: ObservedUnit(run.unit.id, ProcessState.RUNNING, run.pid, 0.0, "")}


@asynccontextmanager
async def tone(device: PulseDevice) -> AsyncIterator[asyncio.subprocess.Process]:
    """A tone played to the device, in real time: the server takes no more than it plays."""
    player = await asyncio.create_subprocess_exec(
        *(FFMPEG, "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", TONE, "-f", "pulse", "tone"),
        env=dict(os.environ, **device.env),
    )
    try:
        await until(lambda: _plays(device))
        yield player
    finally:
        player.kill()
        await player.wait()


async def _plays(device: PulseDevice) -> bool:
    return (await measure(device)).players == 1


async def loudness(device: PulseDevice, source: str) -> float:
    """The RMS level of half a second recorded from the source, in dB below full scale; -120 for silence."""
    recorder = await asyncio.create_subprocess_exec(
        *(FFMPEG, "-nostdin", "-hide_banner", "-f", "pulse", "-fragment_size", "1920", "-i", source),
        *("-t", "0.5", "-af", "astats=measure_perchannel=none", "-f", "null", "-"),
        env=dict(os.environ, **device.env),
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(recorder.communicate(), 60)
    found = re.search(r"RMS level dB: (\S+)", said.decode())
    assert found, said.decode()
    return -120.0 if found[1] == "-inf" else float(found[1])


async def heard(device: PulseDevice, source: str, low: float, high: float) -> None:
    """Wait until the level lies there: a change reaches the recorder with what was buffered before it."""
    levels: list[float] = []

    async def within() -> bool:
        levels.append(await loudness(device, source))
        return low <= levels[-1] <= high

    try:
        await until(within)
    except TimeoutError:
        pytest.fail(f"heard {levels}, not {low} to {high} dB")


async def test_a_tone_is_heard_at_the_monitor_and_follows_volume_and_mute(context: HostContext, tmp_path: Path) -> None:
    resource, compiled = compile_device(context, "music", volume=50)
    device = exported(compiled)
    async with running(compiled.unit(SERVER), tmp_path) as run:
        assert (await KIND.observe(resource, compiled, observed(run))).live == {"volume": 100, "muted": False}
        assert await loudness(device, device.monitor) < -90
        async with tone(device) as player:
            await heard(device, device.monitor, -11, -7)
            for fields, low, high in (
                ({"volume": 50}, -29, -25),  # PulseAudio's volume is cubic: half is -18 dB
                ({"volume": 50, "muted": True}, -121, -90),
            ):
                changed, wanted = compile_device(context, "music", **fields)
                assert wanted.units == compiled.units
                await KIND.patch(changed, wanted, frozenset({"volume"}))
                after = await KIND.observe(changed, wanted, observed(run))
                assert after.live == {key: part.desired for key, part in wanted.live.items()}
                await heard(device, device.monitor, low, high)
            assert player.returncode is None
        assert run.process.returncode is None
        assert await run.stop() == 0
        with pytest.raises(SoundFault):
            await measure(device)


async def test_a_device_records_another_one_and_every_device_is_its_own(context: HostContext, tmp_path: Path) -> None:
    _, music = compile_device(context, "music")
    _, desk = compile_device(context, "desk", inputs=("music",), channels=1, rate=44100)
    async with running(music.unit(SERVER), tmp_path), running(desk.unit(SERVER), tmp_path), tone(exported(music)):
        await heard(exported(desk), "music", -11, -7)
        assert await loudness(exported(desk), "desk.monitor") < -90


async def test_a_server_frozen_is_a_finding_and_one_killed_comes_up_again(context: HostContext, tmp_path: Path) -> None:
    resource, compiled = compile_device(context, "music")
    unit = compiled.unit(SERVER)
    async with running(unit, tmp_path) as run:
        await run.freeze()
        said = await KIND.observe(resource, compiled, observed(run))
        assert [finding.reason for finding in said.findings] == ["NotAnswering"]
        assert unit.probes.liveness is not None
        assert not (await asker(unit.probes.liveness.check, env={}).ask(run.pid, 0.3)).ok
        run.kill()
        await run.process.wait()
    async with running(unit, tmp_path) as again:
        assert (await measure(exported(compiled))).volume == 100
        assert (await asker(unit.probes.liveness.check, env={}).ask(again.pid, 30)).ok


def test_a_new_controller_compiles_the_same_device(context: HostContext) -> None:
    _, compiled = compile_device(context, "music")
    _, again = compile_device(context, "music")
    assert again == compiled
    secret = next(file for file in compiled.unit(SERVER).files if file.path == exported(compiled).cookie)
    assert len(secret.data()) == 256
    assert str(secret.content) == "***"
