"""A real OBS for tests: on an Xvfb of its own, started by the launcher from an empty directory."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from streamsd.drivers.obs.capabilities import version
from streamsd.drivers.obs.render import Instance, environment, launch_document, start_document
from streamsd.programs.director.client import Client, ConnectFault
from streamsd.programs.director.collection import CollectionFile
from streamsd.programs.director.outputs import OutputKeeper
from streamsd.programs.director.readback import Reader
from streamsd.programs.director.reconcile import Reconciler
from streamsd.programs.director.releases import await_started, may_wedge
from tests.programs_needed import need

PATIENCE = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(holds: Callable[[], object], what: str, within: float = PATIENCE) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, f"not within {within:g} s: {what}"
        time.sleep(0.02)


@contextlib.contextmanager
def xvfb(*options: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A display of a free number, or of the one among the options."""
    program = need("Xvfb")
    read, write = os.pipe()
    argv = [program, *options, "-displayfd", str(write), "-screen", "0", "1024x768x24"]
    argv += ["-nolisten", "tcp", "-noreset", "-ac"]
    server = subprocess.Popen(argv, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    try:
        text = b""
        while not text.endswith(b"\n"):
            ready, _, _ = select.select([read], [], [], PATIENCE)
            assert ready, "Xvfb did not start"
            part = os.read(read, 16)
            assert part, "Xvfb ended"
            text += part
        yield f":{int(text)}", server
    finally:
        os.close(read)
        server.kill()
        server.wait()


@dataclass
class Studio:
    """One OBS. `start` and `stop` may be called again; what it keeps is in `home`."""

    home: Path
    display: str
    port: int = field(default_factory=free_port)
    password: str = field(default_factory=lambda: secrets.token_hex(8))
    launcher: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        program = Path(need("obs"))
        self.instance = Instance(
            program, version(program), self.home, self.port, "streamsd", "streamsd", 48000, "Stereo"
        )
        self.log = self.home / "obs.log"
        self.complaint = self.home / "complaint"
        self._begins = False

    def start(self) -> None:
        self._begins = True
        runtime = self.home / "run"
        runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
        password = self.home / "password"
        password.write_text(self.password)
        document = self.home / "launch.json"
        document.write_text(launch_document(self.instance, password, self.complaint))
        start = self.home / "start.json"
        start.write_text(start_document(self.instance))
        env = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "DISPLAY": self.display,
            "PULSE_SERVER": f"unix:{runtime}/none",
            **environment(self.home, runtime),
        }
        with self.log.open("ab") as log:
            self.launcher = subprocess.Popen(
                [sys.executable, "-m", "streamsd.programs.obs_launch", str(document), str(start)],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def connect(self) -> Client:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                client = Client.connect("127.0.0.1", self.port, self.password, timeout=30.0)
                if self._begins:
                    await_started(client, self.instance.version)
                    self._begins = False
                return client
            except ConnectFault:
                assert self.launcher is not None
                assert self.launcher.poll() is None, self.log.read_text(errors="replace")[-3000:]
                assert time.monotonic() < deadline, self.log.read_text(errors="replace")[-3000:]
                time.sleep(0.05)

    @property
    def may_wedge(self) -> bool:
        return may_wedge(self.instance.version)

    def reconciler(self, client: Client) -> Reconciler:
        files = CollectionFile(self.instance.scenes)
        return Reconciler(client, Reader(client), OutputKeeper(client), files, version=self.instance.version)

    def renew(self) -> None:
        """As the runtime does with one that hangs."""
        self.close()
        self.start()

    @property
    def obs_pid(self) -> int:
        assert self.launcher is not None
        children = Path(f"/proc/{self.launcher.pid}/task/{self.launcher.pid}/children").read_text().split()
        return int(children[0])

    def stop(self) -> int:
        """By SIGTERM to the launcher; its exit code."""
        assert self.launcher is not None
        self.launcher.terminate()
        return self.launcher.wait(PATIENCE)

    def close(self) -> None:
        if self.launcher is not None and self.launcher.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.launcher.pid, signal.SIGKILL)
            self.launcher.wait()


@contextlib.contextmanager
def studio(home: Path) -> Iterator[Studio]:
    """A started OBS."""
    with xvfb() as (display, _):
        made = Studio(home, display)
        made.start()
        over = threading.Event()
        watch = threading.Thread(target=_replace_when_complained_of, args=(made, over), daemon=True)
        if made.may_wedge:
            watch.start()
        try:
            yield made
        finally:
            over.set()
            if made.may_wedge:
                watch.join(PATIENCE)
            made.close()


def _replace_when_complained_of(made: Studio, over: threading.Event) -> None:
    while not over.wait(0.2):
        if made.complaint.exists():
            made.renew()
            until(lambda: over.is_set() or not made.complaint.exists(), "the launcher has begun")


def unless_it_may_wedge() -> None:
    """Skips a test of one OBS process that leaves collections again and again."""
    if may_wedge(version(Path(need("obs")))):
        pytest.skip("this OBS cannot always unload its scenes, and is started anew then")


class Director:
    """A director process beside a studio, and its control socket. It has converged when this returns, or `start`."""

    def __init__(self, made: Studio, home: Path, document: dict[str, Any], *, converged: bool = True) -> None:
        self._studio = made
        self._home = home
        self.control = home / "control"
        self.write(document)
        self.start() if converged else self.launch()

    def start(self) -> None:
        self.launch()
        until(lambda: self.status().get("converged"), "the director has converged")

    def launch(self) -> None:
        argv = [sys.executable, "-m", "streamsd.programs.director", "--port", str(self._studio.port)]
        argv += ["--password-file", str(self._studio.home / "password"), "--desired", str(self._home / "desired.json")]
        argv += ["--state", str(self._home / "state.json"), "--report", str(self._home / "report.json")]
        argv += ["--windows", str(self.control.with_name("found.json"))]
        argv += ["--control", str(self.control), "--scenes", str(self._studio.instance.scenes)]
        argv += ["--complaint", str(self._studio.complaint)]
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)

    def write(self, document: object) -> None:
        """Replace the desired document, as the daemon does."""
        part = self._home / "desired.part"
        part.write_text(json.dumps(document))
        os.replace(part, self._home / "desired.json")

    def ask(self, **question: object) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(PATIENCE)
            peer.connect(str(self.control))
            peer.sendall(json.dumps(question).encode() + b"\n")
            answer: dict[str, Any] = json.loads(peer.makefile().readline())
            return answer

    def status(self) -> dict[str, Any]:
        """What it says of itself; nothing while it does not listen yet."""
        try:
            return self.ask(do="status")
        except (FileNotFoundError, ConnectionError):
            assert self.process.poll() is None, "the director ended"
            return {}

    def cpu_s(self) -> float:
        """Processor time since it was started."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(PATIENCE)
