"""Compiles a flow: from its spec to the functions that run it, or to the problems in it."""

from __future__ import annotations

import json
from pathlib import Path

from streamsd.core.diagnostics import Problem, ProblemsError
from streamsd.flow.compiler.draft import Draft
from streamsd.flow.compiler.keyed import KeyedEnd
from streamsd.flow.compiler.results import ResultsCompiler
from streamsd.flow.compiler.sinks import SinksCompiler
from streamsd.flow.compiler.sources import SourcesCompiler
from streamsd.flow.plan import FlowPlan
from streamsd.flow.spec.flow import FlowSpec
from streamsd.flow.standing import Files, Standing
from streamsd.flow.taps import Tap


def problems_of(spec: FlowSpec, base: Path, files: Files = Files.RUN) -> tuple[Problem, ...]:
    """Everything that is wrong with a flow and can be known before it runs."""
    try:
        compile_flow(spec, Standing(base, files), base)
    except ProblemsError as fault:
        return fault.problems
    return ()


def compile_flow(spec: FlowSpec, standing: Standing, base: Path, tap: Tap | None = None) -> FlowPlan:
    """ProblemsError when something is wrong. `standing` keeps what a live change must not lose. With a `tap` it is the
    flow that was compiled last, seen at a place: nothing of it begins anew."""
    if tap is None:
        standing.renew()
    else:
        standing.again()
    draft = Draft(spec, standing, base, tap)
    place = _place_of_window(draft)
    keyed = KeyedEnd(draft, place) if place is not None else None
    SourcesCompiler(draft, keyed).compile(spec.steps[:place])
    if keyed is not None:
        keyed.finish_join()
    after = 0 if place is None else place + 1
    if place is not None:
        after += ResultsCompiler(draft).compile(spec.steps[after:], after)
    SinksCompiler(draft).compile(() if place is None else spec.steps[after:], after)
    draft.plan.state_shape = json.dumps(draft.shape, sort_keys=True)
    if draft.problems:
        raise ProblemsError(draft.problems)
    return draft.plan


def _place_of_window(draft: Draft) -> int | None:
    places = [i for i, step in enumerate(draft.spec.steps) if step.does in ("window", "join")]
    for extra in places[1:]:
        draft.wrong(
            "flow-step",
            ("steps", extra),
            "a flow has one window or join",
            "send the results to a second flow, such as through a file or a broker",
        )
    place = places[0] if places else None
    for index, step in enumerate(draft.spec.steps):
        if place is not None and index > place and step.does in ("dedupe", "key"):
            draft.wrong("flow-step", ("steps", index), f"{step.does} stands before the window or join")
    if place is None and any(step.key is not None for step in draft.spec.steps):
        at = next(i for i, step in enumerate(draft.spec.steps) if step.key is not None)
        draft.wrong("flow-step", ("steps", at), "no window follows that this key could be for")
    return place
