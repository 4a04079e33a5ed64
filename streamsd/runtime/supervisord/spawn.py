"""From a unit in words to a child process: looks everything up, forks, and learns whether the exec worked.

Inside supervisord. The answer to "did it exec" comes over a pipe that exec closes, so the loop is not held meanwhile
and many units can be between fork and exec at once.
"""

from __future__ import annotations

import errno
import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from streamsd.runtime.supervisord import child
from streamsd.runtime.supervisord.forks import Forks
from streamsd.runtime.supervisord.wire import (
    HASH_VARIABLE,
    INSTANCE_VARIABLE,
    UNIT_VARIABLE,
    Fault,
    StartWire,
)

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Spawned:
    """A child on its way: `output` and `status` are the reading ends of its pipes."""

    pid: int
    output: int
    status: int


@dataclass(frozen=True, slots=True)
class _Account:
    """Who a program runs as. `switch`: whether that is somebody else than supervisord."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    switch: bool


class Spawner:
    """Starts children. `open_files`: the soft limit of those that ask for none."""

    def __init__(self, instance: str, open_files: int, forks: Forks) -> None:
        self._instance = instance
        self._open_files = open_files
        self._forks = forks
        self._own = _own_account()

    def program(self, start: StartWire, entrances: tuple[str, ...]) -> child.Program:
        """What the child will need. Fault: ProgramMissing, UserMissing, UserRefused, SpawnFailed."""
        argv = tuple(start["argv"])
        if not argv or not argv[0].startswith("/"):
            raise Fault("ProgramMissing", f"not an absolute program: {argv[0] if argv else ''!r}")
        _refuse_nul(argv, start["env"])
        try:
            Path(argv[0]).stat()
        except (FileNotFoundError, NotADirectoryError):
            raise Fault("ProgramMissing", f"there is no program {argv[0]}") from None
        except OSError:
            pass  # not for us to look at; exec, as the unit's user, will tell
        account = self._account(start["user"])
        env = {"PATH": PATH, "HOME": account.home, "LANG": "C.UTF-8"} | start["env"]
        env |= {
            INSTANCE_VARIABLE: self._instance,
            UNIT_VARIABLE: start["unit"],
            HASH_VARIABLE: start["spec_hash"],
        }
        return child.Program(
            argv=argv,
            env=env,
            cwd=start["cwd"] or "/",
            switch=account.switch,
            uid=account.uid,
            gid=account.gid,
            groups=account.groups,
            umask=start["umask"],
            nice=start["limits"]["nice"],
            open_files=start["limits"]["open_files"] or self._open_files,
            entrances=entrances,
        )

    def spawn(self, program: child.Program) -> Spawned:
        """Fork. Fault SpawnFailed when the system has no process or descriptor left."""
        fds: list[int] = []
        try:
            fds.extend(os.pipe())
            fds.extend(os.pipe())
            output, output_end, status, status_end = fds
            pid = self._forks.fork(program, output_end, status_end)
        except OSError as fault:
            for fd in fds:
                os.close(fd)
            raise Fault("SpawnFailed", f"cannot start a process: {fault.strerror}") from None
        os.close(output_end)
        os.close(status_end)
        os.set_blocking(status, False)
        return Spawned(pid, output, status)

    def _account(self, user: str | None) -> _Account:
        if user is None:
            return self._own
        try:
            entry = pwd.getpwnam(user)
        except KeyError:
            raise Fault("UserMissing", f"there is no user {user!r}") from None
        if entry.pw_uid == os.geteuid():
            return _Account(entry.pw_uid, entry.pw_gid, (), entry.pw_dir, switch=False)
        if os.geteuid() != 0:
            raise Fault("UserRefused", f"only root may run a program as {user!r}")
        groups = tuple(os.getgrouplist(user, entry.pw_gid))
        return _Account(entry.pw_uid, entry.pw_gid, groups, entry.pw_dir, switch=True)


def exec_fault(program: str, user: str | None, report: bytes) -> Fault:
    """What the child wrote about its failure, in words."""
    step, _, number = report.decode().partition(" ")
    code = int(number)
    why = os.strerror(code)
    if step == "exec" and code == errno.ENOENT:
        return Fault("ProgramMissing", f"cannot run {program}: it, or the interpreter it names, is missing")
    words = {
        "exec": f"cannot run {program}: {why}",
        "cwd": f"cannot enter the working directory: {why}",
        "nice": f"cannot set the priority: {why}",
        "open_files": f"cannot set the limit of open files: {why}",
        "user": f"cannot become {user}: {why}",
        "cgroup": f"cannot join the control group: {why}",
    }
    return Fault("SpawnFailed", words.get(step, f"cannot start {program} ({step}): {why}"))


def _own_account() -> _Account:
    uid = os.geteuid()
    try:
        home = pwd.getpwuid(uid).pw_dir
    except KeyError:
        home = "/"  # a container's arbitrary uid
    return _Account(uid, os.getegid(), (), home, switch=False)


def _refuse_nul(argv: tuple[str, ...], env: Mapping[str, str]) -> None:
    # The values may be secrets: only the name is said.
    for name, value in env.items():
        if not name or "=" in name or "\0" in name + value:
            raise Fault("SpawnFailed", f"the environment variable {name!r} cannot be passed on")
    if any("\0" in word for word in argv):
        raise Fault("SpawnFailed", "an argument holds a NUL byte")
