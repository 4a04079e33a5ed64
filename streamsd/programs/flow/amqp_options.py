"""pika's settings from a flow's."""

from __future__ import annotations

from pathlib import Path

import pika  # type: ignore[import-untyped]  # it ships no types

from streamsd.flow.spec.words import Login, Tls
from streamsd.programs.flow.network import client_context


def parameters(
    host: str, port: int, vhost: str, login: Login | None, tls: Tls | None, base: Path
) -> pika.ConnectionParameters:
    """What source and sink share."""
    context = client_context(tls, base)
    account = (
        pika.PlainCredentials(login.user, login.password.reveal()) if login else pika.PlainCredentials("guest", "guest")
    )
    return pika.ConnectionParameters(
        host=host,
        port=port,
        virtual_host=vhost,
        credentials=account,
        ssl_options=pika.SSLOptions(context, host) if context else None,
        heartbeat=30,
        blocked_connection_timeout=60,
        socket_timeout=10,
        stack_timeout=15,
        connection_attempts=1,
    )


def words(fault: BaseException) -> str:
    """pika's errors as a sentence: many have an empty text, and some hold another."""
    if isinstance(fault, pika.exceptions.ProbableAuthenticationError):
        return "wrong account or password"
    if isinstance(fault, pika.exceptions.IncompatibleProtocolError):
        return "it ended the connection at once: it wants TLS, or does not speak AMQP 0-9-1"
    if isinstance(fault, pika.exceptions.AMQPConnectionError) and fault.args:
        inner = fault.args[0]
        return str(getattr(inner, "exception", inner))
    return str(fault) or type(fault).__name__
