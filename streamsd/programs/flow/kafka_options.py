"""librdkafka's settings from a flow's, and what it says is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError

from streamsd.flow.spec.words import Login, Tls


def options(
    brokers: Sequence[str], login: Login | None, mechanism: str, tls: Tls | None, base: Path
) -> dict[str, object]:
    """What consumer and producer share."""
    made: dict[str, object] = {
        "bootstrap.servers": ",".join(brokers),
        "client.id": "streamsd",
        "log_level": 3,
        "reconnect.backoff.max.ms": 5000,
    }
    if login is not None:
        made["sasl.mechanism"] = mechanism
        made["sasl.username"] = login.user
        made["sasl.password"] = login.password.reveal()
    made["security.protocol"] = {
        (False, False): "PLAINTEXT",
        (False, True): "SSL",
        (True, False): "SASL_PLAINTEXT",
        (True, True): "SASL_SSL",
    }[(login is not None, tls is not None)]
    if tls is not None:
        made["enable.ssl.certificate.verification"] = tls.verify
        for name, value in (
            ("ssl.ca.location", tls.ca),
            ("ssl.certificate.location", tls.cert),
            ("ssl.key.location", tls.key),
        ):
            if value is not None:
                made[name] = str(base / value)
    return made


class Complaints:
    """The `error_cb` of a client. `lost` is what keeps it from every broker, empty while nothing does: librdkafka tells
    of one broken connection too, which it mends by itself, and in the end only that all brokers are down. `told` is
    called for each."""

    def __init__(self, brokers: Sequence[str], told: Callable[[], None] = lambda: None) -> None:
        self._brokers = ",".join(brokers)
        self._told = told
        self._cause = ""
        self.lost = ""

    def __call__(self, fault: Any) -> None:
        self._told()
        if fault.code() != KafkaError._ALL_BROKERS_DOWN:
            self._cause = fault.str()
        if fault.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION) or fault.fatal():
            self.lost = f"{self._brokers}: {self._cause or fault.str()}"

    def mended(self) -> None:
        self._cause = self.lost = ""
