"""An OBS that streams to a stream of its own profile: seen as HLS, recorded, and found again after OBS was killed."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from typing import Any

import pytest

from tests.contract.obs_rig import free_port
from tests.e2e.browser.chromium import chromium
from tests.e2e.host import Host, alive
from tests.e2e.obs.instance import Instance
from tests.programs_needed import need_module

PROFILE = """
    version: 1
    servers:
      web: {{listen: "127.0.0.1:{web}"}}
    streams:
      show:
        source: {{ingest: {{listen: "127.0.0.1:{rtmp}"}}}}
        destinations:
          web: {{hls: {{server: web, latency: low}}}}
          archive: {{record: {{path: "recordings/%H%M%S.mkv", segment: 4s}}}}
    obs:
      studio:
        canvas: 320x180
        fps: 10
        websocket: {{port: {port}}}
        scenes: [main]
        encoder: {{preset: ultrafast, bitrate: 300k, keyframes: 1s}}
        stream: {{state: "off", to: show}}
    scenes:
      main:
        items: [{{name: back, color: {{color: "#336699", size: 320x180}}}}]
"""


DECODED = "(v => v ? v.getVideoPlaybackQuality().totalVideoFrames : 0)(document.querySelector('video'))"


@pytest.fixture(autouse=True)
def _more_needed() -> None:
    need_module("av")


def test_obs_streams_to_a_stream_of_its_profile_and_comes_back(host: Host) -> None:
    import av

    web, rtmp = free_port(), free_port()
    host.write(PROFILE.format(web=web, rtmp=rtmp, port=free_port()))
    host.up()
    host.converged(1)
    waiting = host.condition("Stream/show", "Degraded")
    assert f"waiting for a publisher at rtmp://127.0.0.1:{rtmp}/live" in waiting["message"]
    before = host.pids()

    host.edit('state: "off"', 'state: "on"')
    host.until(lambda: _observed(host).get("published_frames", 0) > 20, "OBS publishes")
    host.until(lambda: host.condition("Stream/show", "Degraded")["status"] == "False", "nothing is wrong any more")
    url = f"http://127.0.0.1:{web}/show/web/index.m3u8"
    host.until(lambda: _playlist(url).count("#EXTINF") >= 2, "segments are served")
    with av.open(url) as container:
        picture = next(container.decode(container.streams.video[0]))
        assert (picture.width, picture.height) == (320, 180)
        assert len(container.streams.audio) == 1
    files = host.until(lambda: sorted((host.directory / "recordings").glob("*.mkv")), "a recording is whole")
    with av.open(str(files[0])) as container:
        assert sum(1 for _ in container.decode(container.streams.video[0])) > 20

    # it is watched on the player's page, before and after OBS is killed: the ingest stays, and takes OBS in again
    with chromium() as page:
        page.open(f"http://127.0.0.1:{web}/show/web/")
        page.until(f"{DECODED} > 10", "the page shows pictures")
        _kill_and_recover(host, before)
        decoded = page.evaluate(DECODED)
        page.until(f"{DECODED} > {decoded} + 20", "the page shows the new ones")

    # the key is random, and nobody is told
    key = _key(host)
    told = json.dumps(Instance(host).operate("read")) + host.cli("describe", "Stream/show").stdout + host.log()
    assert key not in told


def _kill_and_recover(host: Host, before: dict[str, int]) -> None:
    obs = Instance(host).obs_pid()
    os.kill(obs, signal.SIGKILL)
    host.until(lambda: not alive(obs), "OBS is dead")
    host.until(lambda: _observed(host).get("publishers_seen") == 2, "it publishes again")
    frames = _observed(host)["published_frames"]
    host.until(lambda: _observed(host)["published_frames"] > frames + 20, "frames go on")
    kept = {unit: pid for unit, pid in before.items() if not unit.startswith("Obs/studio/obs")}
    assert {unit: pid for unit, pid in host.pids().items() if unit in kept} == kept


def _observed(host: Host) -> dict[str, Any]:
    return host.resource("Stream/show")["observed"]  # type: ignore[no-any-return]


def _playlist(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode())


def _key(host: Host) -> str:
    return next(host.settings.run_dir.rglob("ingest.key")).read_text()
