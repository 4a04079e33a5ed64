"""Messages of a RabbitMQ queue, with pika. They are acknowledged, many at once, when they are stored."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from typing import Any

import pika  # type: ignore[import-untyped]  # it ships no types
import pika.exceptions  # type: ignore[import-untyped]  # it ships no types

from streamsd.core.report import JsonValue
from streamsd.flow.spec.sources import AmqpSource
from streamsd.programs.flow.amqp_options import parameters, words
from streamsd.programs.flow.ends import Place
from streamsd.programs.flow.intake import QueueIntake
from streamsd.programs.flow.life import Backoff

_ERRORS = (OSError, pika.exceptions.AMQPError)
_BREATH = 1.0
"""Seconds between two looks at the connection while nothing is wanted of it: it lives by heartbeats."""


class AmqpIntake(QueueIntake):
    """A token is (the connection's number, delivery tag): tags of a lost connection mean nothing to the next one, and
    the broker gives those messages again. While the inbox is full the connection is hardly read (a tenth of a megabyte
    a second, so that it stays alive): the prefetch bounds what is on the way in messages alone."""

    def __init__(self, spec: AmqpSource, place: Place) -> None:
        super().__init__()
        self._spec = spec
        self._place = place
        self._connection: Any = None
        self._channel: Any = None
        self._number = 0
        self._room = threading.Event()
        self.inbox.on_room = self._room.set
        self._closed = threading.Event()

    def start(self, position: Any) -> None:
        threading.Thread(target=self._run, name="amqp", daemon=True).start()

    def _run(self) -> None:
        backoff = Backoff(0.2, 10.0)
        while not self._closed.is_set():
            self._closed.wait(backoff.next())
            try:
                self._consume(backoff)
            except _ERRORS as fault:
                self.fault = f"{self._spec.host}:{self._spec.port}: {words(fault)}"
            self._channel = None

    def _consume(self, backoff: Backoff) -> None:
        spec = self._spec
        connection = pika.BlockingConnection(
            parameters(spec.host, spec.port, spec.vhost, spec.login, spec.tls, self._place.base)
        )
        channel = connection.channel()
        channel.queue_declare(spec.queue, durable=True)
        channel.basic_qos(prefetch_count=spec.prefetch)
        self._number += 1
        number = self._number

        def take(_: Any, method: Any, properties: Any, body: bytes) -> None:
            meta = {"topic": method.routing_key, "exchange": method.exchange}
            self.inbox.put([body], [meta], token=(number, method.delivery_tag))

        cancelled = threading.Event()

        # The queue was deleted, or its node is gone: nothing would come any more, also where there is a new one.
        channel.add_on_cancel_callback(lambda _: cancelled.set())
        channel.basic_consume(spec.queue, take)
        self._connection, self._channel = connection, channel
        self.fault = ""
        backoff.reset()
        while channel.is_open and not self._closed.is_set() and not cancelled.is_set():
            if self.inbox.full:
                self._room.wait(_BREATH)
                self._room.clear()
                connection.process_data_events(0)
            else:
                connection.process_data_events(_BREATH)
        if cancelled.is_set():
            self.fault = f"{spec.host}:{spec.port}: the broker gives nothing of the queue {spec.queue} any more"
            with contextlib.suppress(*_ERRORS):
                connection.close()

    def acknowledge(self, tokens: list[Any]) -> None:
        number, tag = tokens[-1]
        channel, connection = self._channel, self._connection
        if channel is None or number != self._number:
            return

        def tell() -> None:
            with contextlib.suppress(*_ERRORS):
                channel.basic_ack(tag, multiple=True)

        with contextlib.suppress(*_ERRORS):
            connection.add_callback_threadsafe(tell)

    def figures(self) -> Mapping[str, JsonValue]:
        return {"waiting": self.inbox.depth, "connected": self._channel is not None}

    def close(self) -> None:
        self._closed.set()
        done = threading.Event()
        connection, channel = self._connection, self._channel
        if connection is None or channel is None:
            return

        def leave() -> None:
            with contextlib.suppress(*_ERRORS):
                channel.stop_consuming()
            done.set()

        with contextlib.suppress(*_ERRORS):
            # After the acknowledgements that were asked for before.
            connection.add_callback_threadsafe(leave)
            done.wait(5)
