"""Publishes to an MQTT broker, with paho."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from streamsd.core.report import JsonValue
from streamsd.flow.outputs import Batch
from streamsd.flow.spec.sinks import MqttSink
from streamsd.programs.flow.ends import Place
from streamsd.programs.flow.life import Backoff
from streamsd.programs.flow.network import client_context, connect_words
from streamsd.programs.flow.outlet import Outlet

_MOST_PENDING = 20_000
_MOST_BYTES = 8 * 1024 * 1024
"""Bytes after which everything is to be confirmed before more is published: paho keeps what is not."""


class MqttOutlet(Outlet):
    """`flush` returns when the broker has acknowledged everything (QoS 1, 2), or when it was sent (QoS 0). paho
    connects again by itself, and sends again what was not acknowledged."""

    def __init__(self, spec: MqttSink, place: Place) -> None:
        self._spec = spec
        self._place = place
        self._sent = 0
        self._confirmed = 0
        self._bytes = 0
        self._refused = False
        self._client: paho.Client | None = None

    def start(self, position: Any) -> None:
        spec = self._spec
        version = paho.MQTTv5 if spec.version == "5" else paho.MQTTv311
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=spec.client_id or "", protocol=version)
        client.max_inflight_messages_set(1000)
        client.max_queued_messages_set(0)
        client.reconnect_delay_set(1, 10)
        if spec.login is not None:
            client.username_pw_set(spec.login.user, spec.login.password.reveal())
        context = client_context(spec.tls, self._place.base)
        if context is not None:
            client.tls_set_context(context)
        client.on_publish = self._on_publish
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        self._client = client
        backoff = Backoff(0.2, 10.0)
        while True:
            try:
                client.connect(spec.host, spec.port)
                break
            except (OSError, ssl.SSLError) as fault:
                self.fault = f"{spec.host}:{spec.port}: {connect_words(fault)}"
                self._place.life.pause(backoff.next() or 0.2)
        client.loop_start()

    def _on_publish(self, client: Any, data: Any, mid: int, reason: Any, properties: Any) -> None:
        self._confirmed += 1

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._refused = reason.is_failure
        self.fault = f"{self._spec.host}:{self._spec.port}: {str(reason).lower()}" if reason.is_failure else ""

    def _on_disconnect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if not self._refused:  # else why it was refused says more
            self.fault = f"{self._spec.host}:{self._spec.port}: {str(reason).lower()}"

    def write(self, batch: Batch) -> None:
        client, spec = self._client, self._spec
        assert client is not None
        for topic, payload in batch.items:
            if self._bytes + len(payload) > _MOST_BYTES:
                self.flush()
            while self._sent - self._confirmed >= _MOST_PENDING or (spec.qos == 0 and not client.is_connected()):
                self._place.life.pause(0.01)
            self._bytes += len(payload)
            client.publish(topic, payload, spec.qos, spec.retain)
            self._sent += 1

    def flush(self) -> Any:
        while self._confirmed < self._sent:
            self._place.life.pause(0.002)
        self._bytes = 0
        return None

    def figures(self) -> Mapping[str, JsonValue]:
        return {"unconfirmed": self._sent - self._confirmed}

    def close(self) -> None:
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
