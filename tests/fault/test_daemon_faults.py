"""What may happen to a host that runs streamsd, done to it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.host import Host, alive

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def supervisord(host: Host) -> int:
    """The runtime's pid."""
    found = [p for p in host.processes() if b"supervisor.supervisord" in Path(f"/proc/{p}/cmdline").read_bytes()]
    assert len(found) == 1
    return found[0]


def copies(mark: str) -> list[int]:
    """Processes with exactly this word on their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if mark.encode() in words and alive(int(entry.name)):
                found.append(int(entry.name))
    return found


def test_a_killed_runtime_leaves_one_copy_of_everything(host: Host) -> None:
    marks = [f"{os.getpid()}{n:03}" for n in range(12)]
    lines = ["version: 1", "apps:"]
    for n, mark in enumerate(marks):
        inner = f"setsid sleep {mark} & exec sleep 9{mark}" if n % 2 else f"exec sleep {mark}"
        lines.append(f"  a{n}: {{command: [sh, -c, {json.dumps(inner)}]}}")
    host.write("\n".join(lines) + "\n")
    host.up()
    host.converged(1)
    before = host.pids()
    os.kill(supervisord(host), signal.SIGKILL)
    host.until(lambda: host.events("runtime-recovered"), "the runtime is back")
    host.converged(1)
    after = host.pids()
    assert after.keys() == before.keys()
    assert not any(alive(pid) for pid in before.values())
    for mark in marks:
        host.until(lambda mark=mark: len(copies(mark)) == 1, f"one sleep {mark}")


def test_a_frozen_runtime_is_replaced(host: Host) -> None:
    host.write("version: 1\napps:\n  one: {command: [sleep, '1000']}\n")
    host.up()
    host.converged(1)
    old = supervisord(host)
    os.kill(old, signal.SIGSTOP)
    host.until(lambda: host.events("runtime-recovered"), "the runtime is back", within=90)
    host.converged(1)
    assert not alive(old)


def test_a_memory_hog_is_killed_alone(host: Host) -> None:
    hog = "x = []\nwhile True: x.append(bytearray(1 << 20))"
    host.write(f"""
        version: 1
        apps:
          hog: {{command: [{sys.executable}, -c, {json.dumps(hog)}], restart: never, limits: {{memory: 64M}}}}
          good: {{command: [sleep, "1000"]}}
    """)
    host.up()
    host.until(lambda: host.pids().get("App/good/main"), "it runs")
    pid = host.pid("App/good/main")
    exited = host.until(lambda: host.events("process-exited", "App/hog"), "the hog is killed", within=120)
    if exited[0]["reason"] != "OutOfMemory":
        limits = [c for c in host.json("doctor").get("checks", []) if "cgroup" in str(c)]
        pytest.skip(f"no memory limits can be set here: {limits}")
    assert host.pid("App/good/main") == pid


def test_an_altered_limit_is_told_by_a_plan_and_repaired(host: Host) -> None:
    host.write("version: 1\napps:\n  one: {command: [sleep, '1000'], limits: {memory: 64M}}\n")
    host.up()
    host.converged(1)
    pid = host.pid("App/one/main")
    places = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    candidates = [Path("/sys/fs/cgroup") / p[2].lstrip("/") / "memory.max" for p in places if p[0] == "0"]
    candidates += [
        Path("/sys/fs/cgroup/memory") / p[2].lstrip("/") / "memory.limit_in_bytes" for p in places if p[1] == "memory"
    ]
    files = [c for c in candidates if c.exists() and "streamsd" in str(c)]
    if not files:
        pytest.skip("no memory limits can be set here")
    files[0].write_text(str(32 * 1024 * 1024))
    plan = host.json("plan")
    repaired = host.events("limits-changed", "App/one")
    assert repaired or [(a["action"], a["address"]) for a in plan["actions"]] == [("patch", "App/one")]
    host.until(lambda: files[0].read_text().strip() == str(64 * 1024 * 1024), "the limit is back", within=90)
    assert host.pid("App/one/main") == pid


@root_only
def test_a_stranger_is_refused(host: Host) -> None:
    if not shutil.which("setpriv"):
        pytest.skip("setpriv is not installed")
    host.write("version: 1\napps:\n  one: {command: [sleep, '1000']}\n")
    host.up()
    host.converged(1)
    host.directory.chmod(0o755)
    ask = (
        "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        "s.sendall(b'GET /v1/status HTTP/1.0\\r\\n\\r\\n'); print(s.recv(100))"
    )
    stranger = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "python3", "-c", ask]
    done = subprocess.run([*stranger, str(host.settings.api_socket)], capture_output=True, text=True, cwd="/")
    assert "200" not in done.stdout
    assert "PermissionError" in done.stderr or "403" in done.stdout or done.returncode != 0


def test_a_secret_is_seen_nowhere(host: Host) -> None:
    secret = "s3cr3t-" + os.urandom(12).hex()
    (host.directory / "word").write_text(secret + "\n")
    (host.directory / "word").chmod(0o600)
    host.write("version: 1\napps:\n  one: {command: [sleep, '1000'], env: {WORD: '${secret:file:word}'}}\n")
    host.up()
    host.converged(1)
    pid = host.pid("App/one/main")
    assert f"WORD={secret}".encode() in Path(f"/proc/{pid}/environ").read_bytes()
    for arguments in (["status"], ["plan"], ["describe", "App/one"], ["export"], ["events"], ["graph"]):
        done = host.cli(*arguments, "--json")
        assert secret not in done.stdout + done.stderr, arguments
    (host.directory / "word").write_text(secret + "2\n")
    host.until(lambda: host.pids().get("App/one/main", 0) not in (0, pid), "a new secret restarts it")
    host.converged(2)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                assert secret.encode() not in (entry / "cmdline").read_bytes()
            except OSError:
                continue
    for path in [*host.settings.state_dir.rglob("*"), *host.settings.run_dir.rglob("*"), host.directory / "daemon.log"]:
        if path.is_file() and path.name != "word":
            assert secret.encode() not in path.read_bytes(), path


def test_a_damaged_store_is_put_aside(host: Host) -> None:
    host.write("version: 1\napps:\n  one: {command: [sleep, '1000']}\n")
    host.up()
    host.converged(1)
    before = host.pids()
    host.kill()
    for path in host.settings.state_dir.glob("streamsd.db*"):
        path.write_bytes(b"this is no database" * 100)
    host.up()
    host.converged()
    assert host.pids() == before
    assert host.events("store-damaged")


def test_every_way_of_saving_is_seen(host: Host) -> None:
    text = "version: 1\napps:\n  one: {command: [sleep, '%d']}\n"
    host.write(text % 1001)
    host.up()
    host.converged(1)

    def runs(seconds: int) -> None:
        def fact() -> bool:
            pid = host.pids().get("App/one/main", 0)
            try:
                return str(seconds).encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except OSError:
                return False

        host.until(fact, f"sleep {seconds} runs")

    host.profile.write_text(text % 1002)  # in place
    runs(1002)
    host.write(text % 1003)  # renamed over
    runs(1003)
    backup = host.directory / "profile.yaml~"  # vim: move away, write anew, remove the old
    os.rename(host.profile, backup)
    host.profile.write_text(text % 1004)
    backup.unlink()
    runs(1004)
    for seconds in range(1005, 1025):  # a burst
        host.write(text % seconds)
    runs(1024)
    first, second = host.directory / "..1", host.directory / "..2"  # a mounted ConfigMap: ..data is swapped
    for place, seconds in ((first, 1030), (second, 1031)):
        place.mkdir()
        (place / "profile.yaml").write_text(text % seconds)
    data = host.directory / "..data"
    data.symlink_to(first.name)
    host.profile.unlink()
    host.profile.symlink_to("..data/profile.yaml")
    runs(1030)
    swap = host.directory / "..data_tmp"
    swap.symlink_to(second.name)
    os.replace(swap, data)
    runs(1031)


def test_a_daemon_killed_in_the_middle_of_an_apply_goes_on_at_its_next_start(host: Host) -> None:
    count = 60
    mark = f"7{os.getpid()}"
    host.write("version: 1\napps:\n" + "".join(f"  a{n}: {{command: [sleep, '{mark}{n:03}']}}\n" for n in range(count)))
    host.up("--no-watch")
    host.kill()  # it answers as soon as the profile is accepted: most of them are still to be started
    host.up()
    host.converged()
    assert len(host.pids()) == count
    for n in range(count):
        assert len(copies(f"{mark}{n:03}")) == 1


def test_sigterm_that_is_ignored_does_not_hold_up_an_edit(host: Host) -> None:
    host.write("""
        version: 1
        apps:
          deaf: {command: [sh, -c, "trap '' TERM; while :; do sleep 1; done"], stop: {grace: 1s}}
    """)
    host.up()
    host.converged(1)
    old = host.pid("App/deaf/main")
    begun = time.monotonic()
    host.edit("sleep 1;", "sleep 2;")
    host.converged(2)
    assert not alive(old)
    assert time.monotonic() - begun < 60


def test_a_port_that_is_taken_is_told_before_anything_is_touched(host: Host) -> None:
    host.write("version: 1\napps:\n  one: {command: [sleep, '1000']}\n")
    host.up()
    host.converged(1)
    before = host.pids()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        host.write(
            f"version: 1\napps:\n  one: {{command: [sleep, '2000']}}\nservers:\n  web: {{listen: '127.0.0.1:{port}'}}\n"
        )
        problems = host.until(lambda: host.status()["problems"], "the port is told")
        assert problems[0]["code"] == "tcp-port-taken"
        assert problems[0]["line"] == 5
        assert host.pids() == before


def test_a_deleted_run_directory_ends_the_daemon_and_the_next_one_begins_anew(host: Host) -> None:
    mark = f"8{os.getpid()}"
    host.write(f"version: 1\napps:\n  one: {{command: [sleep, '{mark}']}}\n")
    host.up()
    host.converged(1)
    assert host.daemon is not None
    shutil.rmtree(host.settings.run_dir)
    assert host.daemon.wait(60) == 1
    assert "run directory was deleted" in host.log()
    host.up()
    host.converged()
    host.until(lambda: len(copies(mark)) == 1, "one copy")
