"""The child's side: what happens between fork and exec; and, run as a program, the fork server.

Forking supervisord itself costs 6 ms of CPU in it and as much in the child: all its pages are mapped, and then copied
one by one as either side touches them. So a process that has loaded next to nothing does the forking, with
CLONE_PARENT (clone(2)): the children are supervisord's own all the same, for it to reap and to die with. That is why
this file imports so little, and has no dataclass.

Every signal is blocked while all this happens. A SIGTERM in the window between fork and exec is so not swallowed by
anybody's handler but waits for the program: stock supervisord loses it and then waits the whole stop time.
"""

from __future__ import annotations

import ctypes
import errno
import marshal
import os
import resource
import signal
import socket
import sys

_PR_SET_PDEATHSIG = 1
_CLONE_PARENT = 0x00008000
_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220, "loongarch64": 220, "ppc64le": 120, "armv7l": 120, "i686": 120}
"""The number of clone(2) on each machine; all of these take the flags first."""

READY = b"+"
HEADER = 4
ANSWER = 8


class Program:
    """All that the child needs, looked up before the fork.

    `switch`: whether to become `uid`, `gid`, `groups`. `open_files`: soft RLIMIT_NOFILE. `entrances`: the
    cgroup.procs files to join by.
    """

    def __init__(
        self,
        argv: tuple[str, ...],
        env: dict[str, str],
        cwd: str,
        switch: bool,
        uid: int,
        gid: int,
        groups: tuple[int, ...],
        umask: int,
        nice: int,
        open_files: int,
        entrances: tuple[str, ...],
    ) -> None:
        self.argv = argv
        self.env = env
        self.cwd = cwd
        self.switch = switch
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.umask = umask
        self.nice = nice
        self.open_files = open_files
        self.entrances = entrances

    def dump(self) -> bytes:
        """For the fork server, which is the same interpreter: `Program(**marshal.loads(...))`."""
        return marshal.dumps(vars(self))


class Kernel:
    """The two calls that Python does not offer, looked up once."""

    def __init__(self) -> None:
        # PyDLL: a call must not let go of the interpreter lock, for the child comes back alone from one of them.
        libc = ctypes.PyDLL(None, use_errno=True)
        self._prctl = libc.prctl
        self._prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong]
        self._syscall = libc.syscall
        self._syscall.argtypes = [ctypes.c_long] * 6
        self._syscall.restype = ctypes.c_long

    def prctl(self, option: int, value: int) -> None:
        self._prctl(option, value, 0, 0, 0)

    def fork_sibling(self) -> int:
        """As fork(2), but the child is our parent's. OSError, also where the machine or its sandbox has no such."""
        number = _CLONE.get(os.uname().machine)
        if number is None:
            raise OSError(errno.ENOSYS, "no fork server on this machine")
        pid = int(self._syscall(number, _CLONE_PARENT | signal.SIGCHLD.value, 0, 0, 0, 0))
        if pid < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return pid


def caught_signals() -> list[int]:
    """Those that do not have their default action here, as they must have in a program."""
    fatal = (signal.SIGKILL, signal.SIGSTOP)
    return [n for n in signal.valid_signals() if n not in fatal and signal.getsignal(n) not in (signal.SIG_DFL, None)]


def run(
    program: Program, *, stdin: int, output: int, status: int, parent: int, caught: list[int], kernel: Kernel
) -> None:
    """Become the program; never returns. What fails is written to `status` as `step errno`; exec closes it silently."""
    step = "session"
    try:
        # A session of its own: signals to its process group reach the tree and nobody else, and no terminal is ours.
        os.setsid()
        os.dup2(stdin, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for number in caught:
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
        if program.switch:
            os.setgroups(program.groups)
            os.setgid(program.gid)
            os.setuid(program.uid)
        os.umask(program.umask)
        step = "cwd"
        os.chdir(program.cwd)
        # After setuid, which clears it. The parent may have died before this line: then nobody would tell us.
        step = "parent"
        kernel.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(127)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        step = "exec"
        os.execve(program.argv[0], program.argv, program.env)  # noqa: S606  (this is what we are for)
    except OSError as fault:
        os.write(status, f"{step} {fault.errno}".encode())
    finally:
        os._exit(127)


def serve(control: socket.socket, parent: int) -> None:
    """Fork what is asked for, one request at a time, until the other end closes.

    A request is its length (4 bytes) and a dumped Program, with two descriptors, output and status; the answer (8
    bytes) the pid or, negative, an errno. First of all READY is sent, once forking was tried and worked.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    kernel = Kernel()
    kernel.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    if kernel.fork_sibling() == 0:
        os._exit(0)
    stdin = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    caught = caught_signals()
    control.sendall(READY)
    while True:
        data, fds, _, _ = socket.recv_fds(control, 65536, 2)
        if not data:
            return
        for fd in fds:
            os.set_inheritable(fd, False)  # recv_fds of Python 3.11 forgets the flag that would
        length = HEADER + int.from_bytes(data[:HEADER], "little")
        while len(data) < length:
            more = control.recv(length - len(data))
            if not more:
                return
            data += more
        output, status = fds
        try:
            pid = kernel.fork_sibling()
            if pid == 0:
                program = Program(**marshal.loads(data[HEADER:]))  # noqa: S302  (our own parent dumped it)
                run(program, stdin=stdin, output=output, status=status, parent=parent, caught=caught, kernel=kernel)
        except OSError as fault:
            pid = -(fault.errno or errno.EAGAIN)
        os.close(output)
        os.close(status)
        control.sendall(pid.to_bytes(ANSWER, "little", signed=True))


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as end:
        end.set_inheritable(False)
        serve(end, int(sys.argv[2]))
