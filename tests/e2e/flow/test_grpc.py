"""gRPC by the published .proto: clients and servers made of it by protoc, and flows among themselves."""

from __future__ import annotations

import importlib
import json
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.flow.processes import free_port, until
from tests.programs_needed import need_module

FAST = {"epoch": "100ms"}
PROTO = Path(__file__).parents[3] / "schemas"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    """(messages, stubs) as protoc makes them."""
    need_module("grpc_tools")
    from grpc_tools import protoc

    out = tmp_path_factory.mktemp("proto")
    assert protoc.main(["", f"-I{PROTO}", f"--python_out={out}", f"--grpc_python_out={out}", "flow.proto"]) == 0
    sys.path.insert(0, str(out))
    try:
        yield importlib.import_module("flow_pb2"), importlib.import_module("flow_pb2_grpc")
    finally:
        sys.path.remove(str(out))


def test_a_client_of_the_proto_is_told_what_is_stored(flow, made):
    import grpc

    messages, stubs = made
    port = free_port()
    one = flow(
        {
            "source": {"grpc": {"listen": f"127.0.0.1:{port}", "token": "t0k3n", "max_connections": 1}},
            "schema": {"i": "int"},
            "sink": {"file": {"path": "out.ndjson"}},
            "recovery": FAST,
        }
    ).start()
    batches = [
        messages.Batch(id=n + 1, messages=[b'{"i": %d}' % i for i in range(n * 100, n * 100 + 100)]) for n in range(20)
    ]
    batches.append(messages.Batch(id=21, messages=[b"{", b'{"i": 2000, "pad": "%s"}' % (b"x" * 300)]))
    batches.append(messages.Batch(id=22))
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        grpc.channel_ready_future(channel).result(60)
        publish = stubs.FlowStub(channel).Publish
        acks = [ack.id for ack in publish(iter(batches), metadata=[("authorization", "Bearer t0k3n")], timeout=60)]
        assert acks[-1] == 22
        assert acks == sorted(acks)
        assert [row["i"] for row in one.lines("out.ndjson")] == list(range(2001)), "what is acknowledged is there"
        one.until(lambda seen: seen["dead_reasons"] == {"malformed": 1}, "a dead letter")

        with pytest.raises(grpc.RpcError) as refused:
            list(publish(iter(batches), metadata=[("authorization", "Bearer no")], timeout=60))
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        go_on = threading.Event()

        def waiting() -> Iterator[Any]:
            yield batches[0]
            go_on.wait(60)

        held = publish(waiting(), metadata=[("authorization", "Bearer t0k3n")], timeout=60)
        assert next(held).id == 1
        with pytest.raises(grpc.RpcError) as full:
            list(publish(iter(batches), metadata=[("authorization", "Bearer t0k3n")], timeout=60))
        assert full.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        go_on.set()
    assert one.stop() == 0


def test_a_server_of_the_proto_gets_everything_though_its_calls_break(flow, made):
    import grpc

    messages, stubs = made
    taken: list[int] = []
    calls: list[int] = []

    class Servicer(stubs.FlowServicer):
        def Publish(self, requests: Any, context: Any) -> Iterator[Any]:
            calls.append(1)
            for count, batch in enumerate(requests):
                if len(calls) < 3 and count == 3:
                    context.abort(grpc.StatusCode.UNAVAILABLE, "a restart")
                taken.extend(json.loads(message)["i"] for message in batch.messages)
                yield messages.Ack(id=batch.id)

    server = grpc.server(ThreadPoolExecutor(4))
    stubs.add_FlowServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        one = flow(
            {
                "source": {"generator": {"fields": {"i": "n"}, "count": 3000, "rate": 3000}},
                "schema": {"i": "int"},
                "sink": {"grpc": {"target": f"127.0.0.1:{port}", "batch": 100}},
                "recovery": FAST,
            }
        ).start()
        one.complete()
        assert sorted(set(taken)) == list(range(3000))
        assert len(calls) == 3
        assert one.stop() == 0
    finally:
        server.stop(0).wait()


def test_from_flow_to_flow_nothing_is_missing_when_the_receiver_is_killed(flow):
    need_module("grpc")
    port = free_port()
    taker = flow(
        {
            "source": {"grpc": {"listen": f"127.0.0.1:{port}"}},
            "schema": {"i": "int"},
            "sink": {"file": {"path": "out.ndjson"}},
            "recovery": FAST,
        },
        "taker",
    ).start()
    maker = flow(
        {
            "source": {"generator": {"fields": {"i": "n"}, "count": 4000, "rate": 2000}},
            "schema": {"i": "int"},
            "sink": {"grpc": {"target": f"127.0.0.1:{port}", "batch": 50}},
            "recovery": FAST,
        },
        "maker",
    ).start()
    until(lambda: len(taker.lines("out.ndjson")) > 500, f"results\n{maker.log()}")
    taker.kill()
    taker.start()
    maker.complete()
    assert {row["i"] for row in taker.lines("out.ndjson")} == set(range(4000))
    assert not maker.report().degraded
