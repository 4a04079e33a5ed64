"""The command line against a real daemon: what people type, and what other tools rely on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.e2e import host as hosts
from tests.e2e.host import PATIENCE, Host, alive
from tests.ports import free_port
from tests.programs_needed import need

ROOT = Path(__file__).parents[2]

APPS = """
    version: 1
    apps:
      one: {command: [sleep, "1001"], description: first}
      two: {command: [sleep, "1002"]}
"""

TALKER = """
    version: 1
    apps:
      talker: {command: [sh, -c, "n=0; while sleep 0.2; do n=$((n+1)); echo line $n; done"]}
"""


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    """One daemon for all tests that need no own: each begins with `settled`."""
    with tempfile.TemporaryDirectory(prefix="sd-") as directory, hosts.host(Path(directory)) as made:
        made.write("version: 1\n")
        made.up("--no-watch")
        yield made


def settled(host: Host, text: str = APPS) -> Host:
    """The daemon, with this profile running."""
    host.write(text)
    applied = host.cli("apply")
    assert applied.returncode == 0, applied.stderr
    return host


def test_up_detached_apply_and_down(host: Host) -> None:
    host.write(APPS)
    done = host.cli("up", "--detach", "--no-watch")
    assert done.returncode == 0, done.stderr
    pid = host.status()["daemon_pid"]
    assert f"streamsd runs with pid {pid}; its log is {host.settings.state_dir}/streamsd.log" in done.stdout
    again = host.cli("up", "--detach")
    assert (again.returncode, again.stderr.splitlines()[0]) == (
        1,
        f"error: a daemon runs already with {host.settings.run_dir}",
    )
    applied = host.cli("apply")
    assert applied.returncode == 0, applied.stderr
    assert "Converged: 2 of 2 ready." in applied.stdout
    down = host.cli("down")
    assert (down.returncode, down.stdout) == (0, "Everything is stopped.\n")
    deadline = time.monotonic() + PATIENCE
    while host.processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert host.processes() == [], host.settings.state_dir.joinpath("streamsd.log").read_text()[-2000:]
    after = host.cli("status")
    assert after.returncode == 1
    assert after.stderr.startswith("error: no daemon answers at ")


def test_a_failed_start_in_the_background_says_why(host: Host) -> None:
    host.write(APPS)
    host.settings.run_dir.write_text("a file stands here")
    done = host.cli("up", "--detach")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    host.settings.run_dir.unlink()


def test_status_keeps_its_shape(shared: Host) -> None:
    host = settled(shared)
    status = host.status()
    assert {"generation", "observed_generation", "converged", "resources"} <= status.keys()
    one = status["resources"][0]
    assert (one["address"], one["kind"], one["name"], one["ready"]) == ("App/one", "App", "one", True)
    assert {c["type"] for c in one["conditions"]} >= {"Accepted", "Progressing", "Ready", "Degraded", "Drifted"}
    for condition in one["conditions"]:
        assert condition["status"] in ("True", "False")
        assert datetime.fromisoformat(condition["since"]).tzinfo is not None
    (process,) = one["processes"]
    assert process["role"] == "main"
    assert alive(process["pid"])
    assert process["restarts"] == 0
    assert datetime.fromisoformat(process["started"]).tzinfo is not None


def test_a_saved_plan_is_applied_once_and_refused_when_stale(shared: Host, tmp_path: Path) -> None:
    host = settled(shared)
    host.edit('"1002"', '"2002"')
    saved = tmp_path / "plan.json"
    assert host.cli("plan", "--out", str(saved)).returncode == 2
    assert json.loads(saved.read_text())["changes"] == 1
    applied = host.cli("apply", str(saved))
    assert applied.returncode == 0, applied.stderr
    host.edit('"1001"', '"2001"')
    stale = host.cli("apply", str(saved))
    assert stale.returncode == 1
    assert "plan" in stale.stderr
    assert "hint: plan again" in stale.stderr
    assert "1001" in host.json("describe", "App/one")["spec"]["command"]


def test_a_bad_profile_is_shown_with_its_place_and_changes_nothing(shared: Host) -> None:
    host = settled(shared)
    before = host.pids()
    host.edit('command: [sleep, "1002"]', 'comand: [sleep, "1002"]')
    for command in ("plan", "apply", "validate"):
        said = host.cli(command)
        assert said.returncode == 1, command
        assert f"{host.profile}:5:9: error: " in said.stderr, said.stderr
        assert "^^^^^^" in said.stderr
        assert "hint: did you mean 'command'?" in said.stderr
    diagnostic = host.json("validate")["diagnostics"][0]
    assert diagnostic.keys() >= {"code", "severity", "message", "hint", "file", "line", "column", "path"}
    assert (diagnostic["file"], diagnostic["line"], diagnostic["column"]) == (str(host.profile), 5, 9)
    assert host.pids() == before


def _reader(host: Host, command: list[str]) -> subprocess.Popen[str]:
    """A command in the foreground of a terminal: whoever runs the tests in the background has it ignore SIGINT."""
    return subprocess.Popen(
        command,
        env=host.environment,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  # no threads here
    )


def test_logs_and_events_are_followed(shared: Host) -> None:
    host = settled(shared, TALKER)
    follow = [sys.executable, "-m", "streamsd.cli.main", "logs", "App/talker", "--follow", "--json", "--lines", "1"]
    with _reader(host, follow) as reader:
        assert reader.stdout
        numbers = [int(json.loads(reader.stdout.readline())["line"].split()[1]) for _ in range(3)]
        assert numbers == list(range(numbers[0], numbers[0] + 3))
        reader.send_signal(signal.SIGINT)
        assert reader.wait(PATIENCE) == 130
    follow = [sys.executable, "-m", "streamsd.cli.main", "events", "App/talker", "--follow", "--json"]
    with _reader(host, follow) as reader:
        assert reader.stdout
        started = [json.loads(reader.stdout.readline())]
        while started[-1]["event"] != "process-started":
            started.append(json.loads(reader.stdout.readline()))
        assert host.cli("restart", "App/talker").returncode == 0
        later = [json.loads(reader.stdout.readline())]
        while later[-1]["event"] != "process-started":
            later.append(json.loads(reader.stdout.readline()))
        assert later[-1]["pid"] != started[-1]["pid"]
        numbers = [event["seq"] for event in started + later]
        assert numbers == sorted(set(numbers))
        assert all({"at", "event", "address"} <= event.keys() for event in later)
        reader.send_signal(signal.SIGINT)
        assert reader.wait(PATIENCE) == 130


def test_restart_describe_graph_export_and_destroy(shared: Host) -> None:
    host = settled(shared)
    before = host.pids()
    assert host.cli("restart", "App/one").returncode == 0
    host.until(lambda: host.pids().get("App/one/main", 0) not in (0, before["App/one/main"]), "App/one starts anew")
    assert host.pid("App/two/main") == before["App/two/main"]
    assert host.json("describe", "App/one")["spec"]["command"] == ["sleep", "1001"]
    assert host.json("graph") == {"resources": ["App/one", "App/two"], "edges": []}
    assert [e["apiVersion"] for e in host.json("export")] == ["streamsd/v1", "streamsd/v1"]
    assert host.cli("destroy", "App/two", "--yes").returncode == 0
    assert set(host.pids()) == {"App/one/main"}
    unknown = host.cli("describe", "App/three")
    assert (unknown.returncode, unknown.stderr) == (
        1,
        "error: there is no App/three\nhint: there are: App/one, App/two\n",
    )
    assert host.cli("events", "App/three").stderr == unknown.stderr, "silence would look as if nothing had happened"
    assert "App has no operations" in host.cli("operate", "App/one", "dance").stderr


def test_ctrl_c_ends_the_daemon_and_leaves_what_runs(host: Host) -> None:
    host.write(APPS)
    host.up()
    host.converged(1)
    before = host.pids()
    assert host.daemon
    host.daemon.send_signal(signal.SIGINT)
    assert host.daemon.wait(PATIENCE) == 0
    assert all(alive(pid) for pid in before.values())
    host.up()
    host.converged(1)
    assert host.pids() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_another_user_is_kept_out(shared: Host) -> None:
    host = settled(shared)
    host.directory.chmod(0o755)
    done = subprocess.run(
        [need("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", KNOCK],
        env={**host.environment, "SOCKET": str(host.settings.api_socket)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stdout == "refused\n", done.stderr


KNOCK = """
import os, socket
knocking = socket.socket(socket.AF_UNIX)
try:
    knocking.connect(os.environ["SOCKET"])
    knocking.sendall(b"GET /v1/status HTTP/1.0\\r\\n\\r\\n")
    print("refused" if b" 403 " in knocking.recv(100) else "served")
except PermissionError:
    print("refused")
"""


def test_doctor_finds_what_is_here() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "streamsd.cli.main", "doctor", "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    checks = {(check["group"], check["name"]): check for check in found["checks"]}
    assert checks["python", "bytewax"]["verdict"] == ("ok" if sys.version_info < (3, 13) else "weak")
    assert found["ok"] is True
    assert "libx264" in checks["ffmpeg", "bundled encoders"]["detail"]
    need("Xvfb")
    assert checks["displays", "start"]["verdict"] == "ok", checks["displays", "start"]


def test_a_built_wheel_inits_and_comes_up(tmp_path: Path, host: Host) -> None:
    """The package as pip installs it; what it depends on is lent by this environment, so that nothing is fetched."""
    source, wheels = tmp_path / "source", tmp_path / "wheels"
    # setuptools builds beside its sources, where other tests run
    shutil.copytree(ROOT / "streamsd", source / "streamsd", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    pip = (sys.executable, "-m", "pip")
    _run(*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(source))
    (wheel,) = wheels.glob("streamsd-*.whl")
    place = tmp_path / "venv"
    venv.create(place, with_pip=False, symlinks=True)
    python = str(place / "bin/python")
    lent = next(Path(p) for p in sys.path if p.endswith("site-packages"))
    own = next(place.glob("lib/python3*/site-packages"))
    _run(*pip, "--python", python, "install", "--quiet", "--no-deps", "--no-index", str(wheel))
    (own / "lent.pth").write_text(f"{lent}\n")
    where = _run(python, "-P", "-c", "import streamsd; print(streamsd.__file__)")
    assert Path(where.strip()).is_relative_to(own)

    streamsd = str(place / "bin/streamsd")
    assert "Wrote " in _run(streamsd, "init", environment=host.environment)
    host.edit("127.0.0.1:8088}", f"127.0.0.1:{free_port()}}}")
    _run(streamsd, "up", "--detach", environment=host.environment)
    said = _run(streamsd, "apply", environment=host.environment)
    assert "Converged: 2 of 2 ready." in said
    _run(streamsd, "down", environment=host.environment)


def _run(*argv: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=170, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
