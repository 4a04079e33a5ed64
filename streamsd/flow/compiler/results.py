"""Compiles the steps behind a window or join up to the last batch among them: they see the results of all keys, once,
before these go to the sinks, and what waits in their batches is a state of its own."""

from __future__ import annotations

from streamsd.core.diagnostics import FieldPath
from streamsd.flow.compiler.draft import Draft
from streamsd.flow.loops import LoopBuilder
from streamsd.flow.spec.steps import Step


class ResultsCompiler:
    def __init__(self, draft: Draft) -> None:
        self.draft = draft

    def compile(self, after: tuple[Step, ...], offset: int) -> int:
        """`after`: the steps behind the window, of which the first is the flow's step `offset`. Returns how many are
        done here: none, where there is no batch."""
        draft = self.draft
        count = max((place for place, step in enumerate(after, 1) if step.batch is not None), default=0)
        if not count:
            return 0
        builder = LoopBuilder(draft.rows, draft.standing, draft.problems, draft.base)
        batches = 0
        for index, step in enumerate(after[:count], offset):
            path: FieldPath = ("steps", index)
            if step.batch is not None:
                # By its order among these, so that steps without memory can come and go live.
                name = f"results batch.{batches}"
                batches += 1
                draft.shape.append(["batch", name, step.batch.as_])
                builder.batch(step.batch, draft.standing.results.named(name, step.batch))
            elif step.does not in ("window", "join", "key", "dedupe"):  # those are told of elsewhere
                builder.step(step, path)
            draft.note(f"step {index + 1}", step.does, builder)
            draft.look(f"step {index + 1}", builder)
        draft.rows = builder.schema()
        builder.append()
        if not draft.problems:
            draft.plan.results, _ = builder.build()
        return count
