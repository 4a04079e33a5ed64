"""One flow in this process: reads its spec, compiles it, runs it, reports, takes requests, stops on a signal."""

from __future__ import annotations

import gc
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec
from pydantic import ValidationError

from streamsd.core.diagnostics import ProblemsError, dotted
from streamsd.core.report import JsonValue, Report, write_report
from streamsd.flow.checks import SHAPE_FILE, changed_words, fits
from streamsd.flow.compiler import compile_flow, problems_of
from streamsd.flow.spec.flow import FlowSpec
from streamsd.flow.split import digest, joined, split
from streamsd.flow.standing import Standing
from streamsd.programs.flow.control import Control
from streamsd.programs.flow.ends import Around, Place, intake_of, outlet_of
from streamsd.programs.flow.engine import Engine
from streamsd.programs.flow.journal import JournalDamaged
from streamsd.programs.flow.letters import Cabinet
from streamsd.programs.flow.life import Life, Stopping
from streamsd.programs.flow.sinks.file import FileOutlet

_EPOCH_LATE = 10.0
"""Seconds beyond an epoch after which a flow that does not store its state is called degraded."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a flow runs. `state`: a directory that outlives restarts; None: nothing does. `linger`: stay when the
    sources are at their end, as a supervised process does."""

    name: str
    base: Path
    state: Path | None
    report: Path | None = None
    control: Path | None = None
    linger: bool = False
    reset: bool = False
    around: Around = Around()


class Mismatch(Exception):
    """The stored state is of another shape of the flow."""


def log(event: str, **fields: object) -> None:
    """One JSON object a line, on the standard error: the standard output may be a sink."""
    print(json.dumps({"event": event, **fields}, default=str), file=sys.stderr, flush=True)


class Runner:
    """Runs one flow. `run` returns the exit code: 0 ended or stopped, 1 failed, 2 the spec or the state is wrong."""

    def __init__(self, spec: FlowSpec, setting: Setting) -> None:
        self.spec = spec
        self.setting = setting
        self.life = Life()
        self._live = digest(split(spec)[1])
        self._ready = False
        self._failure: tuple[str, str] | None = None
        self._complete = False
        self._engine: Engine | None = None
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._report_wanted = threading.Event()
        self._temporary: str | None = None

    # --- the whole course

    def run(self) -> int:
        # Short turns of the interpreter's lock: a client's thread must not hold up the flow's for 5 ms.
        sys.setswitchinterval(0.0005)
        # A thousand connections are a thousand descriptors: as many as the host allows.
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        control = Control(self.setting.control, self._handle) if self.setting.control else None
        if control:
            control.start()
        try:
            return self._run()
        finally:
            if control:
                control.close()
            if self._temporary:
                shutil.rmtree(self._temporary, ignore_errors=True)

    def _run(self) -> int:
        try:
            engine = self._build()
        except ProblemsError as fault:
            return self._refuse("InvalidSpec", "; ".join(f"{dotted(p.path)}: {p.message}" for p in fault.problems))
        except Mismatch as fault:
            return self._refuse("StateMismatch", str(fault))
        self._engine = engine
        threading.Thread(target=self._report_on, name="report", daemon=True).start()
        return self._drive(engine)

    def _refuse(self, reason: str, message: str) -> int:
        """Say what is wrong, and stay until stopped: starting again would not help."""
        log("flow-refused", reason=reason, message=message)
        self._failure = (reason, message)
        self._report()
        if self.setting.linger:
            while not self.life.stopping.wait(1.0):
                self.life.beat += 1
                self._report()
        return 2

    def _build(self) -> Engine:
        setting = self.setting
        standing = Standing(setting.base)
        plan = compile_flow(self.spec, standing, setting.base)
        self._store(plan.state_shape)
        place = Place(setting.name, setting.base, self._state, self.life, setting.around)
        intakes = {name: intake_of(source, place) for name, source in plan.sources.items()}
        outlets = {name: outlet_of(sink, place) for name, sink in plan.sinks.items()}
        return Engine(plan, standing, intakes, outlets, self._letters(), self.life, self._sinks_ever(outlets))

    def _sinks_ever(self, now: Iterable[str]) -> list[str]:
        """The sinks that this generation of the state has known: Bytewax refuses a state of one that there is not."""
        written = self._recovery / "sinks.json"
        ever = set(json.loads(written.read_text())) if written.exists() else set()
        if not ever >= set(now):
            part = written.with_suffix(".part")
            part.write_text(json.dumps(sorted(ever | set(now))))
            os.replace(part, written)
        return sorted(ever)

    def _letters(self) -> FileOutlet:
        dead = self.spec.dead_letter
        path = self.setting.base / dead.path if dead.path else self._state / "dead.ndjson"
        self._letters_path = path
        # Private: they hold messages whole, whatever is in them.
        return FileOutlet(path, dead.max_size.bytes, 1, self.life, mode=0o600)

    def _store(self, shape: str) -> None:
        """Find the recovery store of this generation, or begin one."""
        recovery = self.spec.recovery
        if self.setting.state is None or not recovery.enabled:
            self._temporary = tempfile.mkdtemp(prefix="streamsd-flow-")
        self._state = self.setting.state or Path(self._temporary or "")
        root = Path(self._temporary) if self._temporary else self._state
        self._recovery = root / f"generation-{recovery.generation}"
        if self.setting.reset:
            shutil.rmtree(self._recovery, ignore_errors=True)
        self._recovery.mkdir(parents=True, exist_ok=True, mode=0o700)
        written = self._recovery / SHAPE_FILE
        if written.exists() and not fits(written.read_text(), shape):
            words = changed_words(written.read_text(), shape)
            raise Mismatch(
                f"{words}: the state that is stored does not fit; "
                f"set recovery.generation to {recovery.generation + 1} to begin with an empty state"
            )
        part = written.with_suffix(".part")
        part.write_text(shape)
        os.replace(part, written)

    def _drive(self, engine: Engine) -> int:
        """Run until the end. The flow has a thread of its own: this one takes the signals."""
        outcome: list[BaseException] = []

        def work() -> None:
            try:
                engine.run(self._recovery, self.spec.recovery.epoch.seconds)
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
        while thread.is_alive():
            thread.join(0.2)
        engine.close()
        if outcome and not isinstance(_cause(outcome[0]), Stopping):
            return self._failed(outcome[0])
        if not self.life.stopping.is_set():
            self._complete = True
            log("flow-complete", **engine.figures.observed())
            self._report()
            if self.setting.linger:
                while not self.life.stopping.wait(1.0):
                    self.life.beat += 1
                    self._report()
        log("flow-stopped", name=self.setting.name)
        self._report()
        return 0

    def _failed(self, fault: BaseException) -> int:
        cause = _cause(fault)
        if isinstance(cause, JournalDamaged):
            again = self.spec.recovery.generation + 1
            hint = f"set recovery.generation to {again} to begin with an empty state"
            return self._refuse("StateDamaged", f"{cause}; {hint}")
        self._failure = ("FlowFailed", f"{type(cause).__name__}: {cause}")
        log("flow-failed", error=type(cause).__name__, message=str(cause))
        self._ready = False
        self._report()
        return 1

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.life.stop()

    # --- requests

    def _handle(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        match request.get("do"):
            case "status":
                return {"ok": True, "live": self._live, "observed": self._observed()}
            case "patch":
                return self._patch(request.get("live"))
            case "tap":
                return self._tap(int(request.get("count", 10)), float(request.get("seconds", 5.0)))
            case "dead":
                return {"ok": True, **self._cabinet().summary(int(request.get("count", 10)))}
            case "replay":
                return self._replay()
            case "stop":
                self.life.stop()
                return {"ok": True}
            case other:
                return {"error": f"unknown request {other!r}"}

    def _patch(self, live: Any) -> Mapping[str, Any]:
        engine = self._engine
        if engine is None:
            return {"error": "the flow does not run"}
        try:
            spec = joined(split(self.spec)[0], live)
        except (ValidationError, KeyError, TypeError, AttributeError) as fault:
            return {"error": f"not a flow: {fault}"}
        with self._lock:
            problems = problems_of(spec, self.setting.base)
            if problems:
                return {"error": "; ".join(f"{dotted(p.path)}: {p.message}" for p in problems)}
            plan = compile_flow(spec, engine.standing, self.setting.base)
            if split(spec)[0] != split(self.spec)[0] or plan.state_shape != engine.plan.state_shape:
                return {"error": "the change would change the state's shape: windows, keys and dedupes need a restart"}
            # At its end a flow takes nothing in any more: the change is as good as made.
            if not self._complete and not engine.patch(plan):
                return {"error": "the flow did not take the change in time"}
            self.spec = spec
            self._live = digest(live)
        log("flow-patched", live=self._live)
        self._report()
        return {"ok": True, "live": self._live}

    def _cabinet(self) -> Cabinet:
        return Cabinet(self._letters_path, self._state / "replayed.json")

    def _replay(self) -> Mapping[str, Any]:
        """Process dead letters once more. They count as replayed when what came of them is stored; those that fail
        again are new letters. `left`: those that are no message of a source, or were cut."""
        engine = self._engine
        if engine is None or self._complete:
            return {"error": "the flow does not run, or is at its end"}
        cabinet = self._cabinet()
        by_source: dict[str, list[bytes]] = {}
        last, count, left = None, 0, 0
        for place, found, raw in cabinet.open_letters():
            last = place
            source = str(found.get("source", ""))
            if source in engine.plan.sources and "cut_from" not in found:
                by_source.setdefault(source, []).append(raw)
                count += 1
            else:
                left += 1
        # Two more epochs: the one that runs may have taken its state before the messages came.
        goal = engine.figures.epochs + 2
        for source, messages in by_source.items():
            engine.replay(source, messages)
        end = time.monotonic() + self.spec.recovery.epoch.seconds * 2 + 30
        while by_source and engine.figures.epochs < goal:
            if time.monotonic() > end or self.life.stopping.wait(0.02):
                return {"error": "the flow did not store the results in time: the letters may be replayed again"}
        if last is not None:
            cabinet.set_mark(last)
        return {"ok": True, "replayed": count, "left": left}

    def _tap(self, count: int, seconds: float) -> Mapping[str, Any]:
        """The next results, and how many there were meanwhile."""
        engine = self._engine
        if engine is None:
            return {"error": "the flow does not run"}
        taken: list[Any] = []
        total = 0
        full = threading.Event()

        def tap(place: str, rows: Sequence[Any]) -> None:
            nonlocal total
            total += len(rows)
            room = max(0, count - len(taken))
            taken.extend(msgspec.to_builtins(row) for row in rows[:room])
            if len(taken) >= count:
                full.set()

        began = time.monotonic()
        engine.taps.append(tap)
        full.wait(min(seconds, 60.0))
        engine.taps.remove(tap)
        passed = max(time.monotonic() - began, 1e-3)
        return {"ok": True, "rows": taken[:count], "rate": round(total / passed, 1)}

    # --- the report

    def _report_on(self) -> None:
        while not self._complete and self._failure is None:
            self._report()
            self._report_wanted.wait(1.0)
            engine = self._engine
            for table in engine.standing.tables() if engine else ():
                if table.refresh():
                    log("table-read", rows=len(table.rows))

    def _observed(self) -> dict[str, JsonValue]:
        made: dict[str, JsonValue] = {"live": self._live}
        if self._engine is not None:
            made |= self._engine.observed()
        made["complete"] = self._complete
        return made

    def _report(self) -> None:
        if self.setting.report is None:
            return
        reason, message = self._failure or self._trouble()
        report = Report(
            ready=self._ready and self._failure is None,
            beat=self.life.beat,
            degraded=bool(reason),
            reason=reason,
            message=message,
            observed=self._observed(),
        )
        try:
            write_report(self.setting.report, report)
        except OSError as fault:
            log("report-failed", message=str(fault))

    def _trouble(self) -> tuple[str, str]:
        """What does not go well now, or nothing."""
        engine = self._engine
        if engine is None or self._complete:
            return "", ""
        faults = engine.faults()
        if faults:
            return faults[0]
        age = time.monotonic() - engine.figures.stored_at
        if age > self.spec.recovery.epoch.seconds + _EPOCH_LATE:
            return "EpochLate", f"the state was stored {age:.0f} s ago: a sink or step holds everything up"
        return "", ""


def _cause(fault: BaseException) -> BaseException:
    """Bytewax wraps what our code raised."""
    while fault.__cause__ is not None:
        fault = fault.__cause__
    return fault
