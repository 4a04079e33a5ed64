"""python -m streamsd.programs.obs_launch LAUNCH.json [MORE.json]...: see the package."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from streamsd.programs.obs_launch.files import Launch, prepare
from streamsd.programs.obs_launch.loopback import Loopback
from streamsd.programs.obs_launch.window import WindowFault, close_window

CLOSE_WITHIN = 6.0
"""Seconds for closing the window: OBS ends its outputs and writes its collection meanwhile."""

INTERRUPT_WITHIN = 3.0

_PR_SET_PDEATHSIG = 1
_TITLE = "OBS"
_WATCHED = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}


def main() -> int:
    """OBS's exit code; 128 + N when signal N ended it; 0 when it ended because it was asked to (how it came to its
    end then is in its log, and no failure of the unit)."""
    launch = Launch.read(*map(Path, sys.argv[1:]))
    prepare(launch)
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)  # taken one by one by sigtimedwait
    libc = ctypes.CDLL(None, use_errno=True)
    ours = os.getpid()
    loopback = Loopback(launch.port)

    def tie() -> None:
        # If the launcher is killed, OBS must not live on without anybody to end it.
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
        if os.getppid() != ours:
            os._exit(1)
        loopback.join()

    # A group of its own: a stop is signalled to the launcher's whole group, and OBS has no handler for SIGTERM: it
    # would die of it at once, with its recording unfinished and its collection unsaved.
    with subprocess.Popen(launch.argv, preexec_fn=tie, process_group=0) as obs:  # noqa: PLW1509  # no threads here
        if not loopback.hold():
            sys.stderr.write("the websocket is not held on loopback: the kernel does not let us (seccomp)\n")
        asked = not _ended(obs, None, {signal.SIGTERM, signal.SIGINT})
        if asked:
            _end(obs, hangs=launch.complaint.exists())
        code = obs.wait()
    if asked:
        return 0
    return 128 - code if code < 0 else code


def _ended(obs: subprocess.Popen[bytes], seconds: float | None, stops: set[signal.Signals]) -> bool:
    """Wait for OBS to end: at most so long, and not past one of these signals."""
    until = None if seconds is None else time.monotonic() + seconds
    while obs.poll() is None:
        left = 3600.0 if until is None else until - time.monotonic()
        if left <= 0:
            return False
        taken = signal.sigtimedwait(_WATCHED, left)
        if taken is not None and taken.si_signo in stops:
            return False
    return True


def _end(obs: subprocess.Popen[bytes], *, hangs: bool) -> None:
    """One that hangs takes no wish to close its window."""
    if hangs:
        sys.stderr.write("OBS hangs: killed\n")
        obs.kill()
        return
    try:
        close_window(os.environ["DISPLAY"], None, _TITLE)
        if _ended(obs, CLOSE_WITHIN, set()):
            return
    except (WindowFault, KeyError) as fault:
        sys.stderr.write(f"the window of OBS cannot be closed: {fault}\n")
    obs.send_signal(signal.SIGINT)
    if not _ended(obs, INTERRUPT_WITHIN, set()):
        sys.stderr.write("OBS did not end: killed\n")
        obs.kill()


if __name__ == "__main__":
    sys.exit(main())
