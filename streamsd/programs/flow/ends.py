"""Makes the sources and sinks that a flow names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from streamsd.core.diagnostics import ProblemsError
from streamsd.flow.layout import Layout
from streamsd.flow.packages import missing_module
from streamsd.flow.plan import SinkPlan, SourcePlan
from streamsd.flow.spec.sources import BINARY
from streamsd.programs.flow.intake import Intake
from streamsd.programs.flow.life import Life
from streamsd.programs.flow.network import Network
from streamsd.programs.flow.outlet import Outlet


@dataclass(frozen=True, slots=True)
class Around:
    """Sockets of others: the daemon's API, and the directors of OBS instances by name."""

    api: Path | None = None
    directors: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """`name`: the flow's. `base`: what relative paths are relative to. `state`: for what must outlive a restart.
    `process`: which of the flow's this is. `around`: how the daemon and its OBS instances are reached."""

    name: str
    base: Path
    state: Path
    life: Life
    layout: Layout
    process: int
    around: Around = field(default_factory=Around)
    network: Network = field(default_factory=Network)

    def mine(self, source: str, part: str) -> bool:
        """Whether a part of a source is read by this process."""
        return self.layout.owner(source, part) == self.process


def intake_of(plan: SourcePlan, place: Place) -> Intake:
    """The source. ProblemsError when a package that it needs is not installed."""
    spec = plan.spec
    most = spec.max_message.bytes
    try:
        if spec.generator is not None:
            from streamsd.programs.flow.sources.generator import GeneratorIntake

            return GeneratorIntake(spec.generator)
        if spec.file is not None:
            from streamsd.programs.flow.sources.file import FileIntake

            return FileIntake(spec.file, place.base, most)
        if spec.stdin is not None:
            from streamsd.programs.flow.sources.udp import StdinIntake

            return StdinIntake(most)
        if spec.tcp is not None:
            from streamsd.programs.flow.sources.tcp import TcpIntake

            return TcpIntake(spec.tcp, place, most)
        if spec.udp is not None:
            from streamsd.programs.flow.sources.udp import UdpIntake

            return UdpIntake(spec.udp, whole=spec.format in BINARY and spec.sealed is None)
        if spec.http is not None:
            from streamsd.programs.flow.sources.http import HttpIntake

            return HttpIntake(spec.http, place)
        if spec.mqtt is not None:
            from streamsd.programs.flow.sources.mqtt import MqttIntake

            return MqttIntake(spec.mqtt, plan.name, place, most)
        if spec.kafka is not None and spec.kafka.group is not None:
            from streamsd.programs.flow.sources.kafka_group import KafkaGroupIntake

            return KafkaGroupIntake(spec.kafka, place)
        if spec.kafka is not None:
            from streamsd.programs.flow.sources.kafka import KafkaWholeIntake

            return KafkaWholeIntake(spec.kafka, place, lambda part: place.mine(plan.name, part))
        if spec.nats is not None:
            from streamsd.programs.flow.sources.nats import NatsIntake

            return NatsIntake(spec.nats, plan.name, place)
        if spec.amqp is not None:
            from streamsd.programs.flow.sources.amqp import AmqpIntake

            return AmqpIntake(spec.amqp, place)
        if spec.websocket is not None:
            from streamsd.programs.flow.sources.websocket import WebsocketIntake

            return WebsocketIntake(spec.websocket, place, most)
        if spec.sse is not None:
            from streamsd.programs.flow.sources.sse import SseIntake

            return SseIntake(spec.sse, place, most)
        if spec.grpc is not None:
            from streamsd.programs.flow.sources.grpc import GrpcIntake

            return GrpcIntake(spec.grpc, place)
        if spec.streamsd is not None:
            from streamsd.programs.flow.sources.streamsd import EventsIntake, StatusIntake

            return (
                EventsIntake(spec.streamsd, place)
                if spec.streamsd.read == "events"
                else StatusIntake(spec.streamsd, place)
            )
    except ImportError as fault:
        raise ProblemsError([missing_module(fault, spec.transport)]) from None
    raise AssertionError(f"no source {spec.transport}")


def outlet_of(plan: SinkPlan, place: Place) -> Outlet:
    """The sink. ProblemsError when a package that it needs is not installed."""
    spec = plan.spec
    try:
        if spec.file is not None and spec.format == "parquet":
            from streamsd.programs.flow.sinks.parquet import ParquetOutlet

            return ParquetOutlet(spec.file, place.base, plan.fields or {}, place.life)
        if spec.file is not None:
            from streamsd.programs.flow.sinks.file import FileOutlet

            header = ",".join(plan.fields or ()).encode() + b"\n" if spec.format == "csv" and not spec.seal else b""
            return FileOutlet.of(spec.file, place.base, place.life, header)
        if spec.stdout is not None:
            from streamsd.programs.flow.sinks.plain import StdoutOutlet

            return StdoutOutlet(place.life)
        if spec.discard is not None:
            from streamsd.programs.flow.sinks.plain import DiscardOutlet

            return DiscardOutlet()
        if spec.http is not None:
            from streamsd.programs.flow.sinks.http import HttpOutlet

            return HttpOutlet(spec.http, spec.format, spec.seal is not None, place)
        if spec.mqtt is not None:
            from streamsd.programs.flow.sinks.mqtt import MqttOutlet

            return MqttOutlet(spec.mqtt, place)
        if spec.tcp is not None:
            from streamsd.programs.flow.sinks.sockets import TcpOutlet

            return TcpOutlet(spec.tcp, place)
        if spec.udp is not None:
            from streamsd.programs.flow.sinks.sockets import UdpOutlet

            return UdpOutlet(spec.udp)
        if spec.websocket is not None and spec.websocket.url is not None:
            from streamsd.programs.flow.sinks.websocket import WebsocketClientOutlet

            return WebsocketClientOutlet(spec.websocket, spec.format in BINARY, place)
        if spec.websocket is not None:
            from streamsd.programs.flow.sinks.fanout import WebsocketOutlet

            return WebsocketOutlet(spec.websocket, spec.format in BINARY, place)
        if spec.sse is not None:
            from streamsd.programs.flow.sinks.fanout import SseOutlet

            return SseOutlet(spec.sse, place)
        if spec.sqlite is not None:
            from streamsd.programs.flow.sinks.sql import SqliteOutlet

            return SqliteOutlet(spec.sqlite, plan.fields or {}, place.base, place.life)
        if spec.postgres is not None:
            from streamsd.programs.flow.sinks.sql import PostgresOutlet

            return PostgresOutlet(spec.postgres, plan.fields or {}, place.life)
        if spec.grpc is not None and spec.grpc.listen is not None:
            from streamsd.programs.flow.sinks.grpc_fanout import GrpcFanOutlet

            return GrpcFanOutlet(spec.grpc, place)
        if spec.grpc is not None:
            from streamsd.programs.flow.sinks.grpc import GrpcOutlet

            return GrpcOutlet(spec.grpc, place)
        if spec.obs is not None:
            from streamsd.programs.flow.sinks.obs import ObsOutlet

            return ObsOutlet(spec.obs, place)
        if spec.kafka is not None:
            from streamsd.programs.flow.sinks.kafka import KafkaOutlet

            return KafkaOutlet(spec.kafka, place)
        if spec.nats is not None:
            from streamsd.programs.flow.sinks.nats import NatsOutlet

            return NatsOutlet(spec.nats, place)
        if spec.amqp is not None:
            from streamsd.programs.flow.sinks.amqp import AmqpOutlet

            return AmqpOutlet(spec.amqp, place)
    except ImportError as fault:
        raise ProblemsError([missing_module(fault, spec.transport)]) from None
    raise AssertionError(f"no sink {spec.transport}")
