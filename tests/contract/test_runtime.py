"""What every runtime does: the protocol of streamsd/core/runtime.py, on real processes.

Each test runs once for each implementation in `WAYS`; a new one is added there and in `runtime_room`.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import stat
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from streamsd.core.address import Address, UnitId
from streamsd.core.runtime import ProcessState, RuntimeFault
from streamsd.core.secret import Secret
from streamsd.core.unit import File, Limits, LogPolicy, StopPolicy
from streamsd.runtime.procfs import is_alive, read_environment, read_process
from tests.contract.runtime_room import MIB, PATIENCE, Room, next_exit, runtime_room, until

WAYS = ("supervisord-cgroups", "supervisord-plain")


@pytest.fixture(params=WAYS)
async def room(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Room]:
    way: str = request.param
    if way == "supervisord-plain":
        monkeypatch.setenv("STREAMSD_CGROUPS", "none")
    async with runtime_room(way) as room:
        if way == "supervisord-cgroups" and room.runtime.cgroups == "none":
            pytest.skip("no control groups may be made here")
        yield room


async def test_a_started_unit_is_observed_as_it_is(room: Room) -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    unit = room.unit("exec sleep 1000")
    started = await room.runtime.start(unit, "hash-1")
    assert started.id == unit.id
    assert started.state is ProcessState.RUNNING
    assert started.spec_hash == "hash-1"
    assert started.exit_code is None
    assert before - 1 <= started.started <= time.clock_gettime(time.CLOCK_BOOTTIME) + 1
    assert is_alive(started.pid)
    assert await room.runtime.observe() == {unit.id: started}


async def test_a_program_gets_exactly_its_environment_and_a_session_of_its_own(room: Room) -> None:
    script = (
        'umask >"$0/umask"; pwd >"$0/pwd"; cat <&0 >"$0/stdin"; ls /proc/self/fd >"$0/fds"; echo >"$0/done"; sleep 1000'
    )
    unit = room.unit(script, env={"COLOUR": "red", "TOKEN": Secret("hunter2")}, cwd=room.directory, umask=0o027)
    started = await room.runtime.start(unit, "hash-2")
    environment = read_environment(started.pid)
    assert set(environment) == {
        "PATH", "HOME", "LANG", "STREAMSD_INSTANCE", "STREAMSD_UNIT", "STREAMSD_SPEC_HASH", "COLOUR", "TOKEN",
    }  # fmt: skip
    assert environment["TOKEN"] == "hunter2"
    assert environment["STREAMSD_UNIT"] == "App/clock/main"
    assert environment["STREAMSD_SPEC_HASH"] == "hash-2"
    assert environment["STREAMSD_INSTANCE"] == room.settings.instance
    process = read_process(started.pid)
    assert process is not None
    assert process.session == process.group == started.pid
    await until((room.directory / "done").exists)
    assert room.written("umask") == "0027"
    assert room.written("pwd") == str(room.directory.resolve())
    assert room.written("fds").split() == ["0", "1", "2", "3"]  # 3 is ls's own


async def test_a_secret_shows_nowhere_but_in_the_environment(room: Room) -> None:
    secret = "correct-horse-battery-staple"
    unit = room.unit("sleep 1000", env={"TOKEN": Secret(secret)})
    started = await room.runtime.start(unit, "hash")
    for pid in (started.pid, room.runtime.pid):
        assert secret.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    for path in [*room.settings.run_dir.rglob("*"), *room.settings.log_dir.rglob("*")]:
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path


async def test_an_exit_is_told_with_its_code_and_stays_known(room: Room) -> None:
    unit = room.unit("exit 7")
    started = await room.runtime.start(unit, "hash")
    ended = await next_exit(room.runtime)
    assert (ended.state, ended.exit_code, ended.pid) == (ProcessState.EXITED, 7, started.pid)
    assert (await room.runtime.observe())[unit.id] == ended

    again = await room.runtime.start(room.unit("exec sleep 1000"), "hash-2")
    os.kill(again.pid, signal.SIGKILL)
    ended = await next_exit(room.runtime)
    assert (ended.exit_code, ended.oom, ended.spec_hash) == (-signal.SIGKILL, False, "hash-2")

    await room.runtime.stop(unit.id)
    assert await room.runtime.observe() == {}
    await room.runtime.stop(unit.id)  # unknown: nothing


async def test_a_unit_that_runs_is_not_started_again(room: Room) -> None:
    unit = room.unit("exec sleep 1000")
    started = await room.runtime.start(unit, "hash")
    with pytest.raises(RuntimeFault) as refused:
        await room.runtime.start(unit, "hash")
    assert refused.value.reason == "AlreadyRunning"
    assert (await room.runtime.observe())[unit.id].pid == started.pid


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("ProgramMissing", lambda room: {"argv": ("/no/such/program",)}),
        ("ProgramMissing", lambda room: {"argv": (_script(room, "orphan", "#!/no/such/interpreter\n"),)}),
        ("SpawnFailed", lambda room: {"argv": (str(room.directory),)}),
        ("SpawnFailed", lambda room: {"cwd": room.directory / "missing"}),
        ("SpawnFailed", lambda room: {"env": {"A": "nul\0byte"}}),
        ("UserMissing", lambda room: {"user": "no-such-user-here"}),
        ("FilesFailed", lambda room: {"files": (File(Path("/dev/null/x"), "text"),)}),
    ],
)
async def test_what_cannot_start_says_why(room: Room, reason: str, change: Callable[[Room], dict[str, object]]) -> None:
    unit = room.unit("exec sleep 1000", **change(room))
    with pytest.raises(RuntimeFault) as refused:
        await room.runtime.start(unit, "hash")
    assert refused.value.reason == reason
    assert await room.runtime.observe() == {}
    await room.runtime.start(room.unit("exec sleep 1000"), "hash")  # and the unit can be started at once


def _script(room: Room, name: str, text: str) -> str:
    path = room.directory / name
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


async def test_a_stop_asks_step_by_step_and_then_kills(room: Room) -> None:
    script = 'trap "echo int" INT; trap "echo term" TERM; echo ready; while :; do sleep 0.05; done'
    unit = room.unit(script, stop=StopPolicy(((signal.SIGINT, 0.3), (signal.SIGTERM, 0.3))))
    await room.runtime.start(unit, "hash")
    await until(lambda: b"ready" in room.log())
    await asyncio.wait_for(room.runtime.stop(unit.id), PATIENCE)
    assert (await next_exit(room.runtime)).exit_code == -signal.SIGKILL
    assert [word for word in room.log().split() if word in (b"ready", b"int", b"term")] == [b"ready", b"int", b"term"]
    assert await room.runtime.observe() == {}


async def test_a_stopped_process_can_still_obey(room: Room) -> None:
    unit = room.unit(
        'trap "exit 5" TERM; echo ready; while :; do sleep 0.05; done', stop=StopPolicy(((signal.SIGTERM, 60.0),))
    )
    started = await room.runtime.start(unit, "hash")
    await until(lambda: b"ready" in room.log())
    os.kill(started.pid, signal.SIGSTOP)
    await asyncio.wait_for(room.runtime.stop(unit.id), PATIENCE / 2)
    assert (await next_exit(room.runtime)).exit_code == 5


_TREE = """
setsid sh -c 'trap "" TERM HUP INT; echo $$ >"$0/grandchild"; while :; do sleep 1; done' "$0" &
sh -c 'trap "" TERM; echo $$ >"$0/child"; while :; do sleep 1; done' "$0" &
while [ ! -s "$0/grandchild" ] || [ ! -s "$0/child" ]; do sleep 0.01; done
echo ready
"""


@pytest.mark.parametrize("ends", ["asked", "by itself", "killed"])
async def test_nothing_of_a_tree_outlives_its_main_process(room: Room, ends: str) -> None:
    unit = room.unit(
        _TREE + ("exit 0" if ends == "by itself" else "exec sleep 1000"), stop=StopPolicy(((signal.SIGTERM, 0.2),))
    )
    started = await room.runtime.start(unit, "hash")
    if ends != "by itself":
        await until(lambda: b"ready" in room.log())
    match ends:
        case "asked":
            await asyncio.wait_for(room.runtime.stop(unit.id), PATIENCE)
        case "killed":
            os.kill(started.pid, signal.SIGKILL)
    await next_exit(room.runtime)
    assert not is_alive(int(room.written("grandchild")))
    assert not is_alive(int(room.written("child")))


async def test_children_may_finish_within_the_grace_of_a_stop(room: Room) -> None:
    script = """
    sh -c 'trap "sleep 0.3; echo finished; exit" TERM; echo ready; while :; do sleep 0.05; done' &
    trap "exit 0" TERM; while :; do sleep 0.05; done
    """
    unit = room.unit(script, stop=StopPolicy(((signal.SIGTERM, 30.0),)))
    await room.runtime.start(unit, "hash")
    await until(lambda: b"ready" in room.log())
    await asyncio.wait_for(room.runtime.stop(unit.id), PATIENCE)
    assert b"finished" in room.log()


async def test_limits_hold_change_in_place_and_are_measured(room: Room) -> None:
    limits = Limits(memory_bytes=64 * MIB + 1000, cpu_percent=50, nice=5, open_files=77)
    unit = room.unit('ulimit -n >"$0/files"; echo ready; exec sleep 1000', limits=limits)
    started = await room.runtime.start(unit, "hash")
    assert started.limits == limits
    await until(lambda: b"ready" in room.log())
    assert room.written("files") == "77"
    assert os.getpriority(os.PRIO_PROCESS, started.pid) == 5

    changed = Limits(memory_bytes=256 * MIB, cpu_percent=150, nice=9, open_files=77)
    await room.runtime.limit(unit.id, changed)
    assert (await room.runtime.observe())[unit.id] == replace(started, limits=changed)
    await room.runtime.limit(unit.id, Limits(nice=9, open_files=77))
    assert (await room.runtime.observe())[unit.id].limits == Limits(nice=9, open_files=77)

    os.setpriority(os.PRIO_PROCESS, started.pid, 15)  # behind the runtime's back
    assert (await room.runtime.observe())[unit.id].limits.nice == 15


async def test_a_limit_that_came_later_holds_for_the_whole_tree(room: Room) -> None:
    unit = room.unit('sleep 1000 & echo $! >"$0/child"; exec sleep 1000')
    started = await room.runtime.start(unit, "hash")
    await until(lambda: room.written("child"))
    await room.runtime.limit(unit.id, Limits(cpu_percent=20, nice=3))
    assert os.getpriority(os.PRIO_PROCESS, int(room.written("child"))) == 3
    if room.way == "supervisord-cgroups":
        for pid in (started.pid, int(room.written("child"))):
            lines = [line.split(":") for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
            limiting = [path for _, controllers, path in lines if "cpu" in controllers.split(",")]
            limiting = limiting or [path for _, controllers, path in lines if not controllers]
            assert all("streamsd-" in path for path in limiting)
    with pytest.raises(RuntimeFault) as refused:
        await room.runtime.limit(UnitId(Address("App", "clock"), "other"), Limits())
    assert refused.value.reason == "NotRunning"


async def test_a_memory_hog_is_killed_alone(room: Room) -> None:
    if room.way != "supervisord-cgroups":
        pytest.skip("memory is limited by control groups")
    hog = room.unit("", role="hog", limits=Limits(memory_bytes=48 * MIB))
    hog = replace(hog, argv=(sys.executable, "-c", "b = bytearray(400 << 20)\nwhile True: pass"))
    other = await room.runtime.start(room.unit("exec sleep 1000"), "hash")
    await room.runtime.start(hog, "hash")
    ended = await next_exit(room.runtime)
    assert ended.id == hog.id
    assert ended.oom
    assert is_alive(other.pid)


async def test_another_controller_adopts_what_runs(room: Room) -> None:
    unit = room.unit("exec sleep 1000")
    started = await room.runtime.start(unit, "hash")
    await room.runtime.close()
    first, second = room.another(), room.another()
    await asyncio.gather(first.connect(), second.connect())
    try:
        assert await first.observe() == await second.observe() == {unit.id: started}
        os.kill(started.pid, signal.SIGTERM)
        assert (await next_exit(first)).exit_code == (await next_exit(second)).exit_code == -signal.SIGTERM
        await room.runtime.connect()  # and the one that let go can come back
        assert list(await room.runtime.observe()) == [unit.id]
    finally:
        await first.close()
        await second.close()


async def test_output_is_logged_privately_and_turned_over(room: Room) -> None:
    script = "i=0; while [ $i -lt 300 ]; do echo line $i; echo error $i >&2; i=$((i+1)); done"
    unit = room.unit(script, log=LogPolicy(max_bytes=2000, keep=2))
    await room.runtime.start(unit, "hash")
    await next_exit(room.runtime)
    logs = sorted(room.settings.log_dir.glob("App.clock.main.log*"))
    assert [path.name for path in logs] == ["App.clock.main.log", "App.clock.main.log.1", "App.clock.main.log.2"]
    for path in logs:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert 0 < path.stat().st_size <= 2000
        assert path.read_bytes().endswith(b"\n")
    assert room.log().endswith(b"line 299\nerror 299\n")


async def test_a_flood_is_cut_counted_and_harms_nobody(room: Room) -> None:
    flood = room.unit("exec cat /dev/zero", role="flood", log=LogPolicy(rate=10_000, max_bytes=50_000, keep=1))
    await room.runtime.start(flood, "hash")
    await until(lambda: b"bytes dropped" in room.log("flood"))
    await room.runtime.start(room.unit("echo heard; exec sleep 1000"), "hash")
    await until(lambda: b"heard" in room.log())
    assert len(room.log("flood")) <= 200_000
    await asyncio.wait_for(room.runtime.stop(flood.id), PATIENCE)


async def test_a_log_directory_that_vanishes_harms_nobody(room: Room) -> None:
    unit = room.unit("while :; do echo tick; sleep 0.02; done")
    started = await room.runtime.start(unit, "hash")
    await until(room.log)
    room.settings.log_dir.rename(room.directory / "gone")
    await asyncio.sleep(0.1)
    assert is_alive(started.pid)
    room.settings.log_dir.mkdir(mode=0o700)
    await until(lambda: b"bytes dropped" in room.log())


async def test_files_and_directories_are_made_anew_at_each_start(room: Room) -> None:
    secret = room.settings.run_dir / "units" / "clock" / "password"
    hook = room.settings.run_dir / "units" / "clock" / "hook"
    unit = room.unit(
        'cat "$0/run/units/clock/password" >"$0/seen"; "$0/run/units/clock/hook"; exec sleep 1000',
        files=(File(secret, Secret("swordfish")), File(hook, "#!/bin/sh\necho ran\n", executable=True)),
        directories=(secret.parent, room.settings.run_dir / "deep" / "er"),
    )
    for times in (1, 2):
        await room.runtime.start(unit, "hash")
        await until(lambda times=times: room.log().count(b"ran") == times)
        assert room.written("seen") == "swordfish"
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        assert stat.S_IMODE(hook.stat().st_mode) == 0o700
        for directory in (secret.parent, room.settings.run_dir / "deep" / "er"):
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert sorted(path.name for path in secret.parent.iterdir()) == ["hook", "password"]
        await room.runtime.stop(unit.id)
        secret.write_text("tampered with")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
async def test_a_unit_runs_as_its_user_who_owns_what_is_his(room: Room) -> None:
    nobody = pwd.getpwnam("nobody")
    mine = room.settings.run_dir / "units" / "clock"
    unit = room.unit(
        f'cat {mine}/password; echo; id -u; id -G; echo "$HOME"; touch {mine}/made; exec sleep 1000',
        user="nobody",
        files=(File(mine / "password", Secret("swordfish")),),
        directories=(mine,),
        stop=StopPolicy(((signal.SIGTERM, 5.0),)),
    )
    room.directory.chmod(0o711)
    started = await room.runtime.start(unit, "hash")
    await until((mine / "made").exists)
    await until(lambda: room.log().count(b"\n") >= 4)  # what was written is on its way through supervisord
    groups = " ".join(str(g) for g in os.getgrouplist("nobody", nobody.pw_gid))
    assert room.log().decode().split("\n")[:4] == ["swordfish", str(nobody.pw_uid), groups, nobody.pw_dir]
    assert (mine / "password").stat().st_uid == nobody.pw_uid
    assert (await room.runtime.observe())[unit.id].pid == started.pid
    await asyncio.wait_for(room.runtime.stop(unit.id), PATIENCE)
    assert not is_alive(started.pid)


async def test_many_start_and_end_at_once(room: Room) -> None:
    units = [room.unit("exec sleep 1000", role=f"n{number}") for number in range(150)]
    await asyncio.gather(*(room.runtime.start(unit, "hash") for unit in units))
    observed = await room.runtime.observe()
    assert set(observed) == {unit.id for unit in units}
    for unit in observed.values():
        os.kill(unit.pid, signal.SIGKILL)
    assert {(await next_exit(room.runtime)).id for _ in units} == set(observed)


async def test_shutdown_ends_everything_and_connect_begins_anew(room: Room) -> None:
    started = await room.runtime.start(room.unit("exec sleep 1000"), "hash")
    old = room.runtime.pid
    await room.runtime.shutdown()
    assert not is_alive(started.pid)
    assert not is_alive(old)
    await room.runtime.shutdown()  # nothing there: nothing to do
    with pytest.raises(RuntimeFault) as refused:
        await room.runtime.observe()
    assert refused.value.reason == "RuntimeLost"
    await room.runtime.connect()
    assert await room.runtime.observe() == {}
