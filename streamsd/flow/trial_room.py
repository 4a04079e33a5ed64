"""The tests of a flow, each within its time, in a process that can be ended.

A `custom` function may loop for ever, in C code too, where no signal handler or thread of Python's runs any more; or it
ends or crashes its process. So a process of its own (`trial_child`) does what is tested, says beforehand whose code it
enters, and is killed, with all that it started, when a test's time is over. Another one does the tests that are left.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from streamsd.core.diagnostics import FieldPath, Problem, ProblemsError
from streamsd.flow.spec.flow import FlowSpec
from streamsd.flow.split import revealed
from streamsd.flow.trial import Outcome, failed

_STARTS = 60.0
"""Seconds for an interpreter to come up, however busy the host is."""
_DRAINS = 1.0
"""Seconds in which what was said in time is still taken in."""
_DUMPS = 1.0
"""Seconds to say where it stands, and to end."""
_FRAME = re.compile(r'  File "(.*)", line (\d+) in (.*)')


class Ready(msgspec.Struct, tag=True):
    """The child can begin."""


class Entered(msgspec.Struct, tag=True):
    """It runs a step of the operator's own now; none, where `name` is empty."""

    name: str


class Done(msgspec.Struct, tag=True):
    """The next test's outcome."""

    outcome: Outcome


class Wrong(msgspec.Struct, tag=True):
    """The flow itself is wrong."""

    problems: tuple[Problem, ...]


Said = Ready | Entered | Done | Wrong


def run_tests(spec: FlowSpec, base: Path) -> list[Outcome]:
    """Every test of a flow. ProblemsError when the flow itself is wrong."""
    found: list[Outcome] = []
    while len(found) < len(spec.tests):
        with _Child(spec, base, len(found)) as child:
            found += child.outcomes()
    return found


class _Child:
    """Does the tests from `first` on, until one of them makes an end of it."""

    def __init__(self, spec: FlowSpec, base: Path, first: int) -> None:
        self._spec = spec
        self._first = first
        self._inside = ""
        self._dump = os.memfd_create("where")
        self._socket, its = socket.socketpair()
        with its:
            command = [sys.executable, "-P", "-m", "streamsd.flow.trial_child", str(its.fileno()), str(self._dump)]
            self._process = subprocess.Popen(  # our own program, and a list
                command,
                stdin=subprocess.DEVNULL,
                stdout=2,  # what a function prints is no part of an answer
                pass_fds=(its.fileno(), self._dump),
                start_new_session=True,
            )
        request = {"spec": revealed(spec), "base": str(base), "first": first}
        self._request = json.dumps(request).encode() + b"\n"

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *fault: object) -> None:
        self._end()
        self._socket.close()
        os.close(self._dump)

    def outcomes(self) -> Iterator[Outcome]:
        """At least one. ProblemsError as `run_tests`."""
        number, limit = self._first, _STARTS
        until = time.monotonic() + limit
        waiting, late = b"", 0.0
        try:
            self._socket.settimeout(limit)
            self._socket.sendall(self._request)
            while True:
                self._socket.settimeout(max(0.001, until - time.monotonic()))
                more = self._socket.recv(65536)
                if not more:
                    raise ConnectionResetError
                *lines, waiting = (waiting + more).split(b"\n")
                for line in lines:
                    match msgspec.json.decode(line, type=Said):
                        case Entered(name=name):
                            self._inside = name
                            continue
                        case Wrong(problems=problems):
                            raise ProblemsError(problems)
                        case Done(outcome=outcome):
                            number += 1
                            yield outcome
                        case Ready():
                            pass
                    if number == len(self._spec.tests):
                        return
                    until = time.monotonic() + self._spec.tests[number].timeout.seconds
                now = time.monotonic()
                late = now if now > until and not late else late if now > until else 0.0
                # A command that was stopped for a while finds its time over, and the outcome waiting.
                if late and (now - late > _DRAINS or not select.select([self._socket], [], [], 0)[0]):
                    raise TimeoutError
        except TimeoutError:
            yield self._over(number)
        except (OSError, msgspec.MsgspecError):
            yield self._ended(number)

    def _over(self, number: int) -> Outcome:
        """A test whose time is over."""
        # SIGABRT: the child's fault handler, which needs no Python to go on, writes down where it stands.
        os.kill(self._process.pid, signal.SIGABRT)
        self._end(_DUMPS)
        limit = self._spec.tests[number].timeout
        did = f"{self._inside} has not returned{self._place()}" if self._inside else "the flow's own steps have no end"
        hint = "correct the function, or give the test a longer `timeout`"
        return self._failed(number, f"not done within {limit}: {did}", hint, ("timeout",))

    def _ended(self, number: int) -> Outcome:
        """A test that took its process with it."""
        self._end(_DUMPS)
        code = self._process.returncode
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        did = f" in {self._inside}{self._place()}" if self._inside else ""
        return self._failed(number, f"its process {how}{did}", "a function returns a list, or raises")

    def _failed(self, number: int, message: str, hint: str, path: FieldPath = ()) -> Outcome:
        return Outcome(self._spec.tests[number].name, (failed(self._spec, number, message, hint, path),))

    def _place(self) -> str:
        """Where in the operator's files it stood: ` (mine.py:12 in f)`."""
        written = os.pread(self._dump, 1 << 20, 0).decode("utf-8", "replace")
        named = {Path(step.custom.file).name for step in self._spec.every_step if step.custom is not None}
        for file, line, function in _FRAME.findall(written):
            name = Path(file).name
            if name in named:
                return f" ({name}:{line} in {function})"
        return ""

    def _end(self, grace: float = 0.0) -> None:
        """End it and whatever it started. `grace`: seconds in which it may end by itself."""
        if self._process.returncode is not None:
            return
        end = time.monotonic() + grace
        while time.monotonic() < end and not _is_over(self._process.pid):
            time.sleep(0.005)
        # Before it is waited for: until then nobody else has its number.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _is_over(pid: int) -> bool:
    """Whether a child has ended; it stays to be waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
