"""librdkafka's settings from a flow's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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
