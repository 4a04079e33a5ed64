"""What happens when supervisord, or whoever controls it, is killed, stopped or started twice."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streamsd.core.runtime import ObservedUnit, RuntimeEvent, RuntimeFault, RuntimeLost
from streamsd.core.settings import Settings
from streamsd.core.unit import Unit
from streamsd.runtime.procfs import all_pids, is_alive, read_command, read_environment, read_process
from streamsd.runtime.supervisord.runtime import SupervisordRuntime
from tests.contract.runtime_room import PATIENCE, Room, alive_of, runtime_room, until
from tests.programs_needed import need

TREE = "setsid sleep 1000 & exec sleep 1001"
"""Two processes, one of which has left the session."""


@pytest.fixture(params=["supervisord-cgroups", "supervisord-plain"])
async def room(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Room]:
    if request.param == "supervisord-plain":
        monkeypatch.setenv("STREAMSD_CGROUPS", "none")
    async with runtime_room(request.param) as room:
        if request.param == "supervisord-cgroups" and room.runtime.cgroups == "none":
            pytest.skip("no control groups may be made here")
        yield room


async def lost(runtime: SupervisordRuntime) -> str:
    """Wait for the news that the runtime is gone, past whatever else happened."""

    async def wait() -> str:
        while True:
            event: RuntimeEvent = await runtime.next_event()
            if isinstance(event, RuntimeLost):
                return event.reason

    return await asyncio.wait_for(wait(), PATIENCE)


def copies(room: Room) -> Counter[str]:
    """Living processes of each unit."""
    return Counter(read_environment(pid).get("STREAMSD_UNIT", "") for pid in alive_of(room.settings.instance))


async def test_supervisord_killed_amid_a_hundred_starts_leaves_one_copy_of_each(room: Room) -> None:
    units = [room.unit(TREE, role=f"n{number}") for number in range(100)]
    answered = 0

    async def start(unit: Unit) -> ObservedUnit | RuntimeFault:
        nonlocal answered
        try:
            return await room.runtime.start(unit, "hash")
        except RuntimeFault as fault:
            return fault
        finally:
            answered += 1

    starting = asyncio.gather(*(start(unit) for unit in units))
    await until(lambda: answered >= 60)
    os.kill(room.runtime.pid, signal.SIGKILL)
    outcomes = await starting
    faults = [outcome.reason for outcome in outcomes if isinstance(outcome, RuntimeFault)]
    assert faults, "it was killed too late to prove anything"
    assert set(faults) == {"RuntimeLost"}
    await lost(room.runtime)

    await room.runtime.connect()
    assert await room.runtime.observe() == {}
    assert alive_of(room.settings.instance) == []
    for outcome in outcomes:
        assert isinstance(outcome, RuntimeFault) or not is_alive(outcome.pid)

    await asyncio.gather(*(room.runtime.start(unit, "hash") for unit in units))
    expected = {str(unit.id): 2 for unit in units}
    await until(lambda: sum(copies(room).values()) >= 200)
    assert copies(room) == expected


async def test_a_stopped_supervisord_is_replaced(room: Room) -> None:
    started = await room.runtime.start(room.unit(TREE), "hash")
    old = room.runtime.pid
    os.kill(old, signal.SIGSTOP)
    assert "stopped answering" in await lost(room.runtime)
    await room.runtime.connect()
    assert not is_alive(old)
    assert not is_alive(started.pid)
    assert alive_of(room.settings.instance) == []


async def test_a_stopped_supervisord_is_replaced_by_a_controller_that_comes_anew(room: Room) -> None:
    await room.runtime.start(room.unit(TREE), "hash")
    old = room.runtime.pid
    await room.runtime.close()
    os.kill(old, signal.SIGSTOP)
    await asyncio.wait_for(room.runtime.connect(), PATIENCE)
    assert room.runtime.pid != old
    assert not is_alive(old)
    assert await room.runtime.observe() == {}


async def test_a_terminated_supervisord_stops_its_units_first(room: Room) -> None:
    script = 'trap "echo bye; exit 0" TERM; echo ready; while :; do sleep 0.05; done'
    await room.runtime.start(room.unit(script), "hash")
    await until(lambda: b"ready" in room.log())
    os.kill(room.runtime.pid, signal.SIGHUP)  # which means "restart everything" to a supervisord of one's own
    os.kill(room.runtime.pid, signal.SIGTERM)
    await lost(room.runtime)
    assert b"bye" in room.log()
    assert alive_of(room.settings.instance) == []


async def test_a_leftover_that_hides_is_still_swept(room: Room) -> None:
    if room.way != "supervisord-cgroups":
        pytest.skip("only a control group holds a process without any mark")
    script = 'env -i setsid sh -c "echo \\$\\$ >$0/hidden; exec sleep 1000" & exec sleep 1001'
    await room.runtime.start(room.unit(script), "hash")
    await until(lambda: room.written("hidden"))
    hidden = int(room.written("hidden"))
    os.kill(room.runtime.pid, signal.SIGKILL)
    await lost(room.runtime)
    assert is_alive(hidden)
    await room.runtime.connect()
    assert not is_alive(hidden)


async def test_two_controllers_that_begin_at_once_start_one_runtime(room: Room) -> None:
    await room.runtime.shutdown()
    runtimes = [SupervisordRuntime(room.settings) for _ in range(4)]
    await asyncio.gather(*(runtime.connect() for runtime in runtimes))
    assert len({runtime.pid for runtime in runtimes}) == 1
    for runtime in runtimes:
        await runtime.close()


_CONTROLLER = """
import asyncio, os, signal, sys
from pathlib import Path
from streamsd.core.address import UnitId
from streamsd.core.settings import Settings
from streamsd.core.unit import Unit
from streamsd.runtime.procfs import all_pids, is_alive, read_command, read_environment, read_process
from streamsd.runtime.supervisord.runtime import SupervisordRuntime

async def main(directory, then):
    runtime = SupervisordRuntime(Settings.resolve(run_dir=f"{directory}/run", state_dir=f"{directory}/state"))
    await runtime.connect()
    unit = Unit(UnitId.parse("App/clock/main"), ("/bin/sh", "-c", "setsid sleep 1000 & exec sleep 1001"))
    started = await runtime.start(unit, "hash")
    print(started.pid, runtime.pid, os.geteuid(), flush=True)
    if then == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    assert unit.id in await runtime.observe()
    await runtime.stop(unit.id)
    assert not is_alive(started.pid)
    await runtime.shutdown()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_units_outlive_a_controller_that_is_killed(room: Room) -> None:
    await room.runtime.close()
    argv = [sys.executable, "-c", _CONTROLLER, str(room.directory), "dies"]
    controller = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, timeout=PATIENCE)
    assert controller.returncode == -signal.SIGKILL, controller.stderr
    unit_pid, supervisord_pid, _ = map(int, controller.stdout.split())
    await room.runtime.connect()
    assert room.runtime.pid == supervisord_pid
    assert [unit.pid for unit in (await room.runtime.observe()).values()] == [unit_pid]
    assert is_alive(unit_pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="everything here is run by an ordinary user already")
async def test_an_ordinary_user_needs_no_privilege() -> None:
    async with runtime_room("supervisord-cgroups") as room:
        home = room.directory / "nobody"
        home.mkdir()
        room.directory.chmod(0o711)
        os.chown(home, 65534, 65534)
        # The one capability it is left with is to read: the interpreter may lie in root's home.
        argv = [need("setpriv"), "--reuid", "65534", "--regid", "65534", "--clear-groups"]
        argv += ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
        argv += [sys.executable, "-c", _CONTROLLER, str(home), "ends"]
        run = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, timeout=PATIENCE)
        assert run.returncode == 0, run.stderr
        assert run.stdout.split()[2] == "65534"


async def test_a_directory_with_a_long_and_odd_name_serves(tmp_path: Path) -> None:
    directory = tmp_path / ("long" * 30) / "100% ; of # it"
    settings = Settings.resolve(run_dir=str(directory / "run"), state_dir=str(directory / "state"))
    runtime = SupervisordRuntime(settings)
    try:
        await runtime.connect()
        room = Room("supervisord-cgroups", settings, runtime, tmp_path)
        await runtime.start(room.unit("echo heard; exec sleep 1000"), "hash")
        await until(lambda: b"heard" in room.log())
    finally:
        await runtime.shutdown()


async def test_an_earlier_boot_that_failed_is_told_and_repaired(tmp_path: Path) -> None:
    settings = Settings.resolve(run_dir=str(tmp_path / "run"), state_dir=str(tmp_path / "state"))
    tmp_path.joinpath("run").write_text("in the way")
    runtime = SupervisordRuntime(settings)
    with pytest.raises(RuntimeFault) as refused:
        await runtime.connect()
    assert refused.value.reason == "RuntimeFailed"
    tmp_path.joinpath("run").unlink()
    try:
        await runtime.connect()
        assert await runtime.observe() == {}
    finally:
        await runtime.shutdown()
    assert not [p for p in all_pids() if read_environment(p).get("STREAMSD_RUNTIME") == settings.instance]


async def test_a_fork_server_that_is_killed_is_replaced(room: Room) -> None:
    first = await room.runtime.start(room.unit("exec sleep 1000", role="first"), "hash")
    servers = [pid for pid in all_pids() if is_fork_server(pid, room.runtime.pid)]
    assert len(servers) == 1
    os.kill(servers[0], signal.SIGKILL)
    await until(lambda: not is_alive(servers[0]))  # amid its end a start is a fault, which the engine tries again
    second = await room.runtime.start(room.unit("exec sleep 1000", role="second"), "hash")
    assert is_alive(first.pid)
    assert is_alive(second.pid)
    assert len([pid for pid in all_pids() if is_fork_server(pid, room.runtime.pid)]) == 1


def is_fork_server(pid: int, supervisord: int) -> bool:
    process = read_process(pid)
    return process is not None and process.parent == supervisord and any("child.py" in w for w in read_command(pid))
