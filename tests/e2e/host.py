"""A streamsd of a test's own: real daemon, real processes, in a directory of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from streamsd.core.settings import Settings

PATIENCE = 60.0
"""Seconds a fact may take on a loaded machine."""


class Host:
    """`profile` is the file; `write` saves it as an editor does (rename over)."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.profile = directory / "profile.yaml"
        self.settings = Settings(self.profile, directory / "state", directory / "run", directory / "streamsd.yaml")
        self.environment = {
            **os.environ,
            "STREAMSD_PROFILE": str(self.profile),
            "STREAMSD_STATE_DIR": str(self.settings.state_dir),
            "STREAMSD_RUN_DIR": str(self.settings.run_dir),
            "STREAMSD_CONFIG": str(self.settings.config),
        }
        self.daemon: subprocess.Popen[bytes] | None = None

    # -- the daemon

    def up(self, *options: str) -> None:
        """Start the daemon and wait until it answers."""
        with (self.directory / "daemon.log").open("ab") as log:
            self.daemon = subprocess.Popen(
                [sys.executable, "-m", "streamsd.cli.main", "up", *options],
                env=self.environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.until(self._answers, "the daemon answers")

    def _answers(self) -> bool:
        if self.daemon is not None and self.daemon.poll() is not None:
            raise AssertionError(f"the daemon ended with {self.daemon.returncode}:\n{self.log()[-4000:]}")
        return self.settings.api_socket.exists() and self.cli("status", "--json").returncode == 0

    def kill(self) -> None:
        """SIGKILL the daemon: what it runs goes on."""
        assert self.daemon is not None
        self.daemon.kill()
        self.daemon.wait()

    def terminate(self) -> int:
        assert self.daemon is not None
        self.daemon.terminate()
        return self.daemon.wait(PATIENCE)

    def close(self) -> None:
        """End everything that is left of it, whatever state it is in."""
        if self.daemon is not None and self.daemon.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.cli("down", timeout=60)
            if self.daemon.poll() is None:
                self.daemon.kill()
            self.daemon.wait()
        deadline = time.monotonic() + 20
        while (left := self.processes()) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def log(self) -> str:
        return (self.directory / "daemon.log").read_text(errors="replace")

    # -- the profile

    def write(self, text: str) -> None:
        part = self.directory / ".profile.yaml.swp"
        part.write_text(textwrap.dedent(text))
        os.replace(part, self.profile)

    def edit(self, old: str, new: str) -> None:
        text = self.profile.read_text()
        assert old in text
        part = self.directory / ".profile.yaml.swp"
        part.write_text(text.replace(old, new))
        os.replace(part, self.profile)

    # -- asking

    def cli(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "streamsd.cli.main", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        done = self.cli(*arguments, "--json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def status(self) -> dict[str, Any]:
        return self.json("status")  # type: ignore[no-any-return]

    def resource(self, address: str) -> dict[str, Any]:
        """Its status; empty conditions and figures while it is not accepted."""
        nothing: dict[str, Any] = {"ready": False, "conditions": [], "observed": {}}
        return next((r for r in self.status()["resources"] if r["address"] == address), nothing)

    def condition(self, address: str, type: str) -> dict[str, Any]:
        unknown = {"status": "Unknown", "reason": "", "message": ""}
        return next((c for c in self.resource(address)["conditions"] if c["type"] == type), unknown)

    def pids(self) -> dict[str, int]:
        """`Kind/name/role` to pid of all that runs."""
        return {
            f"{r['address']}/{p['role']}": p["pid"]
            for r in self.status()["resources"]
            for p in r["processes"]
            if p["pid"]
        }

    def pid(self, unit: str) -> int:
        return self.pids()[unit]

    def events(self, event: str = "", address: str = "") -> list[dict[str, Any]]:
        done = self.cli("events", "--json")
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        return [e for e in lines if event in ("", e["event"]) and address in ("", e["address"])]

    # -- waiting

    def until(self, fact: Callable[[], Any], what: str = "", within: float = PATIENCE) -> Any:
        """Wait for something true and give it."""
        deadline = time.monotonic() + within
        while True:
            found = fact()
            if found:
                return found
            if time.monotonic() > deadline:
                status = self.cli("status").stdout if self.settings.api_socket.exists() else "(no daemon)"
                raise AssertionError(f"not within {within:g} s: {what}\n{status}\n{self.log()[-4000:]}")
            time.sleep(0.05)

    def converged(self, generation: int = 0) -> dict[str, Any]:
        """Wait until all is as declared (at least at this generation); gives the status."""

        def fact() -> dict[str, Any] | None:
            status = self.status()
            refused = [p for p in status["problems"] if p["severity"] == "error" and generation]
            assert not refused, f"the profile was refused: {refused}"
            return status if status["converged"] and status["generation"] >= generation else None

        return self.until(fact, f"converged at generation {generation}")  # type: ignore[no-any-return]

    def processes(self) -> list[int]:
        """Every process that carries this instance's identity, the runtime included."""
        marks = [f"STREAMSD_INSTANCE={self.settings.instance}".encode(), str(self.settings.run_dir).encode()]
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                        continue
                    text = (entry / "environ").read_bytes() + b"\0" + (entry / "cmdline").read_bytes()
                    if any(mark in text for mark in marks):
                        found.append(int(entry.name))
        return found


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@contextlib.contextmanager
def host(directory: Path) -> Iterator[Host]:
    """A host that leaves nothing behind."""
    made = Host(directory)
    try:
        yield made
    finally:
        made.close()
    assert made.processes() == []
