"""Which process of a flow does what."""

from __future__ import annotations

from streamsd.flow.spec.flow import FlowSpec
from streamsd.flow.spec.sources import Source

BY_ALL = frozenset({"http", "mqtt", "kafka", "nats", "amqp"})
"""Sinks that every process sends to by itself. The others have one place in the world (a file, a table's numbers, a
port that is listened on), so that one process writes to them what all have made."""
TOGETHER = ("dedupe", "throttle", "batch")
"""Steps that must see every message: a flow that has one before its window reads all sources in one process, and none
may stand behind it."""


def divided(source: Source) -> bool:
    """Whether several processes can each read a part of what comes."""
    if source.kafka is not None or source.amqp is not None:
        return True
    if source.nats is not None:
        return source.nats.queue is not None or source.nats.stream is not None
    return False


class Layout:
    """For a flow and its number of processes. The processes are numbered from 0."""

    def __init__(self, spec: FlowSpec) -> None:
        self.of = spec.processes
        self._sources = spec.all_sources
        self._places = {name: place % self.of for place, name in enumerate(self._sources)}
        steps = [step for source in self._sources.values() for step in source.steps]
        window = next((i for i, s in enumerate(spec.steps) if s.does in ("window", "join")), len(spec.steps))
        self.together = any(step.does in TOGETHER for step in (*steps, *spec.steps[:window]))
        if self.together:
            self._places = dict.fromkeys(self._sources, 0)
        # From the other end than sources, so that the first source and the first sink are not in one process.
        single = [name for name, sink in spec.all_sinks.items() if sink.transport not in BY_ALL]
        self._sinks = {name: (self.of - 1 - place) % self.of for place, name in enumerate(single)}

    def divided(self, source: str) -> bool:
        """Whether each process reads a part of the source."""
        return self.of > 1 and not self.together and divided(self._sources[source])

    def sources(self, process: int) -> list[str]:
        """What is read there."""
        return [name for name in self._sources if self.divided(name) or self._places[name] == process]

    def owner(self, source: str, part: str) -> int:
        """Who reads a part of a source: `topic/3` of Kafka. -1: nobody, the flow has no such source any more."""
        if source not in self._sources:
            return -1
        number = part.rpartition("/")[2]
        if self.divided(source) and number.isdigit():
            return (self._places[source] + int(number)) % self.of
        return self._places[source]

    def sink(self, name: str) -> int | None:
        """Who writes to a sink; None: everybody."""
        return self._sinks.get(name)
