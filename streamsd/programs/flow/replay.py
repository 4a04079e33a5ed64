"""Dead letters, processed once more by the flow that runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from streamsd.programs.flow.engine import Engine
from streamsd.programs.flow.letters import Cabinet

_PATIENCE = 30.0
"""Seconds beyond two epochs within which the results are to be stored."""


def replay(engine: Engine, cabinet: Cabinet, until: Any) -> Mapping[str, Any]:
    """The answer to the request. Letters count as replayed when what came of them is stored; those that fail again are
    new letters. `left`: those that are no message of a source, or were cut. `until`: one of several processes takes the
    letters of its own sources up to there, and somebody else keeps count."""
    by_source: dict[str, list[bytes]] = {}
    last, count, left = None, 0, 0
    for place, found, raw in cabinet.open_letters():
        last = place
        source = str(found.get("source", ""))
        if source not in engine.plan.sources or "cut_from" in found:
            left += 1
        elif engine.layout.owner(source, "") == engine.member.number:
            by_source.setdefault(source, []).append(raw)
            count += 1
        if until is not None and list(place) == until:
            break
    # Two more epochs: the one that runs may have taken its state before the messages came.
    goal = engine.figures.epochs + 2
    for source, messages in by_source.items():
        engine.replay(source, messages)
    end = time.monotonic() + engine.epoch * 2 + _PATIENCE
    while by_source and engine.figures.epochs < goal:
        if time.monotonic() > end or engine.life.stopping.wait(0.02):
            return {"error": "the flow did not store the results in time: the letters may be replayed again"}
    if last is not None and until is None:
        cabinet.set_mark(last)
    return {"ok": True, "replayed": count, "left": left}
