"""What the parts of the compiler share: the flow being compiled, its plan so far, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from streamsd.core.diagnostics import FieldPath, Problem
from streamsd.flow.expressions.source import ExpressionError
from streamsd.flow.loops import LoopBuilder
from streamsd.flow.outputs import ADDRESSED
from streamsd.flow.packages import PACKAGES
from streamsd.flow.plan import FlowPlan, Stage
from streamsd.flow.seals import KeyFault, Missing
from streamsd.flow.spec.flow import FlowSpec
from streamsd.flow.standing import Standing
from streamsd.flow.taps import Tap
from streamsd.flow.types import Type

T = TypeVar("T")


class Draft:
    """`rows`: the fields of what goes to the sinks, None while or where they are not known. `told`: the flow's own
    steps were looked at once, for the first source. `shape`: of the steps with memory, for FlowPlan.state_shape. `tap`:
    who wants to look into it, and where."""

    def __init__(self, spec: FlowSpec, standing: Standing, base: Path, tap: Tap | None = None) -> None:
        self.tap = tap
        self.spec = spec
        self.standing = standing
        self.base = base
        self.problems: list[Problem] = []
        self.plan = FlowPlan(spec, standing=standing)
        self.shape: list[Any] = []
        self.rows: dict[str, Type] | None = None
        self.told = False

    def wrong(self, code: str, path: FieldPath, message: str, hint: str = "") -> None:
        self.problems.append(Problem(code, message, hint, path))

    def fault(self, path: FieldPath, fault: ExpressionError, text: str) -> None:
        self.problems.extend(fault.problems(text, path))

    def tell_once(self, known: int) -> None:
        """Forget problems behind the first `known` ones that were told before."""
        self.problems[known:] = [p for p in self.problems[known:] if p not in self.problems[:known]]

    def note(self, place: str, does: str, builder: LoopBuilder) -> None:
        self.plan.stages.append(Stage(place, does, builder.schema()))

    def look(self, place: str, builder: LoopBuilder) -> None:
        """Where somebody wants to look in, let them."""
        if self.tap is not None and self.tap.place == place:
            self.tap.write(builder.row, builder.writer, builder.pool)

    def sealing(self, make: Callable[[], T], path: FieldPath, key: FieldPath) -> T | None:
        """What `make` makes of a key at `path`; None, and a problem, when it cannot."""
        try:
            return make()
        except KeyFault as fault:
            self.wrong("flow-key", (*path, *key), str(fault), "`openssl rand -hex 32` makes one")
        except Missing:
            self.problems.append(PACKAGES["aes-gcm"].missing("aes-gcm", (*path, "method")))
        return None

    def needs_own_loop(self) -> bool:
        return self.tap is not None or any(
            sink.when is not None or sink.steps or sink.transport in ADDRESSED for sink in self.spec.all_sinks.values()
        )
