"""Encrypted connections, with an authority of our own: every end takes it, and none takes a stranger's."""

from __future__ import annotations

import os
import socket
import ssl
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from streamsd.flow.spec.words import Login, Tls
from tests.e2e.flow import brokers, certificates
from tests.e2e.flow.certificates import Certificates
from tests.e2e.flow.processes import free_port, until
from tests.programs_needed import need, need_module

FAST = {"epoch": "100ms"}
SCHEMA = {"i": "int", "via": "str"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates.make(tmp_path_factory.mktemp("tls"))


def via(name: str) -> dict[str, Any]:
    return {"steps": [{"set": {"via": f"'{name}'"}}]}


def test_servers_and_clients_of_our_own(flow, made):
    need_module("grpc")
    http, tcp, grpc, web, sse, own = (free_port() for _ in range(6))
    hub = flow(
        {
            "sources": {
                "http": {"http": {"listen": f"127.0.0.1:{http}", "tls": made.server}, "schema": SCHEMA},
                "tcp": {"tcp": {"listen": f"127.0.0.1:{tcp}", "tls": made.server}, "schema": SCHEMA},
                "grpc": {"grpc": {"listen": f"127.0.0.1:{grpc}", "tls": made.server}, "schema": SCHEMA},
                "pushed": {
                    "websocket": {"listen": f"127.0.0.1:{own}", "token": "t0k3n", "tls": made.server},
                    "schema": SCHEMA,
                },
                "websocket": {
                    "websocket": {"url": f"wss://127.0.0.1:{web}/", "tls": made.client},
                    "schema": SCHEMA,
                },
                "sse": {"sse": {"url": f"https://127.0.0.1:{sse}/", "tls": made.client}, "schema": SCHEMA},
            },
            "sink": {"file": {"path": "out.ndjson"}},
            "recovery": FAST,
        },
        "hub",
    ).start()
    flow(
        {
            "source": {"generator": {"fields": {"i": "n"}, "rate": 50}},
            "schema": {"i": "int"},
            "sinks": {
                "http": {"http": {"url": f"https://127.0.0.1:{http}/", "tls": made.client}, **via("http")},
                "tcp": {"tcp": {"host": "127.0.0.1", "port": tcp, "tls": made.client}, **via("tcp")},
                "grpc": {"grpc": {"target": f"127.0.0.1:{grpc}", "tls": made.client}, **via("grpc")},
                "websocket": {"websocket": {"listen": f"127.0.0.1:{web}", "tls": made.server}, **via("websocket")},
                "pushed": {
                    "websocket": {"url": f"wss://127.0.0.1:{own}/", "token": "t0k3n", "tls": made.client},
                    **via("pushed"),
                },
                "sse": {"sse": {"listen": f"127.0.0.1:{sse}", "tls": made.server}, **via("sse")},
            },
            "recovery": FAST,
        },
        "maker",
    ).start()
    ways = {"http", "tcp", "grpc", "websocket", "pushed", "sse"}
    until(lambda: {row["via"] for row in hub.lines("out.ndjson")} == ways, f"messages by each way\n{hub.log()}")


def test_a_stranger_s_certificate_is_refused_and_told(flow, made):
    port = free_port()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.cert, made.key)
    listener = socket.create_server(("127.0.0.1", port), backlog=50)

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                client.settimeout(10)
                context.wrap_socket(client, server_side=True).close()
            except OSError:
                client.close()

    threading.Thread(target=serve, daemon=True).start()
    source = {"mqtt": {"port": port, "topics": ["x"], "tls": {"ca": str(made.stranger)}}}
    one = flow({"source": source, "sink": {"discard": {}}}).start()
    until(
        lambda: (found := one.report()) and "certificate verify failed" in found.message.lower().replace("_", " "),
        f"a report that says so\n{one.log()}",
    )
    assert one.report().reason == "SourceUnreachable"
    listener.close()


def test_mqtt_and_nats_over_tls_and_mqtt_5_shared_among_two(flow, made, tmp_path: Path):
    need_module("nats")
    port = free_port()
    config = tmp_path / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\ncertfile {made.cert}\nkeyfile {made.key}\n"
        f"user {'root' if os.geteuid() == 0 else ''}\n"
    )
    nats_port = free_port()
    server = Path(sys.executable).parent / "nats-server"
    argv = [str(server) if server.exists() else need("nats-server"), "-a", "127.0.0.1", "-p", str(nats_port)]
    argv += ["--tls", "--tlscert", str(made.cert), "--tlskey", str(made.key)]
    broker = brokers.Broker([need("mosquitto"), "-c", str(config)], port, tmp_path / "mosquitto.log")
    nats = brokers.Broker(argv, nats_port, tmp_path / "nats.log")
    with brokers.running(broker), brokers.running(nats):
        end = {"host": "127.0.0.1", "port": port, "tls": made.client}
        servers = {"servers": [f"tls://127.0.0.1:{nats_port}"], "tls": made.client}
        takers = [
            flow(
                {
                    "sources": {
                        "mqtt": {"mqtt": {**end, "topics": ["$share/two/x/#"], "qos": 1}, "schema": {"i": "int"}},
                        "nats": {"nats": {**servers, "subject": "x", "queue": "two"}, "schema": {"i": "int"}},
                    },
                    "sink": {"file": {"path": "out.ndjson"}},
                    "recovery": FAST,
                },
                name,
            ).start()
            for name in ("one", "two")
        ]
        for taker in takers:
            taker.until(
                lambda seen: all(seen["sources"][name]["connected"] for name in ("mqtt", "nats")), "both connections"
            )
        flow(
            {
                "source": {"generator": {"fields": {"i": "n"}, "count": 400, "rate": 400}},
                "schema": {"i": "int"},
                "sinks": {
                    "mqtt": {"mqtt": {**end, "topic": "x/{str(i % 5)}"}},
                    "nats": {"nats": {**servers, "subject": "x"}},
                },
                "recovery": FAST,
            },
            "maker",
        ).start().complete()

        def shared() -> bool:
            by_taker = [[row["i"] for row in taker.lines("out.ndjson")] for taker in takers]
            return all(by_taker) and sorted(i for one in by_taker for i in one) == sorted([*range(400)] * 2)

        until(shared, "each message at one of the two")


@pytest.mark.slow
def test_rabbitmq_over_tls_and_what_keeps_a_flow_from_it(flow, made, tmp_path: Path):
    need_module("pika")
    with brokers.rabbitmq(tmp_path, made) as broker:
        end = {"host": "127.0.0.1", "port": broker.port, "tls": made.client}
        taker = flow(
            {
                "source": {"amqp": {**end, "queue": "work"}},
                "schema": {"i": "int"},
                "sink": {"file": {"path": "out.ndjson"}},
                "recovery": FAST,
            },
            "taker",
        ).start()
        taker.until(lambda seen: seen["sources"]["in"]["connected"], "a connection")
        maker = flow(
            {
                "source": {"generator": {"fields": {"i": "n"}, "count": 400}},
                "schema": {"i": "int"},
                "sink": {"amqp": {**end, "routing_key": "work"}},
                "recovery": FAST,
            },
            "maker",
        ).start()
        maker.complete()
        until(lambda: len(taker.lines("out.ndjson")) >= 400, f"every message\n{taker.log()}")
        assert sorted(row["i"] for row in taker.lines("out.ndjson")) == list(range(400))
        wrong = {"login": {"user": "guest", "password": "geheim"}}
        for change, words in (
            ({"tls": {"ca": str(made.stranger)}}, "certificate verify failed"),
            (wrong, "wrong account or password"),
            ({"tls": None}, "ended the connection"),
        ):
            one = flow({"source": {"amqp": {**end, "queue": "work", **change}}, "sink": {"discard": {}}}, words)
            one.start()
            until(
                lambda one=one, words=words: (
                    (found := one.report()) and words in found.message.lower().replace("_", " ")
                ),
                f"{words}\n{one.log()}",
            )
            told = one.report()
            assert told.reason == "SourceUnreachable"
            assert "geheim" not in told.message + one.log()
            one.close()


def test_what_kafka_s_client_is_told(made):
    """Kafka itself is asked by the slow tests; this holds the settings to what the client accepts."""
    need_module("confluent_kafka")
    from confluent_kafka import Consumer

    from streamsd.programs.flow.kafka_options import options

    login = Login.model_validate({"user": "u", "password": "geheim"})
    tls = Tls.model_validate({"ca": str(made.ca), "cert": str(made.cert), "key": str(made.key)})
    for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
        settings = options(("127.0.0.1:1",), login, mechanism, tls, Path("/"))
        assert settings["security.protocol"] == "SASL_SSL"
        assert settings["sasl.mechanism"] == mechanism
        Consumer({**settings, "group.id": "x", "log_level": 0}).close()
    assert options(("127.0.0.1:1",), None, "PLAIN", tls, Path("/"))["security.protocol"] == "SSL"
    assert options(("127.0.0.1:1",), login, "PLAIN", None, Path("/"))["security.protocol"] == "SASL_PLAINTEXT"
