"""The flow runner as a process, and waiting for facts about it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from streamsd.core.report import Report, read_report
from streamsd.flow.asking import ask
from streamsd.flow.spec import FlowSpec
from streamsd.flow.split import split
from tests.programs_needed import need_bytewax

PATIENCE = 60.0


def until(fact: Callable[[], Any], what: str, within: float = PATIENCE) -> Any:
    """Wait until `fact` is true, and return it."""
    end = time.monotonic() + within
    while True:
        found = fact()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {within} s: {what}")
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Flow:
    """One flow in a directory of its own. Start and kill it as often as wanted. `own_loop`: its next start does without
    Bytewax."""

    own_loop = False

    def __init__(self, directory: Path, spec: dict[str, Any]) -> None:
        self.directory = directory
        self.process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        # Unix socket paths are short: pytest's directories are not.
        self.control = Path(f"/tmp/flow-{os.getpid()}-{id(self) % 10**6}.sock")
        self.change(spec)

    def change(self, spec: dict[str, Any]) -> None:
        """What the next start runs."""
        self.spec = FlowSpec.model_validate(spec)
        if self.spec.processes > 1:
            need_bytewax()
        held, live = split(self.spec)
        (self.directory / "spec.json").write_text(json.dumps(held))
        (self.directory / "live.json").write_text(json.dumps(live))

    def start(self, *before: str) -> Flow:
        """`before`: a command that runs the flow's."""
        (self.directory / "report.json").unlink(missing_ok=True)
        here = self.directory
        argv = [*before, sys.executable, "-m", "streamsd.programs.flow", "--name", "t", "--base", str(here)]
        argv += ["--spec", str(here / "spec.json"), "--live", str(here / "live.json"), "--state", str(here / "state")]
        argv += ["--report", str(here / "report.json"), "--control", str(self.control)]
        argv += ["--own-loop"] if self.own_loop else []
        with (here / "log").open("ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=here)
        return self

    def report(self) -> Report | None:
        return read_report(self.directory / "report.json")

    def log(self) -> str:
        return (self.directory / "log").read_text()

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def until(self, fact: Callable[[dict[str, Any]], Any], what: str) -> Any:
        """Wait for a fact about what the running flow observes."""

        def asked() -> Any:
            assert self.alive(), f"the flow ended while waiting for: {what}\n{self.log()}"
            try:
                return fact(self.observed())
            except KeyError:
                return False  # it tells no figures before it runs

        try:
            return until(asked, what)
        except AssertionError as fault:
            raise AssertionError(f"{fault}\n{self.observed()}\n{self.log()[-3000:]}") from None

    def observed(self) -> dict[str, Any]:
        """What it tells now; empty while it cannot be asked."""
        with contextlib.suppress(OSError, ValueError):
            return dict(ask(self.control, {"do": "status"}, timeout=20)["observed"])
        return {}

    def ask(self, **request: Any) -> dict[str, Any]:
        until(self.control.exists, "the control socket")
        return ask(self.control, request, timeout=PATIENCE)

    def ready(self) -> Flow:
        self.until(lambda observed: "sources" in observed, "figures")
        return self

    def complete(self) -> dict[str, Any]:
        """Wait until the sources are at their end and everything is stored."""
        return dict(self.until(lambda observed: observed.get("complete") and observed, "the end of the input"))

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.control.unlink(missing_ok=True)

    # --- what it wrote

    def lines(self, name: str) -> list[dict[str, Any]]:
        path = self.directory / name
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text().splitlines()]
