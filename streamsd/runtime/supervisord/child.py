"""The child's side: what happens between fork and exec. Runs in the forked copy of supervisord.

The order matters and is explained step by step. Every signal is blocked when this begins (the parent did it before it
forked), so that a SIGTERM in this window is not swallowed by supervisord's handlers but waits for the program: stock
supervisord loses it and then waits the whole stop time.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class Account:
    """Who the program runs as. `switch`: whether that is somebody else than supervisord."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    switch: bool


@dataclass(frozen=True, slots=True)
class Program:
    """All that the child needs, looked up before the fork. `open_files`: soft RLIMIT_NOFILE."""

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    account: Account
    umask: int
    nice: int
    open_files: int
    entrances: tuple[str, ...]


def libc_prctl() -> Callable[[int, int], int]:
    """prctl(2) with one argument; looked up once, before any fork."""
    function = ctypes.CDLL(None, use_errno=True).prctl
    function.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]
    function.restype = ctypes.c_int
    return lambda option, value: int(function(option, value, 0, 0, 0))


def become_subreaper(prctl: Callable[[int, int], int]) -> None:
    """Orphans of our trees come to us instead of init, so that they are reaped and can be found."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def run(
    program: Program,
    *,
    stdin: int,
    output: int,
    status: int,
    parent: int,
    handled: Sequence[int],
    prctl: Callable[[int, int], int],
) -> NoReturn:
    """Become the program. What fails is written to `status` as `step errno`; exec closes it without a word."""
    step = "session"
    try:
        # A session of its own: signals to its process group reach the tree and nobody else, and no terminal is ours.
        os.setsid()
        os.dup2(stdin, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for number in handled:
            signal.signal(number, signal.SIG_DFL)
        step = "cgroup"
        for entrance in program.entrances:
            fd = os.open(entrance, os.O_WRONLY)
            os.write(fd, b"0")
            os.close(fd)
        # Priorities and limits while we may still raise them.
        step = "nice"
        if program.nice != os.getpriority(os.PRIO_PROCESS, 0):
            os.setpriority(os.PRIO_PROCESS, 0, program.nice)
        step = "open_files"
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and program.open_files > hard:
            hard = program.open_files
        resource.setrlimit(resource.RLIMIT_NOFILE, (program.open_files, hard))
        step = "user"
        if program.account.switch:
            os.setgroups(program.account.groups)
            os.setgid(program.account.gid)
            os.setuid(program.account.uid)
        os.umask(program.umask)
        step = "cwd"
        os.chdir(program.cwd)
        # After setuid, which clears it. The parent may have died before this line: then nobody would tell us.
        step = "parent"
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(127)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        step = "exec"
        os.execve(program.argv[0], program.argv, program.env)  # noqa: S606  (this is what we are for)
    except OSError as fault:
        os.write(status, f"{step} {fault.errno}".encode())
    finally:
        os._exit(127)
