"""The units inside supervisord: one Subprocess each, in one group, with our own life cycle.

A unit goes spawning -> running -> (stopping) -> draining -> ended. `draining` is when its main process has ended and
the rest of its tree has not; only an ended unit is reported as exited. supervisord's loop does the reaping and calls
`finish`; everything else here is driven by timers and pipes.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from supervisor.options import ProcessConfig
from supervisor.process import Subprocess
from supervisor.states import ProcessStates

from streamsd.runtime.cgroups import Cgroups, Place
from streamsd.runtime.procfs import read_process
from streamsd.runtime.supervisord.logs import LogFile, LogPipe, Watch
from streamsd.runtime.supervisord.measure import change_limits, measured_limits
from streamsd.runtime.supervisord.spawn import Spawner, exec_fault
from streamsd.runtime.supervisord.timers import Timer, Timers
from streamsd.runtime.supervisord.trees import GroupTree, Scanner, TaggedTree, Tree
from streamsd.runtime.supervisord.wire import Fault, LimitsWire, StartWire, UnitWire

if TYPE_CHECKING:
    from streamsd.runtime.supervisord.group import UnitGroup

_LEFTOVERS_GRACE = 2.0
"""Seconds that the rest of a tree gets after its main process obeyed a stop signal, at most the signal's own time:
a shell dies at once while its ffmpeg still writes the index."""
_KILL_PATIENCE = 10.0
"""Seconds after SIGKILL until a stop is reported as failed: what lives then hangs in the kernel."""
_SPAWN_PATIENCE = 60.0
"""Seconds between fork and exec: a working directory on a dead server can hold a child there."""

Reply = Callable[[UnitWire | Fault | None], None]


class Phase(Enum):
    SPAWNING = auto()
    RUNNING = auto()
    STOPPING = auto()
    DRAINING = auto()
    ENDED = auto()


_STATES = {
    Phase.SPAWNING: ProcessStates.STARTING,
    Phase.RUNNING: ProcessStates.RUNNING,
    Phase.STOPPING: ProcessStates.STOPPING,
    Phase.DRAINING: ProcessStates.STOPPING,
    Phase.ENDED: ProcessStates.EXITED,
}


@dataclass(frozen=True, slots=True)
class Host:
    """What every unit shares."""

    log_dir: Path
    spawner: Spawner
    cgroups: Cgroups
    scanner: Scanner
    timers: Timers
    watch: Watch
    sink: int
    """/dev/null, open for writing."""
    exited: Callable[[UnitWire], None]


class UnitProcess(Subprocess):
    """One unit, from its start to the moment it is forgotten."""

    def __init__(self, group: UnitGroup, start: StartWire, host: Host, started: Reply) -> None:
        """Spawns at once; `started` is called when the exec has worked, or not. Fault when it cannot even fork."""
        super().__init__(_config(group, start["slug"], host.log_dir))  # type: ignore[no-untyped-call]  # supervisor has no types
        self.group = group  # type: ignore[assignment]  # as above: None is what it says before one is set
        self._siblings = group
        self.slug = start["slug"]
        self._unit = start["unit"]
        self._hash = start["spec_hash"]
        self._program = start["argv"][0] if start["argv"] else ""
        self._user = start["user"]
        self._limits = start["limits"]
        self._steps = start["stop"]
        self._host = host
        self._started_reply: Reply | None = started
        self._stopped: list[Reply] = []
        self._exit_code: int | None = None
        self._oom = False
        self._step = -1
        self._step_ends = 0.0
        self._timer: Timer | None = None
        self._killed_at: float | None = None
        self._spawn_fault: Fault | None = None
        self._place = _place(host.cgroups, start)
        try:
            entrances = self._place.entrances if self._place else ()
            spawned = host.spawner.spawn(host.spawner.program(start, entrances))
        except Fault:
            self._remove_place()
            raise
        self.pid = self._main = spawned.pid
        self.laststart = int(time.time())
        process = read_process(self.pid)
        self._began = process.started if process else time.clock_gettime(time.CLOCK_BOOTTIME)
        self._tree: Tree = GroupTree(self._place) if self._place else TaggedTree(host.scanner, self._unit, spawned.pid)
        log = LogFile(host.log_dir / f"{self.slug}.log", start["log"])
        self._log = LogPipe(spawned.output, log, start["log"]["rate"], host.watch, host.timers, host.sink)
        self._status = spawned.status
        host.watch.add(spawned.status, self._exec_known)
        group.options.pidhistory[spawned.pid] = self
        self._enter(Phase.SPAWNING)
        self._late = host.timers.call(_SPAWN_PATIENCE, self._spawn_late)

    __eq__ = object.__eq__  # supervisor's compares priorities
    __hash__ = object.__hash__

    @property
    def phase(self) -> Phase:
        return self._phase

    def observed(self) -> UnitWire:
        """The unit as it is now, limits measured."""
        alive = self._phase in (Phase.SPAWNING, Phase.RUNNING, Phase.STOPPING)
        return {
            "unit": self._unit,
            "state": _WORDS[self._phase],
            "pid": self._main,
            "started": self._began,
            "spec_hash": self._hash,
            "exit_code": self._exit_code,
            "oom": self._oom,
            "limits": measured_limits(self._main, self._place, self._limits) if alive else self._limits,
        }

    def change_limits(self, limits: LimitsWire) -> None:
        """Fault: NotRunning, LimitRefused."""
        if self._phase not in (Phase.SPAWNING, Phase.RUNNING, Phase.STOPPING):
            raise Fault("NotRunning", f"{self._unit} does not run")
        if self._place is not None and limits["cpu_percent"] is not None and self._place.cpu is None:
            self._place = self._host.cgroups.with_cpu(self._place, self.slug)
            self._tree = GroupTree(self._place)
        change_limits(self._tree.members(), self._place, limits)
        self._limits = {**limits, "open_files": self._limits["open_files"]}

    def end(self, reply: Reply | None) -> None:
        """Begin to stop, unless that is under way; `reply` follows when nothing of the tree is left."""
        if self._phase is Phase.ENDED:
            self._forget()
            if reply is not None:
                reply(None)
            return
        if reply is not None:
            self._stopped.append(reply)
        if self._phase in (Phase.SPAWNING, Phase.RUNNING):
            self._enter(Phase.STOPPING)
            self._next_step()

    # What supervisord's loop and its own interface call.

    def finish(self, pid: int, sts: int) -> None:
        """The main process was reaped.

        The rest is done by a timer: supervisord's loop does not survive a fault in here; it survives one there. Its
        round begins at once, which also reaps what is left of more than the hundred that supervisord reaps in one.
        """
        self._exit_code = os.waitstatus_to_exitcode(sts)
        self.exitstatus = self._exit_code
        self.laststop = int(time.time())
        self.pid = 0
        self._host.timers.call(0.0, self._main_ended)

    def transition(self) -> None:
        """Nothing changes with time alone: timers do that."""

    def stop(self) -> None:
        """supervisorctl stop, and supervisord's own shutdown."""
        self.end(None)

    def spawn(self) -> None:
        """supervisorctl start: refused, for only streamsd knows what to run."""
        self.spawnerr = "streamsd starts its units itself"

    def kill(self, sig: int) -> None:
        self.end(None)

    # Inside.

    def _exec_known(self) -> None:
        """The child has exec'd (the pipe closed), or says why not."""
        if self._status < 0:
            return
        try:
            report = os.read(self._status, 256)
        except BlockingIOError:
            return
        self._host.watch.remove(self._status)
        os.close(self._status)
        self._status = -1
        self._late.cancel()
        if report:
            # It is answered when the child is reaped, so that the unit can be started again at once.
            self._spawn_fault = exec_fault(self._program, self._user, report)
            return
        if self._phase is Phase.SPAWNING:
            self._enter(Phase.RUNNING)
        if self._started_reply is not None:
            self._started_reply(self.observed())
            self._started_reply = None

    def _main_ended(self) -> None:
        self._exec_known()
        asked = self._phase is Phase.STOPPING
        self._enter(Phase.DRAINING)
        self._cancel_timer()
        if asked and self._killed_at is None:
            # It obeyed. What it started may be about to as well: tell those outside its group, and give them a little.
            for member in self._tree.members():
                if _group_of(member) != self._main:
                    _send(member, self._steps[self._step][0])
            grace = min(_LEFTOVERS_GRACE, max(0.0, self._step_ends - time.monotonic()))
            self._await_empty(0.001, time.monotonic() + grace)
        else:
            self._await_empty(0.001, 0.0)

    def _spawn_late(self) -> None:
        self._spawn_fault = Fault("SpawnFailed", f"{self._program} was not reached within {_SPAWN_PATIENCE:g} s")
        self._kill_tree()

    def _next_step(self) -> None:
        self._step += 1
        if self._step >= len(self._steps):
            self._kill_tree()
            return
        number, seconds = self._steps[self._step]
        self._step_ends = time.monotonic() + seconds
        if not _send(-self._main, number):
            _send(self._main, number)  # it has not reached setsid yet: the signal waits for it
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            _send(-self._main, signal.SIGCONT)  # a stopped process cannot obey; systemd does the same
        self._timer = self._host.timers.call(seconds, self._next_step)

    def _kill_tree(self) -> None:
        if self._killed_at is None:
            self._killed_at = time.monotonic()
        if self.pid:
            _send(self.pid, signal.SIGKILL)
        self._tree.kill()

    def _await_empty(self, pause: float, kill_at: float) -> None:
        """Until nothing of the tree is left; kill it from `kill_at` (monotonic) on."""
        self._timer = None
        if not self._tree.members():
            self._ended()
            return
        now = time.monotonic()
        if now >= kill_at:
            self._kill_tree()
            if self._killed_at is not None and now - self._killed_at > _KILL_PATIENCE:
                self._answer_stopped(Fault("StopFailed", f"something of {self._unit} survives SIGKILL"))
        longer = min(0.05, pause * 1.5)
        self._timer = self._host.timers.call(pause, lambda: self._await_empty(longer, kill_at))

    def _ended(self) -> None:
        self._log.close()
        if self._place is not None:
            self._oom = self._exit_code != 0 and self._place.out_of_memory()
        self._enter(Phase.ENDED)
        if self._spawn_fault is not None:
            self._remove_place()
            self._forget()
            if self._started_reply is not None:
                self._started_reply(self._spawn_fault)
            self._answer_stopped(None)
            return
        asked = bool(self._stopped)
        if asked:
            self._forget()
        self._host.exited(self.observed())
        self._remove_place()
        self._answer_stopped(None)

    def _answer_stopped(self, answer: Fault | None) -> None:
        waiting, self._stopped = self._stopped, []
        for reply in waiting:
            reply(answer)

    def _forget(self) -> None:
        self._siblings.forget(self)

    def _remove_place(self) -> None:
        place = self._place
        holder = self._siblings.processes.get(self.slug)
        if holder is not None and holder is not self:
            return  # started anew meanwhile: the place is the new one's
        if place is not None and not place.remove():
            self._host.timers.call(0.05, self._remove_place)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self.change_state(_STATES[phase])  # type: ignore[no-untyped-call]  # supervisor has no types


_WORDS: dict[Phase, Literal["running", "stopping", "exited"]] = {
    Phase.SPAWNING: "running",
    Phase.RUNNING: "running",
    Phase.STOPPING: "stopping",
    Phase.DRAINING: "stopping",
    Phase.ENDED: "exited",
}


def _place(cgroups: Cgroups, start: StartWire) -> Place | None:
    limits = start["limits"]
    place = None
    try:
        place = cgroups.place(start["slug"], with_cpu=limits["cpu_percent"] is not None)
        if place is not None:
            if limits["memory_bytes"] is not None:
                place.limit_memory(limits["memory_bytes"])
            if limits["cpu_percent"] is not None:
                place.limit_cpu(limits["cpu_percent"])
    except OSError as fault:
        if place is not None:
            place.remove()
        raise Fault("SpawnFailed", f"cannot make the control group of {start['unit']}: {fault.strerror}") from None
    return place


def _send(pid: int, number: int) -> bool:
    """Signal a process, or a group (its negative number); False when it is gone or out of reach."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def _config(group: UnitGroup, slug: str, log_dir: Path) -> ProcessConfig:
    """What supervisord's own interface shows of a unit. Our life cycle reads none of it."""
    shown = dict.fromkeys(ProcessConfig.req_param_names)
    shown |= {"name": slug, "command": "", "priority": 999, "stdout_logfile": str(log_dir / f"{slug}.log")}
    shown |= {"startsecs": 0, "autostart": False, "autorestart": False, "exitcodes": [0]}
    return ProcessConfig(group.options, **shown)  # type: ignore[no-untyped-call]  # supervisor has no types
