"""Displays and the programs on them, with the real Xvfb."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.e2e.host import Host, alive
from tests.programs_needed import need

DESK = """
    version: 1
    displays:
      desk: {resolution: 640x480, max_resolution: 1280x720}
    apps:
      clock: {display: desk, command: [xclock, -update, "1"]}
      bystander: {command: [sleep, "1000"]}
"""


@pytest.fixture(autouse=True)
def _programs() -> None:
    for program in ("Xvfb", "xclock", "xdpyinfo"):
        need(program)


def server(host: Host) -> tuple[str, Path]:
    """The display's name and its cookie file, from the X server's own command line."""
    words = Path(f"/proc/{host.pid('Display/desk/server')}/cmdline").read_bytes().decode().split("\0")
    return words[1], Path(words[words.index("-auth") + 1])


def size(host: Host) -> str:
    name, authority = server(host)
    done = subprocess.run(
        ["xdpyinfo"], env={**os.environ, "DISPLAY": name, "XAUTHORITY": str(authority)}, capture_output=True, text=True
    )
    return next((line.split()[1] for line in done.stdout.splitlines() if "dimensions:" in line), done.stderr)


def test_a_display_is_private(host: Host) -> None:
    host.write(DESK)
    host.up()
    host.converged(1)
    assert size(host) == "640x480"
    name, authority = server(host)
    assert authority.stat().st_mode & 0o077 == 0
    without = {k: v for k, v in os.environ.items() if k != "XAUTHORITY"}
    if os.geteuid() == 0 and shutil.which("setpriv"):
        other = ["setpriv", "--reuid=65534", "--clear-groups", "--regid=65534"]
        stranger = subprocess.run(
            [*other, "xdpyinfo"], env={**without, "DISPLAY": name, "HOME": "/"}, capture_output=True
        )
        assert stranger.returncode != 0
    listening = subprocess.run(["ss", "-ltnp"], capture_output=True, text=True).stdout if shutil.which("ss") else ""
    assert f"pid={host.pid('Display/desk/server')}," not in listening


def test_a_resolution_is_changed_live(host: Host) -> None:
    host.write(DESK)
    host.up()
    host.converged(1)
    before = host.pids()
    host.edit("640x480", "1024x600")
    assert [a["action"] for a in host.json("plan")["actions"]] in (["patch"], [])
    host.converged(2)
    assert host.pids() == before
    assert size(host) == "1024x600"


@pytest.mark.parametrize("end", ["kill", "terminate"])
def test_a_daemon_that_takes_over_has_not_converged_before_it_has_looked(host: Host, end: str) -> None:
    host.write(DESK)
    host.up()
    host.converged(1)
    before = host.pids()
    getattr(host, end)()
    host.edit("640x480", "1024x600")
    host.up()
    host.converged(2)
    assert size(host) == "1024x600", "it says that it has converged"
    assert host.cli("plan").returncode == 0
    assert host.pids() == before


def test_what_stands_on_a_killed_display_follows_it(host: Host) -> None:
    host.write(DESK)
    host.up()
    host.converged(1)
    before = host.pids()
    os.kill(before["Display/desk/server"], signal.SIGKILL)
    host.until(lambda: host.pids().get("Display/desk/server", 0) not in (0, before["Display/desk/server"]), "X is back")
    host.converged(1)
    after = host.pids()
    changed = {unit for unit in before if before[unit] != after.get(unit)}
    assert changed == {"Display/desk/server", "App/clock/main"}
    assert size(host) == "640x480"


def test_a_leaf_is_edited_without_its_display(host: Host) -> None:
    host.write(DESK)
    host.up()
    host.converged(1)
    before = host.pids()
    host.edit('xclock, -update, "1"', 'xclock, -update, "2"')
    host.converged(2)
    after = host.pids()
    assert {unit for unit in before if before[unit] != after.get(unit)} == {"App/clock/main"}


def test_a_drifted_resolution_is_told_and_repaired(host: Host) -> None:
    need("xrandr")
    host.write(DESK)
    host.up()
    host.converged(1)
    before = host.pids()
    name, authority = server(host)
    environment = {**os.environ, "DISPLAY": name, "XAUTHORITY": str(authority)}
    mode = ["800x600_drift", "0", "800", "800", "800", "800", "600", "600", "600", "600"]
    subprocess.run(["xrandr", "--newmode", *mode], env=environment, check=True)
    subprocess.run(["xrandr", "--addmode", "screen", "800x600_drift"], env=environment, check=True)
    subprocess.run(["xrandr", "--output", "screen", "--mode", "800x600_drift"], env=environment, check=True)
    host.until(lambda: host.events("resource-patched", "Display/desk"), "it is repaired")
    host.until(lambda: size(host) == "640x480", "the declared size is back")
    drifted = [e for e in host.events("condition-changed", "Display/desk") if e["type"] == "Drifted" and e["status"]]
    assert drifted
    assert host.pids() == before


def test_dependents_start_after_and_stop_before(host: Host) -> None:
    host.write(DESK)
    host.up()
    host.converged(1)
    started = [e["address"] for e in host.events("process-started") if e["address"] != "App/bystander"]
    assert started == ["Display/desk", "App/clock"]
    pids = host.pids()
    host.write("version: 1\napps:\n  bystander: {command: [sleep, '1000']}\n")
    host.converged(2)
    stopped = [e["address"] for e in host.events("process-stopped")]
    assert stopped == ["App/clock", "Display/desk"]
    assert host.pids() == {"App/bystander/main": pids["App/bystander/main"]}
    assert not alive(pids["Display/desk/server"])
