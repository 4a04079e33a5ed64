"""The process that does the tests of a flow for `trial_room`: `python -m streamsd.flow.trial_child SOCKET DUMP`."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import json
import resource
import signal
import socket
import sys
from pathlib import Path

import msgspec

from streamsd.core.diagnostics import ProblemsError
from streamsd.flow.spec.flow import FlowSpec
from streamsd.flow.trial import run_test
from streamsd.flow.trial_room import Done, Entered, Ready, Said, Wrong

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """`arguments`: the descriptors of the socket and of the file that says where a crash or an end came."""
    here, dump = map(int, arguments)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable(dump)
    with socket.socket(fileno=here) as room:
        room.set_inheritable(False)
        with room.makefile("rb") as given:
            asked = json.loads(given.readline())

        def say(said: Said) -> None:
            room.sendall(msgspec.json.encode(said) + b"\n")

        spec, base = FlowSpec.model_validate(asked["spec"]), Path(asked["base"])
        say(Ready())
        try:
            for number in range(asked["first"], len(spec.tests)):
                outcome = run_test(spec, base, number, lambda name: say(Entered(name)))
                with contextlib.suppress(Exception):  # it may be the function's by now
                    sys.stdout.flush()  # with the last outcome this process is ended
                say(Done(outcome))
        except ProblemsError as fault:
            say(Wrong(fault.problems))


if __name__ == "__main__":
    main(sys.argv[1:])
