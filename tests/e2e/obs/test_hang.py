"""An OBS that hangs is started anew and converged; a director that hangs takes no OBS with it."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.contract.obs_rig import free_port
from tests.e2e.host import Host, alive
from tests.e2e.obs.instance import Instance, near

PROFILE = """
    version: 1
    obs:
      studio:
        canvas: 320x180
        fps: 10
        websocket: {{port: {port}}}
        scenes: [main]
        program: main
        record: {{state: "on", path: rec, format: mkv}}
        encoder: {{preset: ultrafast, bitrate: 300k}}
        answer_within: 8s
    scenes:
      main:
        items: [{{name: back, color: {{color: "#336699", size: 320x180}}}}]
"""


def test_an_obs_that_hangs_is_replaced_and_a_director_that_hangs_is_not_its_fault(host: Host) -> None:
    host.write(PROFILE.format(port=free_port()))
    host.up()
    host.converged(1)
    obs = Instance(host)
    host.until(obs.records, "it records")

    # a director that stands still for longer than OBS may: OBS stays
    before, hung = obs.pids(), obs.obs_pid()
    os.kill(before["director"], signal.SIGSTOP)
    time.sleep(9)
    os.kill(before["director"], signal.SIGCONT)
    host.until(lambda: obs.observed().get("converged") and obs.records(), "the director goes on")
    assert (obs.pids(), obs.obs_pid()) == (before, hung)

    # OBS stands still: it is ended and comes back as declared, and records again
    os.kill(hung, signal.SIGSTOP)
    host.until(lambda: not alive(hung), "the OBS that hangs is ended")
    host.until(lambda: obs.obs_pid() not in (0, hung), "another one runs")
    host.converged(1)
    host.until(obs.records, "it records again")
    assert near(obs.pixel(10, 10, "main", (320, 180)), 0x33, 0x66, 0x99)
    (replaced,) = host.events("process-replaced", "Obs/studio")
    assert "OBS has not answered for" in replaced["why"]
    assert obs.pids()["director"] == before["director"]
    told = " ".join(str(event.get("message")) for event in host.events("condition-changed", "Obs/studio"))
    assert "Errno" not in told, "faults are told in words"
    assert len(list((host.directory / "rec").iterdir())) == 2


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_director_that_hangs_for_good_is_replaced_and_obs_goes_on(host: Host) -> None:
    host.write(PROFILE.format(port=free_port()))
    host.up()
    host.converged(1)
    obs = Instance(host)
    host.until(obs.records, "it records")
    before, running = obs.pids(), obs.obs_pid()
    os.kill(before["director"], signal.SIGSTOP)
    host.until(lambda: obs.pids().get("director") not in (None, before["director"]), "it is replaced", within=200)
    host.until(lambda: obs.observed().get("converged") and obs.records(), "the new one keeps OBS as declared")
    assert (obs.pids()["obs"], obs.obs_pid()) == (before["obs"], running)
    assert len(list((host.directory / "rec").iterdir())) == 1
