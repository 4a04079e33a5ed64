"""Two instances side by side, each with a sound device and a tone of its own: neither hears or shows the other's, and
what befalls one does not touch the other."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import av
import imageio_ffmpeg
import pytest

from streamsd.cli.client import Client
from tests.contract.obs_rig import free_port
from tests.e2e.host import Host, alive
from tests.e2e.obs import media
from tests.e2e.obs.instance import Instance, near
from tests.programs_needed import need

TONES = {"left": 440, "right": 1000}
SIZES = {"left": (320, 180), "right": (160, 120)}
COLORS = {"left": (0xAA, 0x22, 0x22), "right": (0x22, 0x66, 0xAA)}

PROFILE = """
    version: 1
    audio:
      left: {}
      right: {}
    apps:
      left-tone: {audio: left, command: [FFMPEG, *SINE, "sine=frequency=440", *PULSE]}
      right-tone: {audio: right, command: [FFMPEG, *SINE, "sine=frequency=1000", *PULSE]}
    obs:
      left:
        audio: left
        canvas: 320x180
        fps: 10
        websocket: {port: PORT1}
        scenes: [left]
        encoder: {preset: ultrafast, bitrate: 200k}
        record: {state: "on", path: left, format: mkv}
      right:
        audio: right
        canvas: 320x240
        output: 160x120
        fps: 10
        websocket: {port: PORT2}
        scenes: [right]
        encoder: {preset: ultrafast, bitrate: 200k}
        record: {state: "on", path: right, format: mkv}
    scenes:
      left:
        items:
          - {name: sound, audio: {device: left}}
          - {name: back, color: {color: "#aa2222", size: 320x180}}
      right:
        items:
          - {name: sound, audio: {device: right}}
          - {name: back, color: {color: "#2266aa", size: 320x240}}
"""


@pytest.fixture(autouse=True)
def _more_needed() -> None:
    need("pulseaudio")


def _profile() -> str:
    text = PROFILE.replace("FFMPEG", imageio_ffmpeg.get_ffmpeg_exe())
    text = text.replace("*SINE", "-nostdin, -loglevel, error, -f, lavfi, -i").replace("*PULSE", "-f, pulse, tone")
    return text.replace("PORT1", str(free_port())).replace("PORT2", str(free_port()))


def _recordings(host: Host, name: str) -> list[Path]:
    return sorted((host.directory / name).glob("*.mkv"), key=lambda path: path.stat().st_mtime_ns)


def _has_its_own(host: Host, name: str, before: int = 0) -> Callable[[], bool]:
    """Whether the newest recording, when there are more than `before`, ends with the instance's own tone and without
    the other's, and shows its own picture. Asked until it is so: a loaded machine's sound has gaps, which sound like
    everything a little; what the other plays would be there at every time."""
    other = next(other for other in TONES if other != name)

    def fact() -> bool:
        found = _recordings(host, name)
        try:
            if len(found) <= before:
                return False
            own, others = (media.loudness(found[-1], TONES[which]) for which in (name, other))
            picture, color = media.picture(found[-1]).size, media.last_pixel(found[-1], 20, 20)
            return own > -40 and own - others > 25 and picture == SIZES[name] and near(color, *COLORS[name], by=10)
        except media.NOT_YET:
            return False

    return fact


def _others(pids: dict[str, int], *units: str) -> dict[str, int]:
    return {unit: pid for unit, pid in pids.items() if not unit.startswith(units)}


@pytest.mark.timeout(400)
def test_two_instances_do_not_know_of_each_other(host: Host) -> None:
    left, right = Instance(host, "left"), Instance(host, "right")
    host.write(_profile())
    host.up()
    for name in TONES:
        host.until(_has_its_own(host, name), f"{name} records its own", within=120)

    # a sound server dies: its instance begins anew and hears again, the other goes on
    before, recorded = host.pids(), len(_recordings(host, "left"))
    untouched = _recordings(host, "right")
    os.kill(before["Audio/left/server"], signal.SIGKILL)
    host.until(_has_its_own(host, "left", recorded), "left records its own again", within=120)
    assert host.pids()["Obs/left/obs"] != before["Obs/left/obs"]
    assert _others(host.pids(), "Obs/left", "Audio/left", "App/left") == _others(
        before, "Obs/left", "Audio/left", "App/left"
    )

    # a display dies: the same
    before, recorded = host.pids(), len(_recordings(host, "right"))
    assert _recordings(host, "right") == untouched
    os.kill(before["Obs/right/display"], signal.SIGKILL)
    host.until(_has_its_own(host, "right", recorded), "right records its own again", within=120)
    assert _others(host.pids(), "Obs/right") == _others(before, "Obs/right")

    # one goes: nothing of it is left, and its recording is whole
    host.until(lambda: Client(host.settings).get("/v1/status")["converged"], "converged")
    pid, last = left.obs_pid(), _recordings(host, "left")[-1]
    assert pid
    text = host.profile.read_text()
    begin, end = text.index("  left:\n    audio: left"), text.index("  right:\n    audio: right")
    host.write(text[:begin] + text[end:])
    assert host.cli("apply", "--allow-interrupt", "--wait", "90").returncode == 0
    host.until(lambda: not left.pids() and not alive(pid), "left has ended")
    assert "did not end" not in host.cli("logs", "Obs/left").stdout
    with av.open(str(last)) as container:
        assert container.duration, "its end was written"
    assert right.records()
