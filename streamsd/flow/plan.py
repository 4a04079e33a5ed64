"""A compiled flow: the functions that run it, and what people are told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamsd.flow.joins import JoinShard
from streamsd.flow.keyed import KeyedFront
from streamsd.flow.loops import Loop
from streamsd.flow.outputs import Encoder
from streamsd.flow.panes import PaneShard
from streamsd.flow.seals import Opener
from streamsd.flow.sessions import SessionShard
from streamsd.flow.spec.flow import FlowSpec
from streamsd.flow.spec.sinks import Sink
from streamsd.flow.spec.sources import Source
from streamsd.flow.standing import Standing
from streamsd.flow.tails import Ticks
from streamsd.flow.types import Type
from streamsd.flow.watermark import Clock
from streamsd.flow.windows import PaneFront

Shard = PaneShard | SessionShard | JoinShard
Finish = Callable[[list[Any], list[Any], list[Any], int], None]
"""(what shards said, rows to add to, faults to add to, now)."""


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """`loop` takes the source's messages to rows, or into the front. `meta`: it asks for each message's origin.
    `opener`: where messages are sealed."""

    name: str
    spec: Source
    loop: Loop
    meta: bool
    code: str
    opener: Opener | None = None


@dataclass(frozen=True, slots=True)
class SinkPlan:
    """`loop`: what is done for this sink alone; None where rows go to it as they are. `fields`: of what it gets.
    `addressed`: the loop's rows are (address…, row)."""

    name: str
    spec: Sink
    loop: Loop | None
    fields: Mapping[str, Type] | None
    encode: Encoder
    addressed: bool
    code: str


@dataclass(frozen=True, slots=True)
class Keyed:
    """A flow's window or join. `arrival`: its time is that of arrival, so that it moves on by itself."""

    front: PaneFront | KeyedFront
    clock: Clock
    shard: Callable[[], Shard]
    finish: Finish
    arrival: bool
    ticks: Ticks
    code: str


@dataclass(frozen=True, slots=True)
class Stage:
    """For people: what a step leaves. `fields` None: not known before it runs."""

    place: str
    does: str
    fields: Mapping[str, Type] | None


@dataclass
class FlowPlan:
    """A compiled flow. `state_shape` names the steps with memory: state written under another one does not fit."""

    spec: FlowSpec
    sources: dict[str, SourcePlan] = field(default_factory=dict)
    keyed: Keyed | None = None
    results: Loop | None = None
    """What is done with the results of a window or join before they go to the sinks, where batches are made of them."""
    sinks: dict[str, SinkPlan] = field(default_factory=dict)
    standing: Standing = field(default_factory=lambda: Standing(Path()))
    stages: list[Stage] = field(default_factory=list)
    state_shape: str = ""
