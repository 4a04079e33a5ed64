"""A display, a sound device and a program on both, under the real daemon: live changes, hangs, secrets."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.host import Host, alive
from tests.programs_needed import need

DESK = """
    version: 1
    displays:
      desk: {resolution: 1280x720, max_resolution: 1920x1080}
    audio:
      music: {volume: 60}
    apps:
      eyes:
        display: desk
        audio: music
        command: [xeyes]
        ready: {window: {class: XEyes}}
"""


@pytest.fixture
def desk(host: Host) -> Host:
    for program in ("Xvfb", "xeyes", "pulseaudio"):
        need(program)
    host.write(DESK)
    host.up()
    host.converged(1)
    return host


def ready(host: Host, address: str) -> bool:
    return bool(host.resource(address)["ready"])


def test_a_resolution_and_a_volume_change_and_every_process_stays(desk: Host) -> None:
    before = desk.pids()
    assert desk.resource("Display/desk")["observed"]["resolution"] == "1280x720"
    desk.edit("{resolution: 1280x720", "{resolution: 1920x1080, dpi: 120")
    desk.edit("volume: 60", "volume: 30")

    def changed() -> bool:
        display, sound = desk.resource("Display/desk")["observed"], desk.resource("Audio/music")["observed"]
        return display.get("resolution") == "1920x1080" and sound.get("volume") == 30

    desk.until(changed, "the new size and volume are measured")
    desk.converged()
    assert desk.pids() == before
    assert desk.cli("plan").returncode == 0


def test_a_frozen_display_is_replaced_though_it_lives(desk: Host) -> None:
    frozen = desk.pid("Display/desk/server")
    os.kill(frozen, signal.SIGSTOP)
    desk.until(lambda: not alive(frozen), "the frozen server is ended")
    desk.until(lambda: desk.pids().get("Display/desk/server", frozen) != frozen, "another one runs")
    desk.until(lambda: ready(desk, "Display/desk") and ready(desk, "App/eyes"), "both are ready")


def test_no_cookie_is_seen_and_a_new_controller_adopts_all(desk: Host) -> None:
    run = desk.settings.run_dir / "r"
    cookies = [(run / place / "cookie").read_text() for place in ("Display.desk", "Audio.music")]
    shown = [Path(f"/proc/{pid}/cmdline").read_text() for pid in desk.pids().values()]
    shown += [desk.cli(*words, "--json").stdout for words in (("status",), ("plan",), ("events",), ("export",))]
    shown += [desk.cli("describe", "Display/desk", "--json").stdout, desk.log()]
    shown += [path.read_text(errors="replace") for path in desk.settings.log_dir.iterdir()]
    assert not [text for text in shown for cookie in cookies if cookie in text]
    for place in ("Display.desk", "Audio.music"):
        modes = {path.name: path.stat().st_mode & 0o777 for path in (run / place).iterdir() if path.is_file()}
        assert set(modes.values()) == {0o600}

    before = desk.pids()
    desk.kill()
    desk.up()
    desk.converged()
    assert desk.pids() == before
    assert desk.cli("plan").returncode == 0
