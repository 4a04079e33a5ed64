"""Publishes to RabbitMQ, with confirmation of each message."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from typing import Any

import pika  # type: ignore[import-untyped]  # it ships no types
import pika.exceptions  # type: ignore[import-untyped]  # it ships no types

from streamsd.core.report import JsonValue
from streamsd.flow.outputs import Batch
from streamsd.flow.spec.sinks import AmqpSink
from streamsd.programs.flow.amqp_options import parameters, words
from streamsd.programs.flow.ends import Place
from streamsd.programs.flow.life import Backoff
from streamsd.programs.flow.outlet import Outlet
from streamsd.programs.flow.parcels import Parcels

_ERRORS = (OSError, pika.exceptions.AMQPError)
_HEARTBEAT = 10.0
_MOST, _MOST_BYTES = 5000, 8 * 1024 * 1024
"""Messages, and bytes, of one transaction."""


class AmqpOutlet(Outlet):
    """Messages are persistent. They are published in transactions, the last of them at the end of an epoch: pika
    confirms messages one by one, which would be a round trip each. Straight to a queue (the exchange without a name)
    each must find it: the broker would drop what does not, without a word."""

    def __init__(self, spec: AmqpSink, place: Place) -> None:
        self._spec = spec
        self._place = place
        self._connection: Any = None
        self._channel: Any = None
        self._parcels = Parcels(_MOST, _MOST_BYTES)
        self._waiting: list[Any] = []
        self._returned: list[Any] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._where = f"{spec.host}:{spec.port}"

    def start(self, position: Any) -> None:
        threading.Thread(target=self._keep_alive, name="amqp-heartbeat", daemon=True).start()

    def _keep_alive(self) -> None:
        """A connection that is used now and then only still answers heartbeats."""
        while not self._closed.wait(_HEARTBEAT):
            with self._lock, contextlib.suppress(*_ERRORS):
                if self._connection is not None:
                    self._connection.process_data_events()

    def write(self, batch: Batch) -> None:
        for parcel in self._parcels.put(batch.items):
            self._send(parcel)

    def flush(self) -> Any:
        if self._parcels:
            self._send(self._parcels.rest())
        return None

    def _send(self, items: list[Any]) -> None:
        self._waiting = items
        backoff = Backoff(0.2, 10.0)
        while self._waiting:
            try:
                with self._lock:
                    self._publish()
                self._waiting, self._returned = self._returned, []
                self.fault = f"{self._where}: no queue {self._waiting[0][0]!r}" if self._waiting else ""
                if self._waiting:
                    self._place.life.pause(backoff.next() or 0.1)
            except _ERRORS as fault:
                self.fault = f"{self._where}: {words(fault)}"
                self._returned = []
                self._drop()
                self._place.life.pause(backoff.next() or 0.1)

    def _publish(self) -> None:
        spec = self._spec
        if self._channel is None:
            self._connection = pika.BlockingConnection(
                parameters(spec.host, spec.port, spec.vhost, spec.login, spec.tls, self._place.base)
            )
            self._channel = self._connection.channel()
            self._channel.tx_select()
            self._channel.add_on_return_callback(self._on_return)
        properties = pika.BasicProperties(delivery_mode=2)
        for key, message in self._waiting:
            self._channel.basic_publish(spec.exchange, key, message, properties, mandatory=not spec.exchange)
        self._channel.tx_commit()
        # What came back was read by then; it is told in calls like this one.
        self._connection.process_data_events(0)

    def _on_return(self, channel: Any, method: Any, properties: Any, message: bytes) -> None:
        self._returned.append((method.routing_key, message))

    def _drop(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(*_ERRORS):
                connection.close()

    def figures(self) -> Mapping[str, JsonValue]:
        return {"unconfirmed": len(self._parcels) + len(self._waiting)}

    def close(self) -> None:
        self._closed.set()
        with self._lock:
            self._drop()
