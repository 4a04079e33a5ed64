"""A flow of several processes: starts them, speaks for them, and ends them together.

The processes are forked from this one, which holds the compiled flow and no messages. They are a Bytewax cluster: when
one ends, the others cannot go on. So the group ends as one, and whoever supervises it starts it as one; what was not
stored is done again. The parent answers requests and writes the report for all; its death is theirs.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import shutil
import signal
import sqlite3
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from streamsd.core.diagnostics import ProblemsError, dotted
from streamsd.core.report import JsonValue, Report
from streamsd.flow.spec.flow import FlowSpec
from streamsd.programs.flow.board import Board, Column
from streamsd.programs.flow.control import Control
from streamsd.programs.flow.coordinator import Coordinator
from streamsd.programs.flow.disk import UNWRITABLE, await_room, disk_fault, refusal, unwritable
from streamsd.programs.flow.durable import StateDamaged, damaged
from streamsd.programs.flow.letters import Cabinet
from streamsd.programs.flow.life import Life, asleep, on_stop
from streamsd.programs.flow.member import Member, Words
from streamsd.programs.flow.peers import held_addresses
from streamsd.programs.flow.prepared import Prepared, Setting, prepare, widen_limits
from streamsd.programs.flow.runner import Runner, driver_of
from streamsd.programs.flow.store import InUse, Mismatch
from streamsd.programs.flow.sums import together
from streamsd.programs.flow.telling import log, number_log, publish
from streamsd.programs.flow.watch import Watch

_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG."""
_LAST_WORDS = 1.0
"""Seconds in which the others may end by themselves when one has ended, and say what they have seen."""
_GONE_WITHIN = 5.0
"""Seconds in which a process that was killed is gone; one that the kernel holds may stay."""


class Group:
    """Runs the processes of one flow. `run` returns the exit code, as `Runner.run` does."""

    def __init__(self, spec: FlowSpec, setting: Setting) -> None:
        self.spec = spec
        self.setting = setting
        self._life = Life()
        self._failure: tuple[str, str] | None = None
        self._prepared: Prepared | None = None
        self._board = Board(spec.processes)
        self._pids: list[int] = []
        self._words = [Words() for _ in range(spec.processes)]
        self._ended: dict[int, int] = {}
        self._sockets = Path(tempfile.mkdtemp(prefix="streamsd-flow-"))
        self._coordinator = Coordinator(spec, self._board, self._sockets, self._gone)
        self._told: dict[int, Mapping[str, Any]] = {}
        self._reporting = threading.Lock()

    def run(self) -> int:
        widen_limits()
        on_stop(self._stop)
        control: Control | None = None
        try:
            with contextlib.ExitStack() as ports:
                refused = handover = None
                try:
                    refused = self._prepare()
                    if refused is None and not self._life.stopping.is_set():
                        handover = self._start(ports.enter_context(held_addresses(self.spec.processes)))
                except InUse as fault:
                    return 0 if self._life.stopping.is_set() else self._fail("FlowFailed", f"InUse: {fault}")
                except (OSError, sqlite3.Error) as fault:
                    if not disk_fault(fault):
                        raise
                    self._failure = unwritable(self._state, disk_fault(fault))
                # Threads come after the forks.
                if self.setting.control:
                    control = Control(self.setting.control, self._handle)
                    control.start()
                if refused is not None:
                    return self._refuse(*refused)
                if self._failure is not None:
                    return self._out_of_room(*self._failure)
                return self._stay(handover) if handover is not None else 0
        finally:
            self._end_all()
            if control:
                control.close()
            shutil.rmtree(self._sockets, ignore_errors=True)
            if self._prepared:
                if not self.setting.linger:
                    self._prepared.tell_letters()
                self._prepared.store.close()

    @property
    def _state(self) -> Path:
        known = self._prepared.store.state if self._prepared else self.setting.state
        return known or Path(tempfile.gettempdir())

    def _prepare(self) -> tuple[str, str] | None:
        try:
            self._prepared = prepare(self.spec, self.setting, self._life.stopping)
        except ProblemsError as fault:
            return "InvalidSpec", "; ".join(f"{dotted(p.path)}: {p.message}" for p in fault.problems)
        except Mismatch as fault:
            return "StateMismatch", str(fault)
        except StateDamaged as fault:
            return damaged(fault, self.spec.recovery.generation)
        return None

    def _refuse(self, reason: str, message: str) -> int:
        """Say what is wrong, and stay until stopped: starting again would not help."""
        log("flow-refused", reason=reason, message=message)
        self._failure = (reason, message)
        if self.setting.linger:
            self._report()
            while not asleep(self._life.stopping, 1.0):
                self._wait_on()
        return 2

    def _out_of_room(self, reason: str, message: str) -> int:
        """The disk of the state is full, or may not be written to: wait here until a start has a chance. The processes
        have ended, and what was stored is whole."""
        self._fail(reason, message)
        if self.setting.linger:
            await_room(self._state, self._life.stopping, self._wait_on)
        return 1

    def _wait_on(self) -> None:
        self._life.beat += 1
        self._report()

    # --- the processes

    def _start(self, addresses: Sequence[str]) -> Path:
        assert self._prepared is not None
        store, of = self._prepared.store, self.spec.processes
        handover = store.handover()
        driver_of(self.setting)  # what it imports is shared
        gc.collect()
        gc.freeze()
        for number in range(of):
            member = Member(number, of, store.run, store.ever, self._board, addresses, handover, self._words[number])
            parent = os.getpid()
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    code = self._be(member, parent)
                finally:
                    os._exit(code)  # whatever happens: what the parent has to do is not for this process
            self._pids.append(pid)
        log("flow-group-started", name=self.setting.name, pids=self._pids)
        return handover

    def _be(self, member: Member, parent: int) -> int:
        """In the forked process: run. It dies with its parent."""
        try:
            ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
            if os.getppid() != parent:
                return 3
            number_log(member.number)
            setting = Setting(
                self.setting.name,
                self.setting.base,
                self.setting.state,
                control=self._coordinator.socket(member.number),
                linger=self.setting.linger,
                around=self.setting.around,
            )
            return Runner(self.spec, setting, self._prepared, member).run()
        except BaseException as fault:  # noqa: BLE001  # nothing of the parent's must run in this process
            log("flow-failed", error=type(fault).__name__, message=str(fault))
            member.fail("FlowFailed", f"{type(fault).__name__}: {fault}")
            return 1

    def _gone(self, number: int) -> bool:
        """Whether a process has ended. Of any thread."""
        if number in self._ended or number >= len(self._pids):
            return True
        try:
            return os.waitid(os.P_PID, self._pids[number], os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:  # it was reaped a moment ago
            return True

    def _reap(self) -> bool:
        """Whether all have ended."""
        for number, pid in enumerate(self._pids):
            if number not in self._ended:
                found, status = os.waitpid(pid, os.WNOHANG)
                if found:
                    self._ended[number] = os.waitstatus_to_exitcode(status)
        return len(self._ended) == len(self._pids)

    def _end_all(self) -> None:
        """First all are killed: one that the kernel holds, such as in a disk that hangs, holds no other up."""
        for number, pid in enumerate(self._pids):
            if number not in self._ended:
                os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + _GONE_WITHIN
        while not self._reap():
            if time.monotonic() > end:
                left = [pid for number, pid in enumerate(self._pids) if number not in self._ended]
                log("flow-processes-left", message="the kernel does not end them", pids=left)
                return
            time.sleep(0.002)

    def _stay(self, handover: Path) -> int:
        """Until all have ended, or one too early."""
        watch = Watch(self._board, self._pids, time.monotonic())
        threading.Thread(target=self._report_on, name="report", daemon=True).start()
        tidy = False
        while not self._reap():
            if any(code != 0 for code in self._ended.values()):
                return self._broken()
            if self._life.stopping.is_set():
                if self._life.overdue(self.spec.epoch_seconds):
                    log("flow-killed", message=": ".join(filter(None, self._trouble())) or "it did not end in time")
                    break
            else:
                stalled = watch.look(time.monotonic(), self._ended)
                if stalled:
                    return self._fail("GroupStalled", stalled)
            if not tidy and self._board.all(Column.READY):
                tidy = True
                shutil.rmtree(handover, ignore_errors=True)
            time.sleep(0.02)
        if any(code != 0 for code in self._ended.values()):
            return self._broken()
        log("flow-stopped", name=self.setting.name)
        return 0

    def _broken(self) -> int:
        """One has ended before its time: so do the others, and each may say what it has seen."""
        end = time.monotonic() + _LAST_WORDS
        while not self._reap() and time.monotonic() < end:
            time.sleep(0.01)
        before = dict(self._ended)
        self._end_all()
        if self._life.stopping.is_set():
            log("flow-stopped", name=self.setting.name)
            return 0
        for number, code in before.items():
            words = self._words[number].read()
            if words is not None:
                return self._end_with(*words, refused=code == 2)
        # Of a fault of its recovery store Bytewax says nothing at all in a cluster.
        no_room = refusal(self._state)
        if no_room:
            return self._out_of_room(*unwritable(self._state, no_room))
        killed = [f"process {number} was ended by signal {-code}" for number, code in before.items() if code < 0]
        return self._fail("ProcessGone", killed[0] if killed else "a process ended")

    def _end_with(self, reason: str, message: str, refused: bool) -> int:
        if refused:
            return self._refuse(reason, message)
        return self._out_of_room(reason, message) if reason == UNWRITABLE else self._fail(reason, message)

    def _fail(self, reason: str, message: str) -> int:
        self._failure = (reason, message)
        log("flow-group-failed", reason=reason, message=message)
        self._end_all()
        self._report()
        return 1

    def _stop(self) -> None:
        self._life.stop()
        self._board.put(0, Column.STOPPING, 1)

    # --- requests

    def _handle(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        match request.get("do"):
            case "status":
                self._look()
                return {"ok": True, "live": self._coordinator.live, "observed": self._observed()}
            case "patch":
                return self._patch(request.get("live"))
            case "tap":
                return self._coordinator.tap(request)
            case "dead":
                return {"ok": True, **self._cabinet().summary(int(request.get("count", 10)))}
            case "replay":
                return self._coordinator.replay(self._cabinet())
            case "stop":
                self._stop()
                return {"ok": True}
            case other:
                return {"error": f"unknown request {other!r}"}

    def _patch(self, live: Any) -> Mapping[str, Any]:
        answer = self._coordinator.patch(live)
        self._look()
        self._report()
        return answer

    def _cabinet(self) -> Cabinet:
        assert self._prepared is not None
        return self._prepared.cabinet

    # --- the report

    def _look(self) -> None:
        for number, answer in enumerate(self._coordinator.ask_all({"do": "status"}, 3.0)):
            if answer.get("ok"):
                self._told[number] = answer

    def _report_on(self) -> None:
        while self._failure is None and len(self._ended) < len(self._pids):
            self._look()
            if self._failure is None:
                self._report()
            time.sleep(1.0)

    def _observed(self) -> dict[str, JsonValue]:
        told = [self._told[number]["observed"] for number in sorted(self._told)]
        made = together(told)
        made["live"] = self._coordinator.live
        made["processes"] = [
            {"process": number, "pid": pid, "messages": _messages(self._told.get(number))}
            for number, pid in enumerate(self._pids)
            if number not in self._ended
        ]
        return made

    def _trouble(self) -> tuple[str, str]:
        if self._failure is not None:
            return self._failure
        for number in sorted(self._told):
            reason, message = self._told[number]["trouble"]
            if reason:
                return reason, message
        return "", ""

    def _report(self) -> None:
        if self.setting.report is None:
            return
        with self._reporting:  # what is newer is written later
            reason, message = self._trouble()
            report = Report(
                ready=self._failure is None and self._board.all(Column.READY),
                beat=sum(self._board.column(Column.BEAT)) + self._life.beat,
                degraded=bool(reason),
                reason=reason,
                message=message,
                observed=self._observed(),
            )
            publish(self.setting.report, report)


def _messages(told: Mapping[str, Any] | None) -> int:
    sources: Sequence[Mapping[str, Any]] = list(told["observed"].get("sources", {}).values()) if told else []
    return sum(source["messages"] for source in sources)
