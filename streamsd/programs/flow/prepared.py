"""What is made before a flow runs: its plan, and the state that it goes on from."""

from __future__ import annotations

import resource
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from streamsd.flow.compiler import compile_flow
from streamsd.flow.layout import Layout
from streamsd.flow.plan import FlowPlan
from streamsd.flow.spec.flow import FlowSpec
from streamsd.flow.standing import Standing
from streamsd.programs.flow.ends import Around
from streamsd.programs.flow.letters import Cabinet
from streamsd.programs.flow.sink_parts import parts_of
from streamsd.programs.flow.store import Store
from streamsd.programs.flow.telling import log


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a flow runs. `state`: a directory that outlives restarts; None: nothing does. `linger`: stay when the
    sources are at their end, as a supervised process does. `own_loop`: where Bytewax is installed too."""

    name: str
    base: Path
    state: Path | None
    report: Path | None = None
    control: Path | None = None
    linger: bool = False
    reset: bool = False
    around: Around = Around()
    own_loop: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is made before a flow runs; processes that are forked then share it. `sinks`: all parts of sinks that the
    stored state may know."""

    plan: FlowPlan
    standing: Standing
    store: Store
    sinks: Sequence[str]

    @property
    def letters(self) -> Path:
        """The dead letters' file."""
        path = self.plan.spec.dead_letter.path
        return self.standing.base / path if path else self.store.letters

    @property
    def cabinet(self) -> Cabinet:
        """The letters themselves."""
        return Cabinet.of(self.letters, self.store.state)

    def tell_letters(self) -> None:
        """At the end of a run in the foreground: how many letters there are, and where. Under the daemon `status` and
        `flow dlq` tell."""
        reasons = self.cabinet.summary(1)["reasons"]
        if reasons:
            log("dead-letters", count=sum(reasons.values()), reasons=reasons, file=str(self.letters))


def prepare(spec: FlowSpec, setting: Setting, stopping: threading.Event) -> Prepared:
    """ProblemsError when the spec is wrong, Mismatch when the state does not fit it, InUse when another run has it,
    OSError when it cannot be written."""
    standing = Standing(setting.base)
    plan = compile_flow(spec, standing, setting.base)
    store = Store(spec, setting.state, plan.state_shape, setting.reset, stopping)
    layout = Layout(spec)
    parts = [part for process in range(layout.of) for part in parts_of(layout, plan, process)]
    return Prepared(plan, standing, store, store.sink_parts(parts))


def widen_limits() -> None:
    """A thousand connections are a thousand descriptors: as many as the host allows."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
