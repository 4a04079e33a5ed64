"""gRPC by the published .proto: clients and servers made of it by protoc, and flows among themselves."""

from __future__ import annotations

import contextlib
import importlib
import json
import socket
import sys
import threading
import urllib.request
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


def test_a_cut_batch_ends_the_call_and_none_of_it_is_taken(flow):
    need_module("grpc")
    import grpc

    from streamsd.programs.flow import grpc_frames

    port = free_port()
    one = flow(
        {
            "source": {"grpc": {"listen": f"127.0.0.1:{port}"}},
            "schema": {"i": "int"},
            "sink": {"file": {"path": "out.ndjson"}},
            "recovery": FAST,
        }
    ).start()
    whole = grpc_frames.batch(1, [b'{"i": 1}', b'{"i": 2}'])
    unknown = b"\x7a\x05hello"  # a field of later versions, of five bytes
    for cut in (whole[:-3], whole + unknown[:-2], whole + b"\x79\x00\x00", whole + b"\x80"):
        with pytest.raises(ValueError, match="cut"):
            grpc_frames.read_batch(cut)
    assert grpc_frames.read_batch(whole + unknown) == (1, [b'{"i": 1}', b'{"i": 2}'])
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        grpc.channel_ready_future(channel).result(60)
        publish = channel.stream_stream(f"/{grpc_frames.SERVICE}/{grpc_frames.PUBLISH}")
        for cut in (whole[:-3], whole + unknown[:-2]):
            with pytest.raises(grpc.RpcError):
                list(publish(iter([cut]), timeout=60))
        assert len(list(publish(iter([grpc_frames.batch(2, [b'{"i": 3}'])]), timeout=60))) == 1
    assert one.lines("out.ndjson") == [{"i": 3}]
    assert one.stop() == 0


def test_subscribers_get_every_result_and_a_slow_one_is_told_what_it_missed(flow, made):
    import grpc

    messages, stubs = made
    taken, port = free_port(), free_port()
    one = flow(
        {
            "source": {"http": {"listen": f"127.0.0.1:{taken}"}},
            "schema": {"i": "int", "pad": "str"},
            "sink": {"grpc": {"listen": f"127.0.0.1:{port}", "token": "t0k3n", "max_connections": 2, "backlog": 3}},
            "recovery": FAST,
        }
    ).start()
    until(lambda: listens(taken) and listens(port), f"both servers\n{one.log()}")

    def push(first: int, count: int, pad: str) -> None:
        lines = "".join(json.dumps({"i": i, "pad": pad}) + "\n" for i in range(first, first + count))
        kind = {"content-type": "application/x-ndjson"}
        request = urllib.request.Request(f"http://127.0.0.1:{taken}/", lines.encode(), kind)
        assert urllib.request.urlopen(request, timeout=60).status == 200

    push(0, 10, "")
    right = [("authorization", "Bearer t0k3n")]
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        subscribe = stubs.FlowStub(channel).Subscribe
        quick = subscribe(messages.Subscription(), metadata=right, timeout=120)
        slow = subscribe(messages.Subscription(), metadata=right, timeout=120)
        for call in (quick, slow):
            list(call.initial_metadata())
        with pytest.raises(grpc.RpcError) as refused:
            list(subscribe(messages.Subscription(), metadata=[("authorization", "Bearer no")], timeout=60))
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.RpcError) as full:
            list(subscribe(messages.Subscription(), metadata=right, timeout=60))
        assert full.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        # Twenty megabytes are more than gRPC's windows and our buffer hold for a reader that does not read.
        heard = Heard(quick)
        for first in range(10, 2010, 100):
            push(first, 100, "x" * 10_000)
            until(lambda first=first: len(heard.numbers) == first + 93, f"every result so far\n{one.log()}")
        assert heard.numbers == list(range(7, 2010)), "the newest three, then all"
        assert heard.ids == list(range(1, len(heard.ids) + 1))
        assert heard.missed == 0
        seen = one.until(lambda seen: seen["sinks"]["out"]["lost"] and seen["sinks"]["out"], "lost results")
        assert (seen["readers"], seen["refused"]) == (2, 1)
        late = Heard(slow)
        pushed = 2010

        def accounted() -> bool:
            nonlocal pushed
            push(pushed, 1, "")  # what was missed is told with the next batch
            pushed += 1
            return len(late.numbers) + late.missed >= pushed - 7

        until(accounted, "each result, come or counted")
        assert late.missed >= seen["lost"] > 0
        assert late.numbers == sorted(set(late.numbers)), "in order, and none twice"
    assert one.stop() == 0


class Heard:
    """What a subscriber is given, read in a thread."""

    def __init__(self, call: Any) -> None:
        self.numbers: list[int] = []
        self.ids: list[int] = []
        self.missed = 0
        threading.Thread(target=self._read, args=(call,), daemon=True).start()

    def _read(self, call: Any) -> None:
        import grpc

        with contextlib.suppress(grpc.RpcError):  # the end of the test
            for batch in call:
                self.ids.append(batch.id)
                self.missed += batch.lost
                self.numbers += [json.loads(message)["i"] for message in batch.messages]


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


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
