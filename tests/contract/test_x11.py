"""The contract of the X11 driver and of the display kind: real servers, real clients."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from streamsd.core.address import Address
from streamsd.core.kind import Compiled, PatchFault, Resource
from streamsd.core.runtime import ObservedUnit, ProcessState
from streamsd.core.settings import Settings
from streamsd.core.unit import XAnswers, XWindow
from streamsd.drivers.x11 import XDisplay
from streamsd.drivers.x11.control import DisplayFault, measure, windows
from streamsd.drivers.x11.numbers import lock_path, server_of
from streamsd.engine.context import HostContext
from streamsd.kinds.display.kind import KIND, SERVER
from streamsd.kinds.display.spec import DisplaySpec
from streamsd.runtime.probes import asker
from tests.contract.run_unit import Running, running, until
from tests.programs_needed import need

ADDRESS = Address("Display", "desk")


def compile_display(tmp_path: Path, **fields: Any) -> tuple[Resource[DisplaySpec], Compiled]:
    settings = Settings(tmp_path / "p.yaml", tmp_path / "state", tmp_path / "run", tmp_path / "c.yaml")
    resource = Resource(ADDRESS, DisplaySpec(**fields))
    context = HostContext(settings, {})
    assert not list(KIND.check(resource, context))
    return resource, KIND.compile(resource, context)


def observed(run: Running) -> dict[str, ObservedUnit]:
    return {SERVER: ObservedUnit(run.unit.id, ProcessState.RUNNING, run.pid, 0.0, "")}


@pytest.fixture
def number() -> int:
    """A display number that nobody has: many tests run at once, so it is drawn."""
    need("Xvfb")
    free = (n for _ in range(1000) if server_of(n := random.randrange(20_000, 50_000)) is None)
    return next(free)


@pytest.fixture
async def desk(tmp_path: Path, number: int) -> AsyncIterator[tuple[Resource[DisplaySpec], Compiled, Running]]:
    resource, compiled = compile_display(tmp_path, number=number, resolution="640x480", max_resolution="1600x1200")
    async with running(compiled.unit(SERVER), tmp_path) as run:
        yield resource, compiled, run


def exported(compiled: Compiled) -> XDisplay:
    assert isinstance(compiled.exports, XDisplay)
    return compiled.exports


async def test_a_display_enters_by_cookie_only_and_listens_on_no_port(desk, tmp_path: Path) -> None:
    _, compiled, run = desk
    display = exported(compiled)
    number = int(display.name[1:])
    assert server_of(number) == run.pid

    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"\xff\xff\0\0\0\0\0\x12MIT-MAGIC-COOKIE-1\0\x10" + bytes(16))
    empty = tmp_path / "empty"
    empty.touch()
    for authority in (wrong, empty):
        answer = await asker(XAnswers(display.name, authority), env={}).ask(run.pid, 30)
        assert not answer.ok
        assert "refuses" in answer.message

    inodes = {os.readlink(link) for link in Path(f"/proc/{run.pid}/fd").iterdir() if link.is_symlink()}
    for table in ("tcp", "tcp6"):
        rows = Path(f"/proc/{run.pid}/net/{table}").read_text().splitlines()[1:]
        assert not [row for row in rows if f"socket:[{row.split()[9]}]" in inodes]
    assert display.cookie.reveal() not in Path(f"/proc/{run.pid}/cmdline").read_text()


async def test_the_resolution_changes_and_server_and_client_stay(desk) -> None:
    resource, compiled, run = desk
    display = exported(compiled)
    client = await asyncio.create_subprocess_exec(
        need("xeyes"), env=dict(os.environ, **display.env), stderr=subprocess.DEVNULL
    )
    try:
        window = asker(XWindow(display.name, display.authority, wm_class="xeyes"), env={})
        await until(lambda: _ok(window, client.pid))
        # the server starts at its largest: what differs is patched
        before = await KIND.observe(resource, compiled, observed(run))
        assert before.live["resolution"] == "1600x1200"
        for fields in (
            {"resolution": "640x480"},
            {"resolution": "1280x720"},
            {"resolution": "720x1200", "dpi": 144},
            {"resolution": "1600x1200"},
            {"resolution": "640x480"},
        ):
            changed = Resource(ADDRESS, DisplaySpec(number=resource.spec.number, max_resolution="1600x1200", **fields))
            wanted = KIND.compile(changed, _context_of(compiled))
            assert wanted.units == compiled.units
            await KIND.patch(changed, wanted, frozenset({"resolution"}))
            after = await KIND.observe(changed, wanted, observed(run))
            assert after.live == {key: part.desired for key, part in wanted.live.items()}
            assert after.observed["resolution"] == fields["resolution"]
        assert run.process.returncode is None
        assert client.returncode is None
        assert [w.wm_class for w in await windows(display, wm_class="XEyes")] == ["XEyes"]
    finally:
        client.kill()
        await client.wait()


async def test_a_size_beyond_the_largest_is_refused_and_changes_nothing(desk) -> None:
    resource, compiled, _ = desk
    too_large = Resource(ADDRESS, DisplaySpec(number=resource.spec.number, resolution="2000x2000"))
    await KIND.patch(resource, compiled, frozenset({"resolution"}))
    with pytest.raises(PatchFault):
        await KIND.patch(too_large, compiled, frozenset({"resolution"}))
    assert str((await measure(exported(compiled))).resolution) == "640x480"


async def test_a_second_server_ends_and_one_after_a_kill_comes_up(desk, tmp_path: Path) -> None:
    _, compiled, run = desk
    unit = compiled.unit(SERVER)
    second = await asyncio.create_subprocess_exec(*unit.argv, stderr=subprocess.DEVNULL)
    assert await asyncio.wait_for(second.wait(), 60) == 1
    run.kill()
    await run.process.wait()
    with pytest.raises(DisplayFault):
        await measure(exported(compiled))
    async with running(unit, tmp_path) as again:
        assert (await measure(exported(compiled))).resolution.width == 1600
        assert await again.stop() == 0
    assert server_of(int(exported(compiled).name[1:])) is None


async def test_what_a_dead_server_left_stops_no_new_one(tmp_path: Path, number: int) -> None:
    lock_path(number).write_text(f"{os.getpid():>10}\n")  # its pid is some other process's by now
    try:
        assert server_of(number) is None
        _, compiled = compile_display(tmp_path, number=number)
        async with running(compiled.unit(SERVER), tmp_path) as run:
            assert server_of(number) == run.pid
            compile_display(tmp_path, number=number)
            assert server_of(number) == run.pid
            assert await run.stop() == 0
    finally:
        lock_path(number).unlink(missing_ok=True)


async def test_a_new_controller_compiles_the_same_display(desk, tmp_path: Path) -> None:
    resource, compiled, _ = desk
    again = KIND.compile(resource, _context_of(compiled))
    assert again == compiled
    cookie = exported(compiled).authority.with_name("cookie")
    assert cookie.stat().st_mode & 0o777 == 0o600


async def test_a_frozen_server_is_told_within_the_timeout(desk) -> None:
    _, compiled, run = desk
    display = exported(compiled)
    probe = asker(XAnswers(display.name, display.authority), env={})
    assert (await probe.ask(run.pid, 30)).ok
    await run.freeze()
    try:
        for _ in range(2):  # over the connection it has, and over a new one
            answer = await probe.ask(run.pid, 0.3)
            assert not answer.ok
            assert "no answer" in answer.message
    finally:
        run.process.send_signal(signal.SIGCONT)
    await until(lambda: _ok(probe, run.pid))


async def _ok(question: Any, pid: int) -> bool:
    return bool((await question.ask(pid, 30)).ok)


def _context_of(compiled: Compiled) -> HostContext:
    run = exported(compiled).authority.parent.parent.parent
    base = run.parent
    return HostContext(Settings(base / "p.yaml", base / "state", run, base / "c.yaml"), {})
