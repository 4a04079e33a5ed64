"""A whole flow."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from streamsd.core.address import NAME_PATTERN
from streamsd.core.change import OnChange
from streamsd.core.units import Seconds, Size
from streamsd.flow.spec.sinks import Sink
from streamsd.flow.spec.sources import Source
from streamsd.flow.spec.steps import Step
from streamsd.flow.spec.words import FieldName, FieldType, Part

EndName = Annotated[str, Field(pattern=NAME_PATTERN)]


class DeadLetter(Part):
    """Where messages go that cannot be processed: a file of JSON lines with reason, message and the original bytes."""

    path: str | None = None
    """The file. None: in the flow's state directory."""
    max_size: Size = Size(64 * 1024 * 1024)
    """From that size on a new file is begun; one old one is kept."""


class Recovery(Part):
    """How a flow goes on after a crash or a restart."""

    enabled: bool = True
    """Off: everything begins anew at each start, and windows are lost."""
    epoch: Seconds | None = None
    """How often the state is stored, results are made final and messages are acknowledged. None: 1s, and 200ms for a
    flow of several processes, which hold so much on the way between them."""
    generation: Annotated[int, Field(ge=1)] = 1
    """A higher number begins with an empty state. Needed when the shape of a window, key, join or dedupe changes."""


class FlowTest(Part):
    """What a flow makes of an input: run by `streamsd flow test`, without sources or sinks."""

    name: str
    """What it shows."""
    input: list[Any] | dict[EndName, list[Any]]
    """Messages: mappings (or texts, taken as they are). For several sources a list of each, by name."""
    output: list[dict[str, Any]] | dict[EndName, list[dict[str, Any]]] | None = None
    """Every result, in any order. For several sinks a list of each, by name."""
    dead: tuple[str, ...] | None = None
    """The reasons of the dead letters, in order. None: there must be none."""
    late: Annotated[int, Field(ge=0)] = 0
    """How many messages come too late for their window."""
    timeout: Seconds = Seconds(10)
    """How long it may take: a `custom` function that does not return by then is ended, and the test has failed."""


class FlowSpec(Part):
    """A data flow: messages from sources, through steps, to sinks."""

    description: Annotated[str, OnChange.NONE] = ""
    """What it is for."""
    source: Source | None = None
    """Where messages come from."""
    sources: Annotated[dict[EndName, Source] | None, Field(min_length=1)] = None
    """Several sources, by name: their messages are united, or paired by a `join`."""
    schema_: Annotated[dict[FieldName, FieldType] | None, Field(alias="schema", min_length=1)] = None
    """The fields of `source`'s messages and their types."""
    steps: Annotated[tuple[Step, ...], OnChange.PATCH] = ()
    """What is done to each message, in order. At most one window or join."""
    sink: Sink | None = None
    """Where results go."""
    sinks: Annotated[dict[EndName, Sink] | None, Field(min_length=1)] = None
    """Several sinks, by name: each gets every result, or those of its `when`."""
    dead_letter: DeadLetter = DeadLetter()
    """Where messages go that cannot be processed."""
    recovery: Recovery = Recovery()
    """How it goes on after a crash."""
    processes: Annotated[int, Field(ge=1, le=64)] = 1
    """How many processes share the work. Sources and their partitions are divided among them, and the keys of a window
    or join. A change stops the flow, and it goes on from its state, with the same windows."""
    memory: Size | None = None
    """What its processes may use together; past it, they are killed and go on from their state."""
    tests: Annotated[tuple[FlowTest, ...], OnChange.NONE] = ()
    """Inputs and what must come of them."""

    @model_validator(mode="after")
    def _ends(self) -> FlowSpec:
        if (self.source is None) == (self.sources is None):
            raise ValueError("a flow has either source or sources")
        if (self.sink is None) == (self.sinks is None):
            raise ValueError("a flow has either sink or sinks")
        if self.schema_ is not None and self.source is None:
            raise ValueError("with sources, each has its own schema")
        if self.schema_ is not None and self.source is not None and self.source.schema_ is not None:
            raise ValueError("the schema stands either in the flow or in its source")
        return self

    @property
    def epoch_seconds(self) -> float:
        """How long an epoch lasts."""
        if self.recovery.epoch is not None:
            return self.recovery.epoch.seconds
        return 1.0 if self.processes == 1 else 0.2

    @property
    def every_step(self) -> list[Step]:
        """Those of its sources and sinks too."""
        ends: list[Source | Sink] = [*self.all_sources.values(), *self.all_sinks.values()]
        return [*self.steps, *(step for end in ends for step in end.steps)]

    @property
    def all_sources(self) -> dict[str, Source]:
        """By name; a single one is `in`, and has the flow's schema."""
        if self.sources is not None:
            return dict(self.sources)
        assert self.source is not None
        source = self.source
        if self.schema_ is not None:
            source = source.model_copy(update={"schema_": self.schema_})
        return {"in": source}

    @property
    def all_sinks(self) -> dict[str, Sink]:
        """By name; a single one is `out`."""
        if self.sinks is not None:
            return dict(self.sinks)
        assert self.sink is not None
        return {"out": self.sink}
