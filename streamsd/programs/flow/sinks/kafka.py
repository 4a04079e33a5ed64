"""Records for Kafka topics, with librdkafka's idempotent producer."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from streamsd.core.report import JsonValue
from streamsd.flow.outputs import Batch
from streamsd.flow.spec.sinks import KafkaSink
from streamsd.programs.flow.ends import Place
from streamsd.programs.flow.kafka_options import Complaints, options
from streamsd.programs.flow.life import Backoff
from streamsd.programs.flow.outlet import Outlet

_MOST_KBYTES = 32 * 1024
"""What may wait in librdkafka, which would keep a gigabyte as it comes."""


class KafkaOutlet(Outlet):
    """`flush` returns when the brokers have acknowledged everything. What they refuse is produced again."""

    def __init__(self, spec: KafkaSink, place: Place) -> None:
        self._spec = spec
        self._place = place
        self._producer: Any = None
        self._failed: deque[Any] = deque()
        self._complaints = Complaints(spec.brokers)

    def start(self, position: Any) -> None:
        spec = self._spec
        self._producer = Producer(
            {
                **options(spec.brokers, spec.login, spec.mechanism, spec.tls, self._place.base),
                "enable.idempotence": True,
                "linger.ms": 5,
                "compression.type": spec.compression,
                "message.max.bytes": spec.max_message.bytes,
                "queue.buffering.max.messages": 200_000,
                "queue.buffering.max.kbytes": max(_MOST_KBYTES, 2 * spec.max_message.bytes // 1024),
                # Until the flow is told to stop: a message that timed out would be out of order.
                "message.timeout.ms": 0,
                # A call for each record that went well costs more than producing it.
                "delivery.report.only.error": True,
                "on_delivery": self._on_failure,
                "error_cb": self._complaints,
            }
        )

    def _on_failure(self, fault: Any, record: Any) -> None:
        self.fault = f"{record.topic()}: {_words(fault)}"
        self._failed.append((record.topic(), record.key(), record.value()))

    def write(self, batch: Batch) -> None:
        produce = self._producer.produce
        for topic, key, value in batch.items:
            try:
                produce(topic, value, key)
            except (BufferError, KafkaException):
                self._produce(topic, key, value)
        self._producer.poll(0)

    def _produce(self, topic: str, key: Any, value: bytes) -> None:
        """Until it is taken."""
        backoff = Backoff(0.2, 10.0)
        while True:
            try:
                self._producer.produce(topic, value, key)
                return
            except BufferError:
                # The queue is full: deliveries make room, of which nobody tells.
                self._producer.poll(0.005)
                self._complain()
                self._place.life.pause(0.0)
            except KafkaException as fault:
                # Refused before it is sent, such as for its size. It is not left out: somebody is to look at it.
                self.fault = f"{topic}: {_words(fault.args[0])}"
                self._place.life.pause(backoff.next() or 0.2)

    def _complain(self) -> None:
        self.fault = self._complaints.lost or self.fault

    def flush(self) -> Any:
        while True:
            left = self._producer.flush(0.1)
            if not left and not self._failed:
                self._complaints.mended()
                self.fault = ""
                return None
            self._complain()
            self._place.life.pause(0.2 if self._failed else 0.0)
            for _ in range(len(self._failed)):
                self._produce(*self._failed.popleft())

    def figures(self) -> Mapping[str, JsonValue]:
        return {"unconfirmed": len(self._producer) if self._producer is not None else 0}


def _words(fault: Any) -> str:
    """What the broker says, and, of a record that is too long for it, what to change."""
    if fault.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        return f"{fault.str()}: raise the topic's max.message.bytes, or set the sink's max_message to it"
    return str(fault.str())
