"""The tutorial, typed command by command into a shell, with a real daemon."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e import host as hosts
from tests.ports import free_port
from tests.programs_needed import need

PAGE = Path(__file__).parents[2] / "docs/tutorial.md"
PATIENCE = 180.0
MARK = "-- exit "


@dataclass
class Step:
    """A command, and what the page says it prints: `…` stands for anything, alone on a line for any lines."""

    line: int
    command: str
    prints: list[str] = field(default_factory=list)

    @property
    def pattern(self) -> str:
        parts = [
            r"(?:.*\n)*?" if said == "…" else ".*".join(re.escape(part) for part in said.split("…")) + r"\n"
            for said in self.prints
        ]
        return "".join(parts) + (r"(?:.*\n)*" if self.prints and self.prints[-1] == "…" else "")

    @property
    def exit_code(self) -> int:
        """What the page says of it: errors are shown, and a plan with changes exits 2."""
        if any(said.startswith("error: ") for said in self.prints):
            return 1
        return 2 if any(said.startswith("Plan: ") for said in self.prints) else 0


def steps() -> list[Step]:
    found: list[Step] = []
    inside = False
    for number, line in enumerate(PAGE.read_text().splitlines(), 1):
        if line.startswith("```"):
            inside = line == "```console"
        elif inside and line.startswith("$ "):
            found.append(Step(number, line[2:]))
        elif inside and line.startswith("> "):
            found[-1].command += "\n" + line[2:]
        elif inside:
            found[-1].prints.append(line)
    return found


class Shell:
    """One bash for the whole page; what a command prints, stderr too, comes back with its exit code."""

    def __init__(self, directory: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("STREAMSD_")}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        self._bash = subprocess.Popen(
            [need("bash"), "--noprofile", "--norc"],
            cwd=directory,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, command: str) -> tuple[int, str]:
        assert self._bash.stdin
        assert self._bash.stdout
        self._bash.stdin.write(f"{command}\necho '{MARK}'$?\n")
        self._bash.stdin.flush()
        lines: list[str] = []
        while line := self._bash.stdout.readline():
            if line.startswith(MARK):
                return int(line.removeprefix(MARK)), "".join(lines)
            lines.append(line)
        raise AssertionError(f"the shell ended: {lines}")

    def close(self) -> None:
        if self._bash.poll() is None:
            os.killpg(self._bash.pid, signal.SIGKILL)
        self._bash.wait()


@pytest.mark.timeout(300)
def test_every_command_of_the_tutorial_does_what_the_page_says() -> None:
    for program in ("Xvfb", "xclock", "xterm", "xsetroot"):
        need(program)
    port = str(free_port())
    with tempfile.TemporaryDirectory(prefix="sd-") as name, hosts.host(Path(name)):
        shell = Shell(Path(name))
        try:
            for step in steps():
                code, said = shell.run(step.command)
                where = f"docs/tutorial.md:{step.line}: $ {step.command}\n{said}"
                assert code == step.exit_code, where
                # what is not shown is not promised
                assert not step.prints or re.fullmatch(step.pattern, said), where
                if step.command.startswith("streamsd init"):
                    profile = Path(name) / "profile.yaml"
                    profile.write_text(profile.read_text().replace("8088", port))  # others may have the page's
        finally:
            shell.run("streamsd down")
            shell.close()


def test_the_page_has_commands() -> None:
    assert len(steps()) > 20
