"""Where the results of a flow go."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from streamsd.core.change import OnChange
from streamsd.core.kind import RefTo
from streamsd.core.secret import Secret
from streamsd.core.units import Seconds, Size
from streamsd.flow.spec.seals import Seal
from streamsd.flow.spec.sources import Listen, Port
from streamsd.flow.spec.steps import Step
from streamsd.flow.spec.words import Expression, FieldName, Login, Part, Template, Tls

Identifier = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]


class FileSink(Part):
    """Appends to a file. After a crash it is cut to where the state was stored: each result is in it exactly once. With
    `format: parquet` there are whole files, path-000001.parquet and so on, each there when it is finished."""

    path: str
    """The file."""
    rotate: Size | None = None
    """From that size on a new file is begun; the old ones are named path.1, path.2, … None: never; Parquet: 128 MiB of
    rows."""
    rotate_every: Seconds | None = None
    """A new file is begun when the old one is that old and holds something."""
    keep: Annotated[int | None, Field(ge=1, le=100_000)] = None
    """How many old ones are kept. None: 5; of Parquet all."""


class Stdout(Part):
    """The standard output: for `streamsd flow run`."""


class HttpSink(Part):
    """A webhook: batches are sent with POST until the answer is 2xx."""

    url: Annotated[str, Field(pattern=r"^https?://")]
    """Where."""
    batch: Annotated[int, Field(ge=1, le=100_000)] = 500
    """Results in one request at most, and 4 MiB of them: as NDJSON; 1 sends each as JSON of its own."""
    token: Secret | None = None
    """Sent as `Authorization: Bearer …`."""
    sign: Secret | None = None
    """A key: the body's HMAC-SHA256 is sent as `X-Signature-256: sha256=…`."""
    timeout: Seconds = Seconds(10)
    """How long an answer may take before the request is sent again."""
    tls: Tls | None = None
    """Certificates."""


class MqttSink(Part):
    """Publishes to an MQTT broker."""

    host: str = "127.0.0.1"
    """The broker."""
    port: Port = 1883
    """Its port."""
    topic: Template
    """The topic; expressions in braces: `rooms/{room}`."""
    qos: Annotated[int, Field(ge=0, le=2)] = 1
    """How sure the delivery is."""
    retain: bool = False
    """Whether the broker keeps the last one for those who come later."""
    version: Literal["3.1.1", "5"] = "5"
    """The protocol."""
    client_id: str | None = None
    """What the broker knows us by. None: a new name each time."""
    login: Login | None = None
    """Account and password."""
    tls: Tls | None = None
    """Encrypt the connection."""


class KafkaSink(Part):
    """Produces to a Kafka topic."""

    brokers: Annotated[tuple[str, ...], Field(min_length=1)]
    """`host:port` of one or more."""
    topic: Template
    """The topic; expressions in braces."""
    key: Template | None = None
    """The record's key, which the partition follows from: `"{device}"`."""
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "lz4"
    """How batches are packed."""
    max_message: Size = Size(1024 * 1024)
    """The longest record, with its key and half a kilobyte around it: as the broker's `message.max.bytes` or the
    topic's `max.message.bytes` says, one megabyte where nobody changed it. Longer results are dead letters; one that
    fits here and not there holds the sink up, and is told."""
    login: Login | None = None
    """SASL account and password."""
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    """How SASL proves it."""
    tls: Tls | None = None
    """Encrypt the connections."""

    @model_validator(mode="after")
    def _sized(self) -> KafkaSink:
        if not 4096 <= self.max_message.bytes <= 1_000_000_000:
            raise ValueError("max_message is from 4k to 1000000000 bytes")
        return self


class NatsSink(Part):
    """Publishes to NATS; with `stream: true`, to JetStream, and waits until it is stored."""

    servers: Annotated[tuple[str, ...], Field(min_length=1)] = ("nats://127.0.0.1:4222",)
    """Addresses."""
    subject: Template
    """The subject; expressions in braces: `rooms.{room}`."""
    stream: bool = False
    """Whether a JetStream stream takes it."""
    login: Login | None = None
    """Account and password."""
    tls: Tls | None = None
    """Encrypt the connection."""


class AmqpSink(Part):
    """Publishes to RabbitMQ, with confirmation."""

    host: str = "127.0.0.1"
    """The broker."""
    port: Port = 5672
    """Its port."""
    exchange: str = ""
    """The exchange. Empty: the default one, which takes the queue's name as routing key."""
    routing_key: Template
    """The key; expressions in braces."""
    vhost: str = "/"
    """The virtual host."""
    login: Login | None = None
    """Account and password. None: guest."""
    tls: Tls | None = None
    """Encrypt the connection."""


class GrpcSink(Part):
    """gRPC, as schemas/flow.proto says. One of `target`, `listen`: batches streamed to a server, each until it is
    acknowledged, or to everybody who subscribes."""

    target: Annotated[
        str | None, Field(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):\d{1,5}$", examples=["127.0.0.1:9090"])
    ] = None
    """A server's host and port."""
    listen: Listen | None = None
    """Or where subscribers call us; who is too slow loses results, and those are counted."""
    batch: Annotated[int, Field(ge=1, le=100_000)] = 500
    """Results in one batch at most, and 1 MiB of them."""
    token: Secret | None = None
    """Sent, or asked of subscribers, as the metadata `authorization: Bearer …`."""
    backlog: Annotated[int, Field(ge=0, le=100_000)] = 100
    """How many of the newest results a subscriber gets who comes, and 1 MiB of them at most."""
    max_connections: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Further subscribers are refused, and counted."""
    tls: Tls | None = None
    """Encrypt the connection; to listen, with our certificate."""

    @model_validator(mode="after")
    def _one(self) -> GrpcSink:
        if (self.target is None) == (self.listen is None):
            raise ValueError("grpc takes either target or listen")
        return self


class TcpSink(Part):
    """Lines to a TCP server."""

    host: str
    """The server."""
    port: Port
    """Its port."""
    tls: Tls | None = None
    """Encrypt the connection."""


class UdpSink(Part):
    """One datagram each."""

    host: str
    """The receiver."""
    port: Port
    """Its port."""


class FanOut(Part):
    """A server that sends every result to all who are connected; who is too slow loses results, and those are
    counted."""

    listen: Listen
    """Address and port."""
    path: Annotated[str, Field(pattern=r"^/[^ ?#]*$")] = "/"
    """The path that clients ask for."""
    token: Secret | None = None
    """What clients must send: `Authorization: Bearer …`, or `?token=…` from browsers."""
    backlog: Annotated[int, Field(ge=0, le=100_000)] = 100
    """How many of the newest results someone gets who connects, and 1 MiB of them at most."""
    max_connections: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Further clients are refused, and counted."""
    tls: Tls | None = None
    """Our certificate."""


class WebsocketSink(Part):
    """WebSocket messages. One of `url`, `listen`: to a server, or to everybody who connects to us."""

    url: Annotated[str | None, Field(pattern=r"^wss?://")] = None
    """A server to connect to, again and again. While it is away the flow waits; nothing is acknowledged."""
    listen: Listen | None = None
    """Or where readers connect to us; who is too slow loses results, and those are counted."""
    path: Annotated[str, Field(pattern=r"^/[^ ?#]*$")] = "/"
    """The path that readers ask for."""
    token: Secret | None = None
    """Sent to the server as `Authorization: Bearer …`, or asked of readers: so, or as `?token=…` from browsers."""
    backlog: Annotated[int, Field(ge=0, le=100_000)] = 100
    """How many of the newest results a reader gets who connects, and 1 MiB of them at most."""
    max_connections: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Further readers are refused, and counted."""
    tls: Tls | None = None
    """Certificates."""

    @model_validator(mode="after")
    def _one(self) -> WebsocketSink:
        if (self.url is None) == (self.listen is None):
            raise ValueError("websocket takes either url or listen")
        return self


class SqliteSink(Part):
    """Rows of a SQLite table."""

    path: str
    """The file."""
    table: Identifier
    """The table; it is made if it is not there."""
    key: tuple[FieldName, ...] = ()
    """Columns that name a row: a later result replaces it. Empty: every result is a row of its own."""


class PostgresSink(Part):
    """Rows of a PostgreSQL table."""

    url: Secret
    """`postgresql://user:password@host/database`."""
    table: Identifier
    """The table; it is made if it is not there."""
    key: tuple[FieldName, ...] = ()
    """Columns that name a row: a later result replaces it. Empty: every result is a row of its own."""


class ObsSink(Part):
    """A text source of an OBS: what it shows. The newest result counts; those that come faster than they are drawn are
    passed over, and counted. The scenes' own text is shown until the first."""

    instance: Annotated[str, RefTo("Obs", follows=False)]
    """The OBS, as declared under `obs`."""
    source: Template
    """The name of its text source; expressions in braces: `score-{team}`."""
    text: Template = "{line}"
    """What it shows; expressions in braces: `"{room}: {format_number(mean, 1)} °C"`."""
    rate: Annotated[float, Field(gt=0, le=60)] = 10
    """How often a second it is drawn at most: each time OBS renders the text anew."""


class Discard(Part):
    """Nowhere: results are counted only."""


class Sink(Part):
    """Where results go: exactly one transport."""

    file: FileSink | None = None
    """A file."""
    stdout: Stdout | None = None
    """The standard output."""
    http: HttpSink | None = None
    """A webhook."""
    mqtt: MqttSink | None = None
    """An MQTT broker."""
    kafka: KafkaSink | None = None
    """A Kafka topic."""
    nats: NatsSink | None = None
    """NATS or JetStream."""
    amqp: AmqpSink | None = None
    """RabbitMQ."""
    grpc: GrpcSink | None = None
    """A gRPC server, or many subscribers."""
    tcp: TcpSink | None = None
    """A TCP server."""
    udp: UdpSink | None = None
    """Datagrams."""
    websocket: WebsocketSink | None = None
    """A WebSocket server, or many readers."""
    sse: FanOut | None = None
    """A server of Server-Sent Events for many readers."""
    sqlite: SqliteSink | None = None
    """A SQLite table."""
    postgres: PostgresSink | None = None
    """A PostgreSQL table."""
    obs: ObsSink | None = None
    """A text on an OBS scene."""
    discard: Discard | None = None
    """Nowhere."""
    when: Annotated[Expression | None, OnChange.PATCH] = None
    """Only results for which the condition holds."""
    steps: Annotated[tuple[Step, ...], OnChange.PATCH] = ()
    """Steps for this sink alone (no window, join or dedupe)."""
    format: Annotated[Literal["json", "csv", "msgpack", "text", "raw", "parquet"], OnChange.RESTART] = "json"
    """How a result is written. `text`: the field `line` alone. `raw`: the bytes of the field `data` alone. `parquet`:
    for files."""
    seal: Annotated[Seal | None, OnChange.PATCH] = None
    """Sign or encrypt each result."""
    delivery: Literal["at_least_once", "exactly_once"] | None = None
    """What must be kept to when something crashes. None: the best that source and sink can do."""

    @model_validator(mode="after")
    def _one(self) -> Sink:
        given = [name for name in TRANSPORTS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a sink has exactly one of: {', '.join(TRANSPORTS)}")
        return self

    @property
    def transport(self) -> str:
        """The key of the transport."""
        return next(name for name in TRANSPORTS if getattr(self, name) is not None)


TRANSPORTS = (
    "file",
    "stdout",
    "http",
    "mqtt",
    "kafka",
    "nats",
    "amqp",
    "grpc",
    "tcp",
    "udp",
    "websocket",
    "sse",
    "sqlite",
    "postgres",
    "obs",
    "discard",
)
EXACT = frozenset({"file", "sqlite", "postgres", "discard"})
"""Sinks that take back, after a crash, what they wrote after the state was stored."""
ROWS = frozenset({"sqlite", "postgres"})
"""Sinks that take fields, not text."""
