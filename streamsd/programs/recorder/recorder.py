"""Keeping a recording going, whatever happens to its disk."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from streamsd.core.report import JsonValue, Report, write_report
from streamsd.programs.recorder.birth import born
from streamsd.programs.recorder.child import Child, arguments
from streamsd.programs.recorder.faults import Trouble, trouble_of
from streamsd.programs.recorder.pattern import SUFFIX, Pattern
from streamsd.programs.recorder.retention import Retention, recordings, remove

_EVERY = 1.0
_FIRST_EVERY = 0.1
"""Seconds between two looks until there is something to report."""
_SWEEP = 10.0
_BACKOFF = (0.2, 0.5, 1.0, 2.0, 3.0)
_HEALTHY = 10.0
_STALLED = 10.0
_PROVEN = 3.0
"""Seconds a child must write before a fault counts as gone: a full disk takes a few bytes again and again."""
_GRACE = 5.0
_CLUSTER = b"\x1f\x43\xb6\x75"
"""The Matroska ID of what holds frames."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`source` is the socket that the relay hands the stream out at; `name` is unique among the recorders that share a
    root."""

    ffmpeg: str
    source: Path
    pattern: Pattern
    segment_seconds: float
    retention: Retention
    name: str
    report: Path

    @property
    def partial(self) -> Path:
        """Where unfinished segments are: under the root, so that finishing one is a rename."""
        return self.pattern.root / ".partial" / self.name


@dataclass(slots=True)
class Recorder:
    """Runs until `stop`. Its own pid stays while its child comes and goes."""

    settings: Settings
    trouble: Trouble | None = None
    segments: int = 0
    _child: Child | None = None
    _serial: int = 0
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _finished_bytes: int = 0
    _partial_bytes: int = 0
    _moved: float = 0.0
    _last_file: str = ""
    _mark: tuple[object, ...] = ()
    _told: bool = False
    _began: float = field(default_factory=time.monotonic)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        watching = asyncio.ensure_future(self._watch())
        failures = 0
        with contextlib.suppress(OSError):
            # Once, here: a root that vanishes later is a fault (a disk that was unmounted) and is not made anew.
            self.settings.pattern.root.mkdir(parents=True, exist_ok=True)
        while not self._stopping.is_set():
            began = time.monotonic()
            await self._once()
            failures = 0 if time.monotonic() - began > _HEALTHY else failures + 1
            pause = _BACKOFF[min(failures, len(_BACKOFF) - 1)]
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        self._report()

    async def _once(self) -> None:
        """One child, from start to end, and every segment it leaves."""
        trouble = await asyncio.to_thread(self._prepare)
        if trouble:
            self._blame(trouble)
            return
        self._serial += 1
        settings = self.settings
        serial = os.getpid() * 1000 + self._serial
        argv = arguments(settings.ffmpeg, settings.partial, settings.segment_seconds, serial)
        with socket.socket(socket.AF_UNIX) as source:
            try:
                source.connect(str(settings.source))
            except OSError:
                self._blame(Trouble("NoStream", "the stream's relay does not answer"))
                return
            try:
                child = await Child.start(argv, source)
            except OSError as error:
                self._blame(Trouble("ProgramMissing", f"{settings.ffmpeg}: {error.strerror}"))
                return
            await self._attend(child)

    async def _attend(self, child: Child) -> None:
        self._child = child
        stopper = asyncio.ensure_future(self._end_when_stopping(child))
        try:
            async for name in child.finished():
                await asyncio.to_thread(self._keep, self.settings.partial / Path(name).name)
        finally:
            stopper.cancel()
            self._child = None
        self._partial_bytes = 0
        await asyncio.to_thread(self._recover)
        if not self._stopping.is_set() and child.process.returncode != 0 and self.trouble is None:
            self._blame(trouble_of(child.complaints, self.settings.pattern.root))

    async def _end_when_stopping(self, child: Child) -> None:
        await self._stopping.wait()
        await child.end(_GRACE)

    def _prepare(self) -> Trouble | None:
        """Whether the disk takes a file now; what earlier runs left unfinished is finished first."""
        settings = self.settings
        if not settings.pattern.root.is_dir():
            return Trouble("DirectoryMissing", f"{settings.pattern.root} is not there")
        probe = settings.partial / ".writable"
        try:
            settings.partial.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"\0" * 4096)
            probe.unlink()
        except OSError as error:
            with contextlib.suppress(OSError):
                probe.unlink()
            return Trouble.of(error, settings.pattern.root)
        self._recover()
        return None

    def _recover(self) -> None:
        """Finish what a child that is gone left behind: a crash, a kill, a full disk."""
        with contextlib.suppress(OSError):
            for left in sorted(self.settings.partial.glob(f"*{SUFFIX}")):
                self._keep(left)

    def _keep(self, partial: Path) -> None:
        """Give a finished segment its name, atomically and safely on disk; one without a frame is dropped."""
        try:
            size = partial.stat().st_size
            if not _holds_media(partial):
                partial.unlink()
                return
            fd = os.open(partial, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            final = self.settings.pattern.free_name(born(partial))
            final.parent.mkdir(parents=True, exist_ok=True)
            partial.rename(final)
        except OSError as error:
            self._blame(Trouble.of(error, self.settings.pattern.root))
            return
        self.segments += 1
        self._finished_bytes += size
        self._last_file = str(final)
        self._expire()

    def _expire(self) -> None:
        pattern = self.settings.pattern
        try:
            remove(self.settings.retention.expired(recordings(pattern.files()), time.time()), pattern.root)
        except OSError as error:
            self._blame(Trouble.of(error, pattern.root))

    def _blame(self, trouble: Trouble) -> None:
        if trouble != self.trouble:
            print(f"recording-fault: {trouble.reason}: {trouble.message}", file=sys.stderr, flush=True)
        self.trouble = trouble

    async def _watch(self) -> None:
        """Measure and report; notice a directory that vanished under a child that writes on regardless."""
        swept = time.monotonic()
        while True:
            there = await asyncio.to_thread(self._measure)
            if self._child and not there:
                self._child.finish()
            if time.monotonic() - swept > _SWEEP:
                swept = time.monotonic()
                await asyncio.to_thread(self._expire)
            if self._told or self._has_begun():
                self._told = True
                self._report()
            await asyncio.sleep(_EVERY if self._told else _FIRST_EVERY)

    def _has_begun(self) -> bool:
        """Whether there is something to say: the first report ends its start, and until it records it starts. What
        keeps it from that, or a stream that does not come, is said then."""
        recorded = self._finished_bytes + self._partial_bytes > 0
        return recorded or self.trouble is not None or time.monotonic() - self._began > _STALLED

    def _measure(self) -> bool:
        """How much is written, and whether it moves on. False when the directory is gone."""
        partial = self.settings.partial
        if not self._child or not partial.is_dir():
            if self._child:
                self._blame(Trouble("DirectoryMissing", f"{self.settings.pattern.root} vanished"))
            return not self._child
        writing = recordings(partial.glob(f"*{SUFFIX}"))
        self._partial_bytes = sum(r.size for r in writing)
        mark = (self.segments, self._partial_bytes, *(r.path.name for r in writing))
        if writing and mark != self._mark:
            self._moved = time.monotonic()
            if time.monotonic() - self._child.started > _PROVEN:
                self.trouble = None
        self._mark = mark
        return True

    def _report(self) -> None:
        moving = self._child is not None and time.monotonic() - self._moved < _STALLED
        trouble = self.trouble
        if trouble is None and not moving:
            trouble = Trouble("NoStream", "nothing came from the stream for seconds")
        observed: dict[str, JsonValue] = {
            "file": self._last_file,
            "segments": self.segments,
            "bytes": self._finished_bytes + self._partial_bytes,
            "free_bytes": _free(self.settings.pattern.root),
        }
        report = Report(
            ready=trouble is None,
            beat=self._finished_bytes + self._partial_bytes,
            degraded=trouble is not None,
            reason=trouble.reason if trouble else "",
            message=trouble.message if trouble else "",
            observed=observed,
        )
        with contextlib.suppress(OSError):
            write_report(self.settings.report, report)


def _holds_media(path: Path) -> bool:
    """Whether a Matroska file has got as far as its first cluster."""
    with path.open("rb") as file:
        return _CLUSTER in file.read(64 * 1024)


def _free(directory: Path) -> int:
    try:
        stat = os.statvfs(directory)
    except OSError:
        return 0
    return stat.f_bavail * stat.f_frsize
