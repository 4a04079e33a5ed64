"""A flow of several processes: starts them, speaks for them, and ends them together.

The processes are forked from this one, which holds the compiled flow and no messages. They are a Bytewax cluster: when
one ends, the others cannot go on. So the group ends as one, and whoever supervises it starts it as one; what was not
stored is done again. The parent answers requests and writes the report for all; its death is theirs.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

from streamsd.core.diagnostics import ProblemsError, dotted
from streamsd.core.report import JsonValue, Report
from streamsd.flow.asking import ask
from streamsd.flow.spec.flow import FlowSpec
from streamsd.flow.split import digest, joined, split
from streamsd.flow.taps import summed
from streamsd.programs.flow.board import Board, Column
from streamsd.programs.flow.control import Control
from streamsd.programs.flow.letters import Cabinet
from streamsd.programs.flow.life import GRACE, asleep
from streamsd.programs.flow.member import Member
from streamsd.programs.flow.peers import free_addresses
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


class Group:
    """Runs the processes of one flow. `run` returns the exit code, as `Runner.run` does."""

    def __init__(self, spec: FlowSpec, setting: Setting) -> None:
        self.spec = spec
        self.setting = setting
        self._live = digest(split(spec)[1])
        self._stopping = threading.Event()
        self._asked = 0.0
        self._failure: tuple[str, str] | None = None
        self._prepared: Prepared | None = None
        self._board = Board(spec.processes)
        self._pids: list[int] = []
        self._ended: dict[int, int] = {}
        self._sockets = Path()
        self._asking = ThreadPoolExecutor(max_workers=4 * spec.processes, thread_name_prefix="ask")
        self._told: dict[int, Mapping[str, Any]] = {}
        self._lock = threading.Lock()

    def run(self) -> int:
        widen_limits()
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        self._sockets = Path(tempfile.mkdtemp(prefix="streamsd-flow-"))
        control: Control | None = None
        try:
            try:
                refused = self._prepare()
            except InUse as fault:
                return self._fail("FlowFailed", f"InUse: {fault}")
            handover = self._start() if refused is None else None
            # Threads come after the forks.
            if self.setting.control:
                control = Control(self.setting.control, self._handle)
                control.start()
            return self._refuse(*refused) if refused else self._stay(handover or Path())
        finally:
            self._end_all()
            if control:
                control.close()
            shutil.rmtree(self._sockets, ignore_errors=True)
            if self._prepared:
                if not self.setting.linger:
                    self._prepared.tell_letters()
                self._prepared.store.close()

    def _prepare(self) -> tuple[str, str] | None:
        try:
            self._prepared = prepare(self.spec, self.setting)
        except ProblemsError as fault:
            return "InvalidSpec", "; ".join(f"{dotted(p.path)}: {p.message}" for p in fault.problems)
        except Mismatch as fault:
            return "StateMismatch", str(fault)
        return None

    def _refuse(self, reason: str, message: str) -> int:
        """Say what is wrong, and stay until stopped: starting again would not help."""
        log("flow-refused", reason=reason, message=message)
        self._failure = (reason, message)
        beat = 0
        while self.setting.linger and not asleep(self._stopping, 1.0 if beat else 0.0):
            beat += 1
            self._report(beat)
        return 2

    # --- the processes

    def _start(self) -> Path:
        assert self._prepared is not None
        store, of = self._prepared.store, self.spec.processes
        handover, addresses = store.handover(), free_addresses(of)
        driver_of(self.setting)  # what it imports is shared
        gc.collect()
        gc.freeze()
        for number in range(of):
            member = Member(number, of, store.run, store.ever, self._board, addresses, handover)
            parent = os.getpid()
            pid = os.fork()
            if pid == 0:
                os._exit(self._be(member, parent))
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
                control=self._socket(member.number),
                linger=self.setting.linger,
                around=self.setting.around,
            )
            return Runner(self.spec, setting, self._prepared, member).run()
        except BaseException as fault:  # noqa: BLE001  # nothing of the parent's must run in this process
            log("flow-failed", error=type(fault).__name__, message=str(fault))
            member.fail("FlowFailed", f"{type(fault).__name__}: {fault}")
            return 1

    def _socket(self, number: int) -> Path:
        return self._sockets / str(number)

    def _reap(self) -> None:
        for number, pid in enumerate(self._pids):
            if number not in self._ended:
                found, status = os.waitpid(pid, os.WNOHANG)
                if found:
                    self._ended[number] = os.waitstatus_to_exitcode(status)

    def _end_all(self) -> None:
        for number, pid in enumerate(self._pids):
            if number not in self._ended:
                os.kill(pid, signal.SIGKILL)
                self._ended[number] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _stay(self, handover: Path) -> int:
        """Until all have ended, or one too early."""
        watch = Watch(self._board, self._pids, time.monotonic())
        threading.Thread(target=self._report_on, name="report", daemon=True).start()
        tidy = False
        while len(self._ended) < len(self._pids):
            self._reap()
            if any(code != 0 for code in self._ended.values()):
                return self._broken(handover)
            if self._stopping.is_set():
                if time.monotonic() - self._asked > GRACE + self.spec.epoch_seconds + 3:
                    log("flow-killed", message="a sink did not answer until the end")
                    self._end_all()
                    break
            else:
                stalled = watch.look(time.monotonic(), self._ended)
                if stalled:
                    return self._fail("GroupStalled", stalled)
            if not tidy and self._board.all(Column.READY):
                tidy = True
                shutil.rmtree(handover, ignore_errors=True)
                handover.mkdir(mode=0o700)
            time.sleep(0.02)
        log("flow-stopped", name=self.setting.name)
        return 0

    def _broken(self, handover: Path) -> int:
        """One has ended before its time: so do the others, and each may say what it has seen."""
        end = time.monotonic() + _LAST_WORDS
        while len(self._ended) < len(self._pids) and time.monotonic() < end:
            self._reap()
            time.sleep(0.01)
        before = dict(self._ended)
        self._end_all()
        if self._stopping.is_set():
            log("flow-stopped", name=self.setting.name)
            return 0
        for number in self._ended:
            path = handover / f"failed-{number}"
            if path.exists():
                reason, message = json.loads(path.read_text())
                refused = before.get(number) == 2
                return self._refuse(reason, message) if refused else self._fail(reason, message)
        killed = [f"process {number} was ended by signal {-code}" for number, code in before.items() if code < 0]
        return self._fail("ProcessGone", killed[0] if killed else "a process ended")

    def _fail(self, reason: str, message: str) -> int:
        self._failure = (reason, message)
        log("flow-group-failed", reason=reason, message=message)
        self._end_all()
        self._report(self._beat())
        return 1

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self._stopping.is_set():
            self._asked = time.monotonic()
            self._stopping.set()
            self._board.put(0, Column.STOPPING, 1)

    # --- requests

    def _ask_all(self, request: Mapping[str, Any], timeout: float) -> list[Mapping[str, Any]]:
        """Every process's answer; one that gives none is an error in words."""

        def one(number: int) -> Mapping[str, Any]:
            try:
                return ask(self._socket(number), request, timeout)
            except (OSError, ValueError) as fault:
                return {"error": f"process {number} does not answer: {fault}"}

        return list(self._asking.map(one, range(len(self._pids))))

    def _handle(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        match request.get("do"):
            case "status":
                self._look()
                return {"ok": True, "live": self._live, "observed": self._observed()}
            case "patch":
                return self._patch(request.get("live"))
            case "tap":
                return self._tap(request)
            case "dead":
                return {"ok": True, **self._cabinet().summary(int(request.get("count", 10)))}
            case "replay":
                return self._replay()
            case "stop":
                self._on_signal(signal.SIGTERM, None)
                return {"ok": True}
            case other:
                return {"error": f"unknown request {other!r}"}

    def _patch(self, live: Any) -> Mapping[str, Any]:
        """All take it, each between two batches of its own, or it is told which did not."""
        with self._lock:
            answers = self._ask_all({"do": "patch", "live": live}, 60.0)
            wrong = next((answer for answer in answers if not answer.get("ok")), None)
            if wrong is not None:
                return wrong
            self.spec = joined(split(self.spec)[0], live)
            self._live = digest(live)
        log("flow-patched", live=self._live)
        self._look()
        self._report(self._beat())
        return {"ok": True, "live": self._live}

    def _tap(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        answers = self._ask_all(request, 100.0)
        seen = [answer for answer in answers if answer.get("ok")]
        return summed(seen, int(request.get("count", 10))) if seen else answers[0]

    def _cabinet(self) -> Cabinet:
        assert self._prepared is not None
        return self._prepared.cabinet

    def _replay(self) -> Mapping[str, Any]:
        """Each process takes the letters of its own sources."""
        cabinet = self._cabinet()
        last = None
        for place, _, _ in cabinet.open_letters():
            last = place
        if last is None:
            return {"ok": True, "replayed": 0, "left": 0}
        answers = self._ask_all({"do": "replay", "until": list(last)}, 100.0)
        wrong = next((answer for answer in answers if not answer.get("ok")), None)
        if wrong is not None:
            return wrong
        cabinet.set_mark(last)
        return {"ok": True, "replayed": sum(a["replayed"] for a in answers), "left": answers[0]["left"]}

    # --- the report

    def _look(self) -> None:
        for number, answer in enumerate(self._ask_all({"do": "status"}, 3.0)):
            if answer.get("ok"):
                self._told[number] = answer

    def _report_on(self) -> None:
        while self._failure is None and len(self._ended) < len(self._pids):
            self._look()
            if self._failure is None:
                self._report(self._beat())
            time.sleep(1.0)

    def _beat(self) -> int:
        return sum(self._board.column(Column.BEAT))

    def _observed(self) -> dict[str, JsonValue]:
        told = [self._told[number]["observed"] for number in sorted(self._told)]
        made = together(told)
        made["live"] = self._live
        made["processes"] = [
            {"process": number, "pid": pid, "messages": _messages(self._told.get(number))}
            for number, pid in enumerate(self._pids)
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

    def _report(self, beat: int) -> None:
        if self.setting.report is None:
            return
        reason, message = self._trouble()
        report = Report(
            ready=self._failure is None and self._board.all(Column.READY),
            beat=beat,
            degraded=bool(reason),
            reason=reason,
            message=message,
            observed=self._observed(),
        )
        publish(self.setting.report, report)


def _messages(told: Mapping[str, Any] | None) -> int:
    sources: Sequence[Mapping[str, Any]] = list(told["observed"].get("sources", {}).values()) if told else []
    return sum(source["messages"] for source in sources)
