"""OBS as a part of a profile: real daemon, real OBS, a real RTMP server."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import av

from streamsd.cli.client import Client
from tests.contract.obs_rig import free_port
from tests.e2e.host import Host, alive
from tests.e2e.obs.conftest import RtmpServer

SHOW = """
    version: 1
    obs:
      studio:
        canvas: 640x360
        output: 320x180
        fps: 10
        websocket: {{port: {port}}}
        scenes: [main, pause]
        program: main
        encoder: {{preset: ultrafast, bitrate: 300k}}
        record: {{state: "on", path: rec, format: mkv}}
        {stream}
    scenes:
      main:
        items:
          - name: pair
            position: [100, 100]
            group:
              items:
                - {{name: left, color: {{color: "#00ff00", size: 40x40}}}}
                - {{name: right, color: {{color: "#0000ff", size: 40x40}}, position: [60, 0]}}
          - {{scene: inner, position: [400, 200]}}
          - {{name: back, color: {{color: "#333333", size: 640x360}}}}
      inner:
        items:
          - {{name: red, color: {{color: "#ff0000", size: 80x80}}}}
      pause:
        items:
          - {{source: back}}
"""


SECRET = "key-4711-geheim"


def _operate(host: Host, operation: str, **arguments: Any) -> dict[str, Any]:
    return Client(host.settings).post(f"/v1/resources/Obs/studio/operations/{operation}", arguments)


def _pixel(host: Host, x: int, y: int) -> tuple[int, ...]:
    shot = _operate(host, "screenshot", source="main", format="ppm")
    data = base64.b64decode(shot["image"].partition(",")[2])
    start = len(data) - 3 * 640 * 360 + 3 * (y * 640 + x)
    return tuple(data[start : start + 3])


def _near(found: tuple[int, ...], *wanted: int) -> bool:
    return all(abs(f - w) <= 3 for f, w in zip(found, wanted, strict=True))


def _status(host: Host) -> dict[str, Any]:
    """Asked without a command line in between: that takes a second on a loaded machine."""
    resources = Client(host.settings).get("/v1/status")["resources"]
    return next(r for r in resources if r["address"] == "Obs/studio")  # type: ignore[no-any-return]


def _observed(host: Host) -> dict[str, Any]:
    return _status(host)["observed"]  # type: ignore[no-any-return]


def _is_true(host: Host, condition: str) -> bool:
    return any(c["type"] == condition and c["status"] == "True" for c in _status(host)["conditions"])


def _converged(host: Host, generation: int) -> None:
    def fact() -> bool:
        status = Client(host.settings).get("/v1/status")
        return bool(status["converged"] and status["generation"] >= generation)

    host.until(fact, f"converged at generation {generation}")


def test_a_show_is_edited_live_and_interrupted_only_when_asked(host: Host) -> None:
    host.write(SHOW.format(port=free_port(), stream=""))
    host.up()
    _converged(host, 1)
    before = host.pids()
    recordings = host.directory / "rec"
    host.until(lambda: _observed(host)["outputs"]["record"]["bytes"] > 0, "the recording grows")
    assert len(list(recordings.iterdir())) == 1
    host.until(lambda: _near(_pixel(host, 20, 20), 0x33, 0x33, 0x33), "the background is drawn")
    assert _near(_pixel(host, 120, 120), 0, 255, 0)
    assert _near(_pixel(host, 180, 120), 0, 0, 255)
    assert _near(_pixel(host, 440, 240), 255, 0, 0)

    # a live edit is seen, and nothing is interrupted
    host.edit("#333333", "#663399")
    _converged(host, 2)
    host.until(lambda: _near(_pixel(host, 20, 20), 0x66, 0x33, 0x99), "the edit is seen")
    assert host.pids() == before
    assert len(list(recordings.iterdir())) == 1

    # an edit that would interrupt the recording says so, and waits for leave
    host.edit("output: 320x180", "output: 160x90")
    plan = host.json("plan")
    assert [(a["action"], a["interrupts"]) for a in plan["actions"]] == [("patch", ["Obs/studio"])]
    refused = host.cli("apply")
    assert refused.returncode == 1
    assert "recording" in refused.stderr
    assert len(list(recordings.iterdir())) == 1
    assert host.cli("apply", "--allow-interrupt", "--wait", "60").returncode == 0
    host.until(lambda: len(list(recordings.iterdir())) == 2, "a new recording has begun")
    assert host.pids() == before

    # what an operator switches stays so, is said, and is reset
    assert _operate(host, "scene-switch", scene="pause")["overrides"] == {"program": "pause"}
    host.until(lambda: _is_true(host, "Overridden"), "the override is told")
    assert _observed(host)["program"] == "pause"
    host.edit("#663399", "#112233")
    host.until(lambda: _near(_pixel(host, 20, 20), 0x11, 0x22, 0x33), "an edit beside the override is seen")
    assert _observed(host)["program"] == "pause"
    _operate(host, "reset")
    host.until(lambda: _observed(host)["program"] == "main", "the file's scene is on air again")
    unknown = host.cli("operate", "Obs/studio", "scene-switch", "scene=nowhere")
    assert unknown.returncode == 1
    assert "declared: inner, main, pause" in unknown.stderr

    assert len(list(recordings.iterdir())) == 2

    # what has to wait for the air says so, and is applied when that is over
    host.edit("output: 160x90", "output: 320x180")
    host.until(lambda: _problems(host) == ["would-interrupt"], "status says that the file waits")
    generation = host.json("status")["generation"]
    _operate(host, "record-stop")
    _converged(host, generation + 1)
    assert _problems(host) == []

    # a clean end: nothing is left, and the recordings are whole
    obs = before["Obs/studio/obs"]
    assert host.cli("down").returncode == 0
    host.until(lambda: not alive(obs), "OBS has ended")
    assert all(_length(path) > 0 for path in recordings.iterdir())


def _problems(host: Host) -> list[str]:
    return [problem["code"] for problem in host.json("status")["problems"]]


def _length(recording: Path) -> float:
    """Seconds, as its header says: it is written when the recording is ended, not when it is cut off. 0 without."""
    with av.open(str(recording)) as container:
        return (container.duration or 0) / 1e6


def test_a_stream_comes_back_from_a_dead_server_and_a_killed_obs(host: Host, rtmp: RtmpServer) -> None:
    stream = f'stream: {{state: "on", server: "{rtmp.url}", key: {SECRET}}}'
    host.write(SHOW.format(port=free_port(), stream=stream).replace('state: "on", path', 'state: "off", path'))
    began = time.monotonic()
    host.up()
    host.until(lambda: _is_true(host, "Degraded"), "a server that is dead at the start is told")
    host.until(lambda: _observed(host)["outputs"]["stream"]["starts"] >= 3, "it is tried again")
    assert time.monotonic() - began > 4, "it is tried more and more rarely"
    rtmp.up()
    host.until(lambda: rtmp.bytes() > 20_000, "it streams")
    _converged(host, 1)
    before = host.pids()

    # OBS is killed: it comes back as declared, and streams again
    served = rtmp.served
    obs = _obs_of(before["Obs/studio/obs"])
    os.kill(obs, signal.SIGKILL)
    host.until(lambda: not alive(obs), "OBS is dead")
    host.until(lambda: rtmp.served > served and _streams(host), "it streams again")
    _converged(host, 1)
    after = host.pids()
    assert after["Obs/studio/director"] == before["Obs/studio/director"]

    # the server goes and comes
    rtmp.down()
    host.until(lambda: not _streams(host) or _is_true(host, "Degraded"), "the loss is seen")
    size = rtmp.bytes()
    rtmp.up()
    host.until(lambda: rtmp.bytes() > size, "it streams once more")
    assert host.pids() == after

    # the key is nowhere that others can see
    told = json.dumps(_operate(host, "read")) + json.dumps(_status(host))
    assert SECRET not in told + host.log() + host.cli("describe", "Obs/studio").stdout
    assert not [path for path in host.settings.state_dir.rglob("*") if _tells(path)]


def _tells(path: Path) -> bool:
    """Whether others may read the secret in it."""
    if not path.is_file() or not path.stat().st_mode & 0o077:
        return False
    return SECRET.encode() in path.read_bytes()


def _streams(host: Host) -> bool:
    stream = _observed(host).get("outputs", {}).get("stream", {})
    return bool(stream.get("active") and stream.get("bytes", 0) > 0 and not stream.get("reconnecting"))


def _obs_of(launcher: int) -> int:
    """OBS itself, somewhere below the process that the runtime started."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "comm").read_text().strip() == "obs" and _descends(int(path.name), launcher):
                return int(path.name)
        except OSError:
            continue
    raise AssertionError("no OBS runs")


def _descends(pid: int, ancestor: int) -> bool:
    while pid > 1:
        if pid == ancestor:
            return True
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return False
