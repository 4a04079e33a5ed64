"""A flow in this process, or one process of several: compiles it, runs it, reports, answers, stops on a signal."""

from __future__ import annotations

import gc
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from streamsd.core.diagnostics import ProblemsError, dotted
from streamsd.core.report import JsonValue, Report
from streamsd.flow.layout import Layout
from streamsd.flow.packages import BYTEWAX
from streamsd.flow.spec.flow import FlowSpec
from streamsd.flow.taps import RESULTS
from streamsd.programs.flow.board import Column
from streamsd.programs.flow.changes import Changes
from streamsd.programs.flow.control import Control
from streamsd.programs.flow.disk import await_room, disk_fault, unwritable
from streamsd.programs.flow.durable import StateDamaged, damaged
from streamsd.programs.flow.ends import Place, intake_of, outlet_of
from streamsd.programs.flow.engine import Engine
from streamsd.programs.flow.letters import Cabinet
from streamsd.programs.flow.life import Life, Stopping, asleep, on_stop
from streamsd.programs.flow.member import Member
from streamsd.programs.flow.prepared import Prepared, Setting, prepare, widen_limits
from streamsd.programs.flow.replay import replay
from streamsd.programs.flow.sinks.file import FileOutlet
from streamsd.programs.flow.store import InUse, Mismatch, Store
from streamsd.programs.flow.telling import log, publish

_EPOCH_LATE = 10.0
"""Seconds beyond an epoch after which a flow that does not store its state is called degraded."""


_QUIET = 2
"""Looks, each 0.2 s, at which all processes have stored everything and this one has not left yet. In 5 of 30 stops of
two processes each waited in Bytewax for the other until it was killed (measured)."""
_STALLED = 5.0
"""Seconds that a step of the operator's own may take before it is told."""
_PROGRESS = 10.0
"""Seconds between two words of a long run in the foreground."""


class Runner:
    """Runs one flow, or as one of several processes its part of it. `run` returns the exit code: 0 ended or stopped, 1
    failed, 2 the spec or the state is wrong, 3 another process of the flow is gone."""

    def __init__(
        self, spec: FlowSpec, setting: Setting, prepared: Prepared | None = None, member: Member | None = None
    ) -> None:
        self.spec = spec
        self.setting = setting
        self.life = Life()
        self._changes = Changes(spec, setting.base, lambda: self._complete)
        self._prepared = prepared
        self._member = member
        self._ready = False
        self._failure: tuple[str, str] | None = None
        self._complete = False
        self._engine: Engine | None = None
        self._progressed = time.monotonic()
        self._reporting = threading.Lock()
        self._report_wanted = threading.Event()

    # --- the whole course

    def run(self) -> int:
        # Short turns of the interpreter's lock: a client's thread must not hold up the flow's for 5 ms.
        sys.setswitchinterval(0.0005)
        widen_limits()
        on_stop(self._stop)
        control = Control(self.setting.control, self._handle) if self.setting.control else None
        self._report()  # who is told that we listen finds what we have live
        if control:
            control.start()
        try:
            return self._run()
        finally:
            if control:
                control.close()
            if self._prepared and self._member is None:
                if not self.setting.linger:
                    self._prepared.tell_letters()
                self._prepared.store.close()

    def _run(self) -> int:
        try:
            self._prepared = prepared = self._prepared or prepare(self.spec, self.setting, self.life.stopping)
            engine = self._build(prepared)
        except ProblemsError as fault:
            return self._refuse("InvalidSpec", "; ".join(f"{dotted(p.path)}: {p.message}" for p in fault.problems))
        except Mismatch as fault:
            return self._refuse("StateMismatch", str(fault))
        except InUse as fault:
            return 0 if self.life.stopping.is_set() else self._failed(fault)
        except (StateDamaged, sqlite3.Error) as fault:
            return self._failed(fault)
        except OSError as fault:
            if not disk_fault(fault):
                raise
            return self._failed(fault)
        self._engine = engine
        threading.Thread(target=self._report_on, name="report", daemon=True).start()
        if self._member is not None:
            threading.Thread(target=self._pulse, args=(engine, self._member), name="pulse", daemon=True).start()
        return self._drive(engine, prepared.store)

    def _refuse(self, reason: str, message: str) -> int:
        """Say what is wrong, and stay until stopped: starting again would not help."""
        log("flow-refused", reason=reason, message=message)
        self._failure = (reason, message)
        self._report()
        if self.setting.linger:
            while not asleep(self.life.stopping, 1.0):
                self._wait_on()
        return 2

    def _build(self, prepared: Prepared) -> Engine:
        setting, plan, store = self.setting, prepared.plan, prepared.store
        member = self._member or Member.alone(store.run, store.ever)
        layout = Layout(plan.spec)
        place = Place(setting.name, setting.base, store.state, self.life, layout, member.number, setting.around)
        intakes = {name: intake_of(plan.sources[name], place) for name in layout.sources(member.number)}
        outlets = {
            name: outlet_of(sink, place)
            for name, sink in plan.sinks.items()
            if layout.sink(name) in (None, member.number)
        }
        # Private: they hold messages whole, whatever is in them.
        letters = FileOutlet(prepared.letters, self.spec.dead_letter.max_size.bytes, 1, self.life, mode=0o600)
        return Engine(plan, prepared.standing, intakes, outlets, letters, self.life, member, prepared.sinks)

    def _pulse(self, engine: Engine, member: Member) -> None:
        """Tell the others that this process lives and what it does, and hear that the flow is to stop."""
        while True:
            member.tell(Column.BEAT, self.life.beat)
            member.tell(Column.EPOCHS, engine.figures.epochs)
            member.tell(Column.INSIDE, int(engine.at_work))
            member.tell(Column.TURNS, engine.turns)
            member.tell(Column.PULSE, time.monotonic_ns() // 1_000_000)
            if any(member.board.column(Column.STOPPING)) and not self.life.stopping.is_set():
                self._stop()
            time.sleep(0.1)

    def _drive(self, engine: Engine, store: Store) -> int:
        """Run until the end. The flow has a thread of its own: this one takes the signals."""
        outcome: list[BaseException] = []

        drive = driver_of(self.setting)

        def work() -> None:
            try:
                drive(engine, store.recovery, self.spec.epoch_seconds)
            except BaseException as fault:  # noqa: BLE001  # whatever ends the flow is told by the thread that waits
                outcome.append(fault)

        gc.collect()
        gc.freeze()
        # Rows hold no cycles: the collector only costs pauses. It still runs, but seldom.
        gc.set_threshold(50_000, 20, 100)
        thread = threading.Thread(target=work, name="flow", daemon=True)
        thread.start()
        self._ready = True
        log("flow-started", name=self.setting.name)
        quiet = 0
        while thread.is_alive():
            thread.join(0.2)
            quiet = quiet + 1 if engine.all_quiet else 0
            if quiet > _QUIET:
                break  # Bytewax waits for another process, which has left
            if self.life.overdue(self.spec.epoch_seconds):
                # What holds it up may do so for ever: it ends as after a crash, with the state of before.
                log("flow-killed", message=": ".join(filter(None, self._trouble())) or "the flow did not end in time")
                return self._cut_short()
        engine.close()
        if outcome:
            fault = engine.fault or outcome[0]
            if self._member is not None and engine.fault is None and not self.life.stopping.is_set():
                log("flow-abandoned", message="another process of the flow is gone")
                return 3
            stopping = isinstance(_cause(fault), Stopping)
            if not stopping and (engine.fault or self._member is None):
                return self._failed(fault)
            if stopping and self._member is None:
                return self._cut_short()
        if not self.life.stopping.is_set():
            self._complete = True
            log("flow-complete", **engine.figures.observed())
            self._report()
            if self.setting.linger:
                while not asleep(self.life.stopping, 1.0):
                    self._wait_on()
        log("flow-stopped", name=self.setting.name)
        self._report()
        return 0

    def _cut_short(self) -> int:
        """It was stopped while something held it up: it ends as after a crash."""
        again = "is done again from the state that was stored" if self.setting.state else "is lost: no state is kept"
        log("flow-cut-short", message=f"what came in and is not with the sinks {again}")
        self._report()
        return 0 if self.setting.linger else 1

    def _failed(self, fault: BaseException) -> int:
        cause = _cause(fault)
        if isinstance(cause, StateDamaged):
            told = damaged(cause, self.spec.recovery.generation)
            if self._member is not None:
                self._member.fail(*told)
                return 2
            return self._refuse(*told)
        if words := disk_fault(cause):
            return self._out_of_room(words)
        self._failure = ("FlowFailed", f"{type(cause).__name__}: {cause}")
        log("flow-failed", error=type(cause).__name__, message=str(cause))
        self._ready = False
        self._report()
        if self._member is not None:
            self._member.fail(*self._failure)
        return 1

    def _out_of_room(self, words: str) -> int:
        """The disk of the state is full, or may not be written to. Bytewax ends with it; what was stored is whole. Wait
        here until a start has a chance; of several processes their parent waits."""
        state = self._prepared.store.state if self._prepared else self.setting.state or Path(tempfile.gettempdir())
        self._failure = unwritable(state, words)
        log("flow-failed", reason=self._failure[0], message=self._failure[1])
        self._ready = False
        self._report()
        if self._member is not None:
            self._member.fail(*self._failure)
        elif self.setting.linger:
            await_room(state, self.life.stopping, self._wait_on)
        return 1

    def _wait_on(self) -> None:
        self.life.beat += 1
        self._report()

    def _stop(self) -> None:
        self.life.stop()
        self._changes.hurry()
        if self._member is not None:
            self._member.tell(Column.STOPPING, 1)

    # --- requests

    def _handle(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        match request.get("do"):
            case "status":
                trouble = self._failure or self._trouble()
                return {"ok": True, "live": self._changes.live, "observed": self._observed(), "trouble": trouble}
            case "patch":
                return self._patch(request)
            case "tap":
                return self._tap(request)
            case "dead":
                return {"ok": True, **self._cabinet().summary(int(request.get("count", 10)))}
            case "replay":
                return self._replay(request.get("until"))
            case "stop":
                self._stop()
                return {"ok": True}
            case other:
                return {"error": f"unknown request {other!r}"}

    def _patch(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        engine, live = self._engine, request.get("live")
        if engine is None:
            if self._member is not None:
                self._member.tell(Column.VOTE, -request["number"])
            return {"error": "the flow does not run"}
        changes = self._changes
        answer = changes.patch(engine, live) if self._member is None else changes.vote(engine, live, request["number"])
        self.spec = changes.spec
        self._report()
        return answer

    def _cabinet(self) -> Cabinet:
        assert self._prepared is not None
        return self._prepared.cabinet

    def _replay(self, until: Any) -> Mapping[str, Any]:
        engine = self._engine
        if engine is None or self._complete:
            return {"error": "the flow does not run, or is at its end"}
        return replay(engine, self._cabinet(), until)

    def _tap(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        engine = self._engine
        if engine is None or self._complete:
            return {"error": "the flow does not run, or is at its end"}
        place = str(request.get("place") or RESULTS)
        return self._changes.tap(engine, place, int(request.get("count", 10)), float(request.get("seconds", 5.0)))

    # --- the report

    def _report_on(self) -> None:
        told = ("", "")
        while not self._complete and self._failure is None:
            self._report()
            trouble = self._trouble()
            if trouble != told:
                told = trouble
                log("flow-degraded", reason=trouble[0], message=trouble[1]) if trouble[0] else log("flow-mended")
            self._progress()
            self._report_wanted.wait(1.0)
            engine = self._engine
            for table in engine.standing.tables() if engine else ():
                if table.refresh():
                    log("table-read", rows=len(table.rows))

    def _progress(self) -> None:
        """Of a long run in the foreground: how far it is, every ten seconds."""
        if self.setting.linger or self._engine is None or self._member is not None:
            return
        # Rates are of what was seen at the looks before.
        sources, now = self._engine.observed()["sources"], time.monotonic()
        if now - self._progressed < _PROGRESS:
            return
        self._progressed = now
        assert isinstance(sources, dict)
        for name, one in sources.items():
            if isinstance(one, dict):
                log("flow-progress", source=name, **{k: one[k] for k in ("messages", "rate", "time_left") if k in one})

    def _observed(self) -> dict[str, JsonValue]:
        made: dict[str, JsonValue] = {"live": self._changes.live}
        if self._engine is not None:
            made |= self._engine.observed()
        made["complete"] = self._complete
        return made

    def _report(self) -> None:
        if self.setting.report is None:
            return
        with self._reporting:  # what is newer is written later
            reason, message = self._failure or self._trouble()
            report = Report(
                ready=self._ready and self._failure is None,
                beat=self.life.beat,
                degraded=bool(reason),
                reason=reason,
                message=message,
                observed=self._observed(),
            )
            publish(self.setting.report, report)

    def _trouble(self) -> tuple[str, str]:
        """What does not go well now, or nothing."""
        engine = self._engine
        if engine is None or self._complete:
            return "", ""
        faults = engine.faults()
        if faults:
            return faults[0]
        stalled = engine.standing.stalled(_STALLED)
        if stalled is not None:
            return "StepStalled", f"{stalled[0]} has not returned for {stalled[1]:.0f} s, and holds everything up"
        age = time.monotonic() - engine.figures.stored_at
        if age > self.spec.epoch_seconds + _EPOCH_LATE:
            return "EpochLate", f"the state was stored {age:.0f} s ago: a sink or step holds everything up"
        return "", ""


def driver_of(setting: Setting) -> Callable[[Engine, Path, float], None]:
    """What runs an engine: Bytewax, where it is."""
    if setting.own_loop or not BYTEWAX.there:
        from streamsd.programs.flow import loop

        return loop.run
    from streamsd.programs.flow import graph

    return graph.run


def _cause(fault: BaseException) -> BaseException:
    """Bytewax wraps what our code raised."""
    while fault.__cause__ is not None and not isinstance(fault, StateDamaged):
        fault = fault.__cause__
    return fault
