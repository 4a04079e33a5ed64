"""What is changed in a running flow, and seen of it, from without: live changes, and taps.

In a flow of several processes a change is all or nothing. Each gets ready for it and votes; the parent decides (one
write on the board, `Board.decide`), and each takes it at the next boundary of two batches. Who votes has nothing in the
way any more: what was decided is taken by all that live.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from streamsd.core.diagnostics import ProblemsError, dotted, name_hint
from streamsd.flow.compiler import compile_flow, problems_of
from streamsd.flow.plan import FlowPlan
from streamsd.flow.spec.flow import FlowSpec
from streamsd.flow.split import digest, joined, split
from streamsd.flow.taps import RESULTS, Tap
from streamsd.programs.flow.board import Column
from streamsd.programs.flow.engine import Engine
from streamsd.programs.flow.telling import log

Answer = Mapping[str, Any]
_LATE = "the flow did not take the change in time"


class Refused(Exception):
    """The words of why a change cannot be made."""


class Changes:
    """Of one process. `spec`: what runs; `live`: the digest of what of it is live. `ended`: whether the flow is at its
    end, where it takes nothing in any more: a change is as good as made then."""

    def __init__(self, spec: FlowSpec, base: Path, ended: Callable[[], bool]) -> None:
        self.spec = spec
        self.live = digest(split(spec)[1])
        self._base = base
        self._ended = ended
        self._lock = threading.Lock()
        self._looking: Tap | None = None

    def patch(self, engine: Engine, live: Any) -> Answer:
        """Take a live part in, or say what is wrong with it."""
        self.hurry()
        with self._lock:
            try:
                spec, plan = self._ready(engine, live)
                if not self._ended() and not engine.coming.patch(plan):
                    self._put_back(engine)
                    raise Refused(_LATE)
            except Refused as why:
                return {"error": str(why)}
            return self._made(engine, spec, live)

    def vote(self, engine: Engine, live: Any, number: int) -> Answer:
        """The same in one of several processes: get ready, vote, and do as it is decided."""
        member = engine.member
        self.hurry()
        with self._lock:
            try:
                spec, plan = self._ready(engine, live)
                if not engine.coming.stage(plan, number) and not self._ended():
                    self._put_back(engine)
                    raise Refused(_LATE)
            except Refused as why:
                member.tell(Column.VOTE, -number)
                return {"error": str(why)}
            member.tell(Column.VOTE, number)
            # The parent always decides, and ends together with this process.
            while abs(member.board.verdict) < number:
                time.sleep(0.002)
            if member.board.verdict != number:
                engine.coming.unstage()
                self._put_back(engine)
                return {"error": "another process of the flow does not take the change"}
            while not engine.coming.settled(0.1) and not self._ended():
                pass  # it is in the middle of a batch
            member.tell(Column.CHANGED, number)
            return self._made(engine, spec, live)

    def hurry(self) -> None:
        """Who looks in gets what there is."""
        if self._looking is not None:
            self._looking.full.set()

    def _ready(self, engine: Engine, live: Any) -> tuple[FlowSpec, FlowPlan]:
        """The flow as it would be. Refused when that is none, or none that its state fits."""
        try:
            spec = joined(split(self.spec)[0], live)
        except (ValidationError, KeyError, TypeError, AttributeError) as fault:
            raise Refused(f"not a flow: {fault}") from None
        problems = problems_of(spec, self._base)
        if problems:
            raise Refused(_words(ProblemsError(problems)))
        try:
            plan = compile_flow(spec, engine.standing, self._base)
        except ProblemsError as fault:  # a file changed a moment ago
            self._put_back(engine)
            raise Refused(_words(fault)) from None
        if split(spec)[0] != split(self.spec)[0] or plan.state_shape != engine.plan.state_shape:
            self._put_back(engine)
            raise Refused("the change would change the state's shape: windows, keys and dedupes need a restart")
        return spec, plan

    def _put_back(self, engine: Engine) -> None:
        """What outlives a plan was made ready for one that is refused."""
        engine.coming.put(compile_flow(self.spec, engine.standing, self._base))

    def _made(self, engine: Engine, spec: FlowSpec, live: Any) -> Answer:
        engine.figures.patched += 1
        self.spec = spec
        self.live = digest(live)
        log("flow-patched", live=self.live)
        return {"ok": True, "live": self.live}

    def tap(self, engine: Engine, place: str, count: int, seconds: float) -> Answer:
        """The next messages at a place (as `explain` names them), and how many a second there were meanwhile."""
        stages = {stage.place: stage.does for stage in engine.plan.stages}
        if place not in stages and place != RESULTS:
            return {"error": f"there is no place {place!r} in this flow; {name_hint(place, stages, 'places')}"}
        tap = Tap(place, count)
        with self._lock:
            self._looking = tap
            if stages.get(place, RESULTS) in (RESULTS, "window", "join"):
                began = time.monotonic()
                engine.tap = tap
                tap.full.wait(min(seconds, 60.0))
                engine.tap = None
            else:
                before = engine.coming.over(engine.plan)
                try:
                    if not engine.coming.patch(compile_flow(self.spec, engine.standing, self._base, tap)):
                        return {"error": "the flow is too busy to be looked into"}
                    began = time.monotonic()
                    tap.full.wait(min(seconds, 60.0))
                finally:
                    engine.coming.put(before)
        passed = max(time.monotonic() - began, 1e-3)
        return {"ok": True, "rows": tap.rows[:count], "rate": round(tap.total / passed, 1)}


def _words(fault: ProblemsError) -> str:
    return "; ".join(f"{dotted(p.path)}: {p.message}" for p in fault.problems)
