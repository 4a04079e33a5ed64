"""What an OBS holds, as a profile: applied it changes nothing, in an empty OBS it makes the same again."""

from __future__ import annotations

import pytest

from streamsd.cli.client import Client
from tests.e2e.host import Host
from tests.e2e.obs.instance import Instance
from tests.programs_needed import need

SHOW = """
    version: 1
    obs:
      studio:
        canvas: 640x360
        output: 320x180
        fps: 15
        scenes: [main, two, inner]
        program: two
        studio_mode: true
        preview: main
        transitions:
          sweep: {kind: wipe_transition, settings: {luma_softness: 0.25}}
          slide: {kind: slide_transition, settings: {direction: left}}
        transition: {name: sweep, duration: 450ms}
        sources:
          bed:
            media: {file: bed.mp3}
            sound: {volume_db: -6.5, muted: true, balance: 0.25, sync_ms: 120, monitor: monitor_only, tracks: [1, 3]}
            filters:
              - {name: gain, kind: gain_filter, settings: {db: -3.5}}
              - {name: gate, kind: noise_gate_filter, enabled: false}
    scenes:
      main:
        title: Haupt- & Szene/1
        filters: [{name: warm, kind: color_filter_v2, settings: {brightness: 0.1, hue_shift: -12.5}}]
        items:
          - {source: bed}
          - name: pair
            position: [100, 100.5]
            scale: [0.5, 0.75]
            filters: [{name: edge, kind: sharpness_filter_v2}]
            group:
              items:
                - {name: left, color: {color: "#00ff0080", size: 40x40}}
                - {name: right, color: {color: "#0000ff", size: 40x40}, position: [60, 10], visible: false}
          - {scene: inner, position: [400, 200], scale: 0.333, rotation: 33.3, blend: additive}
          - name: title
            text: {text: "Guten\\nAbend, 日本", font: {size: 32}}
            position: [20, 20]
            locked: true
          - {name: clock, screen: {display: desk}, size: 320x180, fit: inside, fit_align: top, align: bottom-right,
             position: [640, 360], crop: {left: 5, bottom: 7}}
          - {source: back}
      two:
        transition: {name: slide, duration: 700ms}
        items:
          - {name: back, color: {color: "#333333", size: 640x360}}
          - {source: bed}
      inner:
        transition: {name: Cut}
        items:
          - {name: red, color: {color: "#ff0000", size: 80x80}}
          - {source: red, position: [100, 0]}
    displays:
      desk: {resolution: 640x360}
"""


@pytest.fixture(autouse=True)
def _needed() -> None:
    need("obs")
    need("Xvfb")


def _sent(obs: Instance) -> int:
    """Requests that changed something, since the director connected."""
    return int(obs.operate("status")["requests_sent"])


def _imported(host: Host) -> str:
    done = host.cli("obs", "import")
    assert done.returncode == 0, done.stderr
    return done.stdout


def _take(host: Host, profile: str) -> None:
    host.write(profile)
    done = host.cli("apply", "--wait", "90")
    assert done.returncode == 0, done.stderr
    assert Client(host.settings).get("/v1/status")["converged"]


def test_an_imported_profile_changes_nothing_and_is_imported_as_it_is(host: Host) -> None:
    (host.directory / "bed.mp3").write_bytes(b"")
    obs = Instance(host)
    host.write(SHOW)
    host.up()
    host.until(lambda: Client(host.settings).get("/v1/status")["converged"], "converged")
    sent, pids = _sent(obs), obs.pids()

    # onto the OBS that it comes from: not one request
    profile = _imported(host)
    _take(host, profile)
    assert obs.pids() == pids
    assert _sent(obs) == sent
    assert _imported(host) == profile

    # onto an empty one, under the same name
    _take(host, "version: 1\n")
    assert not obs.pids()
    _take(host, profile)
    assert obs.pids()["obs"] != pids["obs"]
    assert _imported(host) == profile

    # in studio mode, what is in preview goes on air
    assert obs.operate("transition")["overrides"] == {"program": "Haupt- & Szene/1"}
    host.until(lambda: obs.observed()["program"] == "Haupt- & Szene/1", "it is on air")
