"""Both ways of forking: through the fork server, and by the process itself where that cannot be had."""

from __future__ import annotations

import os
import select
import signal

import pytest

from streamsd.runtime.procfs import read_environment, read_process
from streamsd.runtime.supervisord.child import Program
from streamsd.runtime.supervisord.forks import Forks, ForkServer, OwnForks
from streamsd.runtime.supervisord.spawn import Spawned, Spawner, exec_fault
from streamsd.runtime.supervisord.wire import Fault, StartWire

WAYS = {"server": ForkServer, "own": OwnForks}


@pytest.fixture(params=sorted(WAYS))
def spawner(request: pytest.FixtureRequest) -> Spawner:
    forks: Forks = WAYS[request.param]()
    return Spawner("test-of-forks", 256, forks)


def start(*argv: str, cwd: str | None = None) -> StartWire:
    return {
        "unit": "App/clock/main",
        "slug": "App.clock.main",
        "spec_hash": "hash",
        "argv": list(argv),
        "env": {"LARGE": "x" * 100_000},
        "cwd": cwd,
        "user": None,
        "umask": 0o077,
        "limits": {"memory_bytes": None, "cpu_percent": None, "nice": 0, "open_files": None},
        "stop": [],
        "log": {"max_bytes": 1000, "keep": 1, "rate": 1000},
    }


def report(spawned: Spawned) -> bytes:
    """What the child said about its exec: nothing, if it worked."""
    assert select.select([spawned.status], [], [], 60)[0]
    return os.read(spawned.status, 256)


def end(spawned: Spawned) -> int:
    os.close(spawned.status)
    os.close(spawned.output)
    return os.waitstatus_to_exitcode(os.waitpid(spawned.pid, 0)[1])


def spawn(spawner: Spawner, start: StartWire) -> Spawned:
    program: Program = spawner.program(start, ())
    return spawner.spawn(program)


def test_the_program_is_our_own_child_whoever_forks(spawner: Spawner) -> None:
    spawned = spawn(spawner, start("/bin/sleep", "1000"))
    try:
        assert report(spawned) == b""
        process = read_process(spawned.pid)
        assert process is not None
        assert (process.parent, process.session) == (os.getpid(), spawned.pid)
        assert len(read_environment(spawned.pid)["LARGE"]) == 100_000
    finally:
        os.kill(spawned.pid, signal.SIGKILL)
        assert end(spawned) == -signal.SIGKILL


def test_a_program_begins_with_default_signals_unblocked(spawner: Spawner) -> None:
    spawned = spawn(spawner, start("/bin/grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"))
    assert report(spawned) == b""
    said = b""
    while part := os.read(spawned.output, 4096):
        said += part
    assert end(spawned) == 0
    masks = [int(line.split()[1], 16) for line in said.decode().splitlines()]
    assert [mask & 0x7FFF_FFFF for mask in masks] == [0, 0]  # the first 31: those above are the C library's


def test_an_exec_that_fails_is_told_with_its_reason(spawner: Spawner) -> None:
    spawned = spawn(spawner, start("/bin/sleep", "1", cwd="/no/such/place"))
    told = report(spawned)
    assert end(spawned) == 127
    fault = exec_fault("/bin/sleep", None, told)
    assert fault.reason == "SpawnFailed"
    assert "working directory" in fault.message


def test_a_fork_server_that_hangs_is_ended_before_another_is_asked() -> None:
    """Else it would start a second copy once it goes on: what it was told to fork still lies in its socket."""
    forks = ForkServer()
    spawner = Spawner("test-of-forks", 256, forks)
    hung = os.dup(forks._handle)
    signal.pidfd_send_signal(hung, signal.SIGSTOP)
    forks._server.settimeout(0.2)  # of this one only
    with pytest.raises(Fault, match="cannot start a process"):
        spawn(spawner, start("/bin/sleep", "1000"))
    assert select.select([hung], [], [], 60)[0]
    ended = os.waitid(os.P_PIDFD, hung, os.WEXITED)
    os.close(hung)
    assert ended is not None
    assert ended.si_status == signal.SIGKILL
    spawned = spawn(spawner, start("/bin/true"))
    assert report(spawned) == b""
    assert end(spawned) == 0
