"""Where the messages of a flow come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from streamsd.core.change import OnChange
from streamsd.core.secret import Secret
from streamsd.core.units import Seconds, Size
from streamsd.flow.spec.seals import Sealed
from streamsd.flow.spec.steps import Step
from streamsd.flow.spec.words import Expression, FieldName, FieldType, Login, Part, RateLimit, Tls

Port = Annotated[int, Field(ge=1, le=65535)]
Listen = Annotated[str, Field(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]*):\d{1,5}$", examples=["127.0.0.1:9000"])]

Whose = Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9]{0,62}/(\*|[A-Za-z0-9][A-Za-z0-9_-]{0,62})$")]


class Generator(Part):
    """Makes messages, for tests and demos."""

    fields: Annotated[dict[FieldName, Expression], Field(min_length=1)]
    """The message's fields, over `n` (its number, from 0): `{device: "f'd{n % 500}'", temp_c: 20 + n % 7}`."""
    rate: Annotated[float | None, Field(gt=0)] = None
    """Messages a second. None: as fast as the flow takes them."""
    count: Annotated[int | None, Field(ge=1)] = None
    """How many. None: without end."""


class FileSource(Part):
    """Lines of a file."""

    path: str
    """The file."""
    follow: bool = False
    """Go on reading what is added, also after the file was rotated away or cut, as `tail -F` does."""


class Stdin(Part):
    """Lines of the standard input: for `streamsd flow run`."""


class TcpSource(Part):
    """Lines that clients send over TCP."""

    listen: Listen
    """Address and port: `127.0.0.1:9000`."""
    max_connections: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Further ones are closed at once, and counted."""
    idle: Seconds | None = None
    """A connection that sends nothing for that long is closed."""
    tls: Tls | None = None
    """Our certificate, for encrypted connections."""


class UdpSource(Part):
    """Lines of UDP datagrams. The network, and a full buffer, may lose some: UDP has no back-pressure."""

    listen: Listen
    """Address and port."""
    buffer: Size = Size(4 * 1024 * 1024)
    """The kernel's receive buffer."""


class HttpSource(Part):
    """POST and PUT requests: one message, or with `Content-Type: application/x-ndjson` one each line."""

    listen: Listen
    """Address and port."""
    path: Annotated[str, Field(pattern=r"^/[^ ?#]*$")] = "/"
    """The request's path."""
    respond: Literal["stored", "received"] = "stored"
    """`stored`: answer 200 once the messages are safe in every sink. `received`: answer 202 at once."""
    token: Secret | None = None
    """What a client must send: `Authorization: Bearer …`."""
    max_body: Size = Size(16 * 1024 * 1024)
    """Larger requests are answered 413."""
    max_connections: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Further ones are closed at once, and counted."""
    tls: Tls | None = None
    """Our certificate, for https."""


class MqttSource(Part):
    """Messages of an MQTT broker."""

    host: str = "127.0.0.1"
    """The broker."""
    port: Port = 1883
    """Its port."""
    topics: Annotated[tuple[str, ...], Field(min_length=1)]
    """Topic filters: `sensors/+/temp`; `$share/group/sensors/#` shares them among the group's members."""
    qos: Annotated[int, Field(ge=0, le=2)] = 1
    """0: may lose messages. 1: each at least once. 2: each once from the broker."""
    version: Literal["3.1.1", "5"] = "5"
    """The protocol."""
    client_id: str | None = None
    """What the broker knows us by; it keeps messages for it while we are away. None: from the flow's name."""
    sync: bool = False
    """QoS 1 and 2: acknowledge only when a message is on the disk. Without it a message is safe from the death of the
    process, but not from the host's."""
    session_expiry: Seconds = Seconds(3600)
    """How long the broker keeps messages while we are away (MQTT 5)."""
    login: Login | None = None
    """Account and password."""
    tls: Tls | None = None
    """Encrypt the connection."""
    keepalive: Seconds = Seconds(30)
    """How often a sign of life is sent."""


class KafkaSource(Part):
    """Records of Kafka topics.

    Without `group` the flow reads every partition, and the offsets are part of its state: each record counts once. With
    `group` it is a member of that consumer group, and shares the partitions with the others: offsets are committed once
    the records are safe in every sink, and after a crash or a change of the members the last ones may come again.
    """

    brokers: Annotated[tuple[str, ...], Field(min_length=1)]
    """`host:port` of one or more."""
    topics: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names of topics."""
    group: Annotated[str | None, Field(min_length=1, max_length=249)] = None
    """The consumer group to be a member of. None: all partitions are read here, and the offsets are committed as
    `streamsd.NAME` of the flow, for lag to be seen with Kafka's tools."""
    session_timeout: Seconds = Seconds(10)
    """With `group`: how long after the last sign of life of a member the others take its partitions over. Brokers
    allow 6 seconds to 30 minutes."""
    start: Literal["earliest", "latest"] = "earliest"
    """Where a partition is begun that no offset is known of. One that is added to a topic later is read from its
    beginning."""
    login: Login | None = None
    """SASL account and password."""
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    """How SASL proves it."""
    tls: Tls | None = None
    """Encrypt the connections."""

    @model_validator(mode="after")
    def _timed(self) -> KafkaSource:
        if not 1 <= self.session_timeout.seconds <= 3600:
            raise ValueError("session_timeout is from 1s to 1h, and the broker allows less: 6s to 30m as it comes")
        return self


class NatsSource(Part):
    """Messages of NATS; with `stream`, of JetStream, which keeps them until they are processed."""

    servers: Annotated[tuple[str, ...], Field(min_length=1)] = ("nats://127.0.0.1:4222",)
    """Addresses."""
    subject: str
    """`sensors.*.temp`, `sensors.>`."""
    queue: str | None = None
    """Members of a queue group share the messages."""
    stream: str | None = None
    """The JetStream stream."""
    durable: str | None = None
    """The name of the consumer there. None: from the flow's name."""
    ack_wait: Seconds = Seconds(20)
    """After how long JetStream gives a message again that nobody acknowledged: longer than an epoch, and after a crash
    the time until the last messages come again."""
    login: Login | None = None
    """Account and password."""
    tls: Tls | None = None
    """Encrypt the connection."""


class AmqpSource(Part):
    """Messages of a RabbitMQ queue (AMQP 0-9-1)."""

    host: str = "127.0.0.1"
    """The broker."""
    port: Port = 5672
    """Its port."""
    queue: str
    """The queue; it is made, durable, if it is not there."""
    vhost: str = "/"
    """The virtual host."""
    prefetch: Annotated[int, Field(ge=1, le=65535)] = 10_000
    """How many messages may be on the way or unprocessed."""
    login: Login | None = None
    """Account and password. None: guest."""
    tls: Tls | None = None
    """Encrypt the connection."""


class WebsocketSource(Part):
    """WebSocket messages. One of `url`, `listen`."""

    url: Annotated[str | None, Field(pattern=r"^wss?://")] = None
    """A server to connect to, again and again."""
    listen: Listen | None = None
    """Or where clients connect to us."""
    path: Annotated[str, Field(pattern=r"^/[^ ?#]*$")] = "/"
    """The path that clients ask for."""
    token: Secret | None = None
    """Sent to the server, or asked of clients: `Authorization: Bearer …`."""
    max_connections: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Further clients are refused, and counted."""
    tls: Tls | None = None
    """Certificates."""

    @model_validator(mode="after")
    def _one(self) -> WebsocketSource:
        if (self.url is None) == (self.listen is None):
            raise ValueError("websocket takes either url or listen")
        return self


class SseSource(Part):
    """Server-Sent Events of a server. The last event's id is kept, and sent when connecting again."""

    url: Annotated[str, Field(pattern=r"^https?://")]
    """The stream's address."""
    events: tuple[str, ...] = ()
    """Only events of these types. Empty: all."""
    token: Secret | None = None
    """Sent as `Authorization: Bearer …`."""
    tls: Tls | None = None
    """Certificates."""


class GrpcSource(Part):
    """Batches that clients stream to us over gRPC, as schemas/flow.proto says."""

    listen: Listen
    """Address and port."""
    respond: Literal["stored", "received"] = "stored"
    """`stored`: a batch is acknowledged once its messages are safe in every sink. `received`: at once."""
    token: Secret | None = None
    """What a client must send: the metadata `authorization: Bearer …`."""
    max_batch: Size = Size(16 * 1024 * 1024)
    """Larger batches end the call."""
    max_connections: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Further calls are refused, and counted."""
    tls: Tls | None = None
    """Our certificate; with `ca`, clients must show one of that authority."""


class StreamsdSource(Part):
    """What the daemon itself knows: the state and figures of its resources, or its events.

    A state is a message for each resource: `at`, `address`, `kind`, `name`, `ready`, `degraded`, `reason`, `message`,
    `conditions` (by type), `processes`, and `observed`, its figures. An event has `at`, `event`, `address`, its `seq`
    and fields of its own.
    """

    read: Literal["status", "events"] = "status"
    """`status`: every resource, again and again. `events`: what happens, as it happens."""
    every: Seconds = Seconds(1)
    """How often the status is read, at most ten times a second. Figures are about a second old anyway."""
    only: tuple[Whose, ...] = ()
    """Addresses: `Stream/desktop`, or `Stream/*` for all of a kind. Empty: everything."""
    start: Literal["earliest", "latest"] = "latest"
    """Events, at the first start: from the oldest that the daemon keeps, or only new ones."""


class Source(Part):
    """Where messages come from: exactly one transport, and how they are read."""

    generator: Generator | None = None
    """Makes messages."""
    file: FileSource | None = None
    """Lines of a file."""
    stdin: Stdin | None = None
    """Lines of the standard input."""
    tcp: TcpSource | None = None
    """Lines over TCP."""
    udp: UdpSource | None = None
    """Lines of datagrams."""
    http: HttpSource | None = None
    """Requests to us."""
    mqtt: MqttSource | None = None
    """An MQTT broker."""
    kafka: KafkaSource | None = None
    """Kafka topics."""
    nats: NatsSource | None = None
    """NATS or JetStream."""
    amqp: AmqpSource | None = None
    """A RabbitMQ queue."""
    websocket: WebsocketSource | None = None
    """WebSocket messages."""
    sse: SseSource | None = None
    """Server-Sent Events."""
    grpc: GrpcSource | None = None
    """A gRPC stream to us."""
    streamsd: StreamsdSource | None = None
    """The daemon's own figures and events."""
    format: Literal["json", "ndjson", "csv", "msgpack", "text", "raw"] = "json"
    """How a message is read. `ndjson`: it is several, each a line of JSON. `text`: one field, `line`. `raw`: one field,
    `data`, of bytes."""
    columns: tuple[FieldName, ...] | None = None
    """CSV: the names of the columns, in order. None: those of the schema."""
    schema_: Annotated[dict[FieldName, FieldType] | None, Field(alias="schema", min_length=1)] = None
    """The fields and their types. With it steps are checked before anything runs, and the flow is twice as quick; a
    message that does not fit goes to the dead letters; fields it does not name are left out."""
    steps: Annotated[tuple[Step, ...], OnChange.PATCH] = ()
    """Steps of this source alone, before the flow's (no window or join)."""
    limit: RateLimit | None = None
    """What is taken in at most."""
    sealed: Annotated[Sealed | None, OnChange.PATCH] = None
    """Messages must be signed or encrypted."""
    max_message: Size = Size(1024 * 1024)
    """Larger messages go to the dead letters, cut."""

    @model_validator(mode="after")
    def _one(self) -> Source:
        given = [name for name in TRANSPORTS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a source has exactly one of: {', '.join(TRANSPORTS)}")
        if self.format == "csv" and self.columns is None and self.schema_ is None:
            raise ValueError("csv needs columns, or a schema that names them in order")
        return self

    @property
    def replayable(self) -> bool:
        """Whether it can be read again from a position that the flow's state holds: what exactly-once needs."""
        return self.transport in REPLAYABLE and not (self.kafka is not None and self.kafka.group is not None)

    @property
    def transport(self) -> str:
        """The key of the transport."""
        return next(name for name in TRANSPORTS if getattr(self, name) is not None)


TRANSPORTS = (
    "generator",
    "file",
    "stdin",
    "tcp",
    "udp",
    "http",
    "mqtt",
    "kafka",
    "nats",
    "amqp",
    "websocket",
    "sse",
    "grpc",
    "streamsd",
)
REPLAYABLE = frozenset({"generator", "file", "kafka"})
"""Transports that can be read again from a position; Kafka where it is not shared with a group."""
LINES = frozenset({"file", "stdin", "tcp"})
"""Sources whose messages are lines."""
BINARY = frozenset({"msgpack", "raw"})
"""Formats in which any byte may stand, also that of a line's end."""
FINITE = frozenset({"generator", "file", "stdin"})
"""Sources that may come to an end."""
