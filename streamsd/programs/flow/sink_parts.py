"""The parts that the sinks of a flow are to Bytewax: one for each sink, or one for each process that writes to it."""

from __future__ import annotations

from streamsd.flow.layout import Layout
from streamsd.flow.plan import FlowPlan

DEAD = "dead"
"""The dead letters: written by the first process."""
_NONE = "none"
"""Of a process that writes to no sink: there too the end of an epoch is told."""


def part_of(layout: Layout, sink: str, process: int) -> str:
    """What a sink is called in the stored state, as a process writes to it."""
    return f"sink {sink}" if layout.sink(sink) is not None else f"sink {sink}@{process}"


def sink_of(part: str) -> str:
    return part.removeprefix("sink ").partition("@")[0]


def writer_of(layout: Layout, part: str) -> int:
    """The process that writes to a part."""
    if part == DEAD:
        return 0
    place = layout.sink(sink_of(part))
    return int(part.rpartition("@")[2]) if place is None else place


def parts_of(layout: Layout, plan: FlowPlan, process: int) -> list[str]:
    """The parts that a process writes; at least one."""
    names = [name for name in plan.sinks if layout.sink(name) in (None, process)]
    parts = [*([DEAD] if process == 0 else []), *(part_of(layout, name, process) for name in names)]
    return parts or [f"{_NONE}@{process}"]


def is_none(part: str) -> bool:
    """Whether nothing is written there."""
    return part.startswith(f"{_NONE}@")
