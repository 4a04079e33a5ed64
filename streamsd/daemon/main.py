"""The daemon's life: wire, adopt, converge, serve, let go."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import os
import random
import shutil
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TextIO, TypeAlias

import yaml

from streamsd import __version__
from streamsd.core.address import Address
from streamsd.core.clock import SystemClock
from streamsd.core.events import Event
from streamsd.core.service import Refused, Service
from streamsd.core.settings import Settings
from streamsd.daemon.eventlog import EventLog
from streamsd.daemon.notify import Notifier
from streamsd.daemon.profile import Profiles
from streamsd.daemon.service import SAVED, DaemonService
from streamsd.daemon.watcher import Watcher
from streamsd.document.files import Content, read_regular
from streamsd.drivers.ffmpeg.capabilities import bundled
from streamsd.engine.compiler import Compiler
from streamsd.engine.context import HostContext
from streamsd.engine.reconciler import Reconciler
from streamsd.engine.store import Store, digest_key
from streamsd.kinds import load_kinds
from streamsd.runtime.supervisord.runtime import SupervisordRuntime


class Served(Protocol):
    """The running API, which `run` is handed since it stands above the daemon."""

    async def stop(self) -> None: ...


_LOOK_AT_AIR = 1.0
_LOOK_AT_RUN_DIR = 2.0
_GC_THRESHOLD = 20_000
"""New objects between two looks of the garbage collector; Python's 700 is meant for programs without a heap."""

Serve: TypeAlias = Callable[[Service, Settings], Awaitable[Served]]


class AlreadyRunning(Exception):
    """Another daemon has this run directory."""


class RunDirectoryLost(Exception):
    """The run directory was deleted: nobody can reach this daemon any more, and a second one would not know of it."""


async def run(settings: Settings, *, watch: bool, serve: Serve, out: TextIO | None = None) -> int:
    """Run until told to stop. SIGTERM and SIGINT let go and leave everything running; `down` stops everything.
    SIGHUP applies. Returns the exit code. AlreadyRunning when the run directory is another daemon's; RunDirectoryLost
    when it was deleted meanwhile (a cleaner of temporary files does that)."""
    settings.run_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _only_one(settings.pid_file) as is_ours:
        return await _run(settings, watch, serve, out, is_ours)


async def _run(settings: Settings, watch: bool, serve: Serve, out: TextIO | None, is_ours: Callable[[], bool]) -> int:
    clock = SystemClock()
    store = Store(settings.state_dir)
    log = EventLog(store, out)
    registry = load_kinds()
    context = HostContext(settings, {"ffmpeg": _ffmpeg(settings.config)})
    runtime = SupervisordRuntime(settings)

    def discard(address: Address) -> None:
        shutil.rmtree(settings.run_dir / "r" / f"{address.kind}.{address.name}", ignore_errors=True)

    reconciler = Reconciler(
        runtime,
        registry,
        clock=clock,
        chance=random.Random(),
        emit=log.emit,
        discard=discard,
        told=lambda address: store.newest_happening(str(address)),
    )
    compiler = Compiler(registry, context, digest_key(settings.state_dir))
    profiles = Profiles(settings, registry, compiler, store, reconciler.world)
    service = DaemonService(settings, registry, profiles, reconciler, runtime, log, clock, context.release)
    log.emit(Event(clock.now(), "daemon-started", "", {"version": __version__, "pid": os.getpid()}))
    if store.set_aside:
        log.emit(Event(clock.now(), "store-damaged", "", {"kept_as": str(store.set_aside)}))
    if store.in_memory:
        log.emit(Event(clock.now(), "store-unavailable", "", {"reason": store.in_memory}))
    notifier = Notifier()
    await reconciler.start()
    try:
        apply = _Applies(service)
        watcher = Watcher(apply.saved)
        service.files_changed = watcher.watch if watch else lambda files: None
        await _first(service)
        # what a profile comes to stays until the next one: a collector that walks all of it delays an edit
        gc.collect()
        gc.freeze()
        gc.set_threshold(_GC_THRESHOLD, 20, 20)
        server = await serve(service, settings)
        try:
            await _live(service, watcher if watch else None, apply, notifier, is_ours)
        finally:
            notifier.send("STOPPING=1")
            await server.stop()
    finally:
        log.emit(Event(clock.now(), "daemon-stopped", "", {}))
        await reconciler.close()
        store.close()
    return 0


async def _first(service: DaemonService) -> None:
    """The first apply: a bad file leaves what runs alone, and what was good last goes on being kept up."""
    try:
        await service.apply({"holder": "the start of the daemon", "allow_interrupt": True})
    except Refused as refused:
        if refused.answer["error"] != "internal-error":  # else the last good one would fail likewise
            service.accept_last_good()


class _Applies:
    """Applies after saves: one at a time, and never misses the last save."""

    def __init__(self, service: DaemonService) -> None:
        self._service = service
        self._lock = asyncio.Lock()

    async def saved(self) -> None:
        """A file may have changed. One that says what it said before is no apply: that would start again what somebody
        holds stopped, and be in the way of theirs."""
        if await self._service.news():
            await self.now()

    async def now(self) -> None:
        async with self._lock:
            while True:
                try:
                    await self._service.apply({"holder": SAVED})
                except Refused as refused:
                    if refused.answer["error"] == "conflict":
                        await asyncio.sleep(0.2)
                        continue
                    # an invalid profile has told of itself; what would interrupt waits for somebody to say so
                    if refused.answer["error"] in ("would-interrupt", "internal-error"):
                        reason, message = refused.answer["error"], refused.answer["message"]
                        self._service.tell("apply-refused", reason=reason, message=message)
                    if refused.answer["error"] == "would-interrupt":
                        self._service.wait_for_the_air(refused.answer["message"])
                return

    async def off_air(self) -> None:
        """Apply what had to wait, as soon as it need not."""
        while True:
            await asyncio.sleep(_LOOK_AT_AIR)
            if self._service.may_go_on():
                await self.now()


async def _live(
    service: DaemonService,
    watcher: Watcher | None,
    apply: _Applies,
    notifier: Notifier,
    is_ours: Callable[[], bool],
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    tasks: list[asyncio.Task[Any]] = [loop.create_task(service.stopped.wait()), loop.create_task(stop.wait())]
    tasks.append(loop.create_task(service.broken()))
    tasks.append(loop.create_task(_until_lost(is_ours)))
    tasks.append(loop.create_task(apply.off_air()))
    background: set[asyncio.Task[None]] = set()
    if watcher:
        tasks.append(loop.create_task(watcher.run()))
    if notifier.watchdog_seconds:
        tasks.append(loop.create_task(_heartbeat(notifier, notifier.watchdog_seconds)))

    def hup() -> None:
        task = loop.create_task(apply.now())
        background.add(task)
        task.add_done_callback(background.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, hup)
    notifier.send("READY=1", f"MAINPID={os.getpid()}")
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in [*tasks, *background]:
            task.cancel()
        await asyncio.gather(*tasks, *background, return_exceptions=True)


async def _until_lost(is_ours: Callable[[], bool]) -> None:
    while is_ours():  # noqa: ASYNC110  # nothing tells of it: the directory that would is gone
        await asyncio.sleep(_LOOK_AT_RUN_DIR)
    raise RunDirectoryLost("the run directory was deleted; what runs goes on, and is started anew by the next `up`")


async def _heartbeat(notifier: Notifier, seconds: float) -> None:
    while True:
        notifier.send("WATCHDOG=1")
        await asyncio.sleep(seconds)


@contextlib.contextmanager
def _only_one(pid_file: Path) -> Iterator[Callable[[], bool]]:
    """Holds the pid file; gives what says whether it still is the one at that path."""
    fd = os.open(pid_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode().strip()
            raise AlreadyRunning(f"a daemon (pid {holder}) runs with this run directory") from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)

        def is_ours() -> bool:
            try:
                return pid_file.stat().st_ino == os.fstat(fd).st_ino
            except OSError:
                return False

        yield is_ours
        os.ftruncate(fd, 0)
    finally:
        os.close(fd)


def _ffmpeg(config: Path) -> Callable[[], Path | None]:
    """The chosen ffmpeg: `ffmpeg:` of the daemon's settings (`system`, or a path), else the one that comes along."""

    def find() -> Path | None:
        chosen = _setting(config, "ffmpeg")
        if chosen == "system":
            return None
        if chosen:
            return Path(chosen)  # also when it is not there: another ffmpeg than the chosen one would be no answer
        return bundled()

    return find


def _setting(config: Path, key: str) -> str:
    try:
        found = read_regular(config)
        data = yaml.safe_load(found.data) if isinstance(found, Content) else None
    except yaml.YAMLError:
        return ""
    value = data.get(key) if isinstance(data, dict) else None
    return str(value) if value else ""
