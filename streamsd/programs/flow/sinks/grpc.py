"""Batches of results streamed to a gRPC server (schemas/flow.proto), each until it is acknowledged."""

from __future__ import annotations

import queue
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import grpc  # type: ignore[import-untyped]  # it ships no types

from streamsd.core.diagnostics import Problem, ProblemsError
from streamsd.core.report import JsonValue
from streamsd.flow.outputs import Batch
from streamsd.flow.spec.sinks import GrpcSink
from streamsd.programs.flow import grpc_frames
from streamsd.programs.flow.ends import Place
from streamsd.programs.flow.life import Backoff
from streamsd.programs.flow.outlet import Outlet
from streamsd.programs.flow.parcels import Parcels

_ON_THE_WAY = 200
"""Batches that may be unacknowledged: a receiver may acknowledge once an epoch only."""
_BYTES_ON_THE_WAY = 16 * 1024 * 1024
"""The same in bytes, but for a single batch that is longer."""


class GrpcOutlet(Outlet):
    """`flush` returns when everything is acknowledged. A call that breaks is made again, with what was not."""

    def __init__(self, spec: GrpcSink, place: Place) -> None:
        if spec.tls is not None and not spec.tls.verify:
            hint = "give it the authority of the server's certificate: `ca`"
            raise ProblemsError([Problem("flow-sink", "gRPC always checks the server's certificate", hint)])
        assert spec.target is not None
        self._spec = spec
        self._target = spec.target
        self._place = place
        self._lock = threading.Lock()
        self._unacknowledged: OrderedDict[int, bytes] = OrderedDict()
        self._out: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._id = 0
        self._unacknowledged_bytes = 0
        self._parcels = Parcels(spec.batch, grpc_frames.MOST_AT_ONCE)
        self._closed = threading.Event()
        self._call: Any = None

    def start(self, position: Any) -> None:
        threading.Thread(target=self._run, name="grpc", daemon=True).start()

    def _run(self) -> None:
        backoff = Backoff(0.2, 10.0)
        while not self._closed.is_set():
            self._closed.wait(backoff.next())
            try:
                with self._channel() as channel:
                    self._publish(channel, backoff)
                self.fault = f"{self._target}: the server ended the call"
            except grpc.RpcError as fault:
                self.fault = f"{self._target}: {fault.details() or fault.code().name}"
            except OSError as fault:
                self.fault = f"{self._target}: {fault.strerror or fault}"

    def _channel(self) -> Any:
        options = (("grpc.keepalive_time_ms", 30_000), ("grpc.enable_retries", 0))
        if self._spec.tls is None:
            return grpc.insecure_channel(self._target, options)
        credentials = grpc_frames.channel_credentials(self._spec.tls, self._place.base)
        return grpc.secure_channel(self._target, credentials, options)

    def _publish(self, channel: Any, backoff: Backoff) -> None:
        token = self._spec.token
        metadata = (("authorization", f"Bearer {token.reveal()}"),) if token is not None else ()
        out: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        with self._lock:
            for data in self._unacknowledged.values():
                out.put(data)
            self._out = out
        publish = channel.stream_stream(
            f"/{grpc_frames.SERVICE}/{grpc_frames.PUBLISH}",
            request_serializer=None,
            response_deserializer=grpc_frames.read_ack,
        )
        call = self._call = publish(_until_none(out), metadata=metadata)
        try:
            for id in call:
                self.fault = ""
                backoff.reset()
                with self._lock:
                    while self._unacknowledged and next(iter(self._unacknowledged)) <= id:
                        _, data = self._unacknowledged.popitem(last=False)
                        self._unacknowledged_bytes -= len(data)
        finally:
            out.put(None)
            call.cancel()

    def write(self, batch: Batch) -> None:
        for parcel in self._parcels.put(batch.items):
            self._send(parcel)

    def _send(self, messages: list[bytes]) -> None:
        data = grpc_frames.batch(self._id + 1, messages)
        while self._unacknowledged and not self._is_room(len(data)):
            self._place.life.pause(0.002)
        with self._lock:
            self._id += 1
            self._unacknowledged[self._id] = data
            self._unacknowledged_bytes += len(data)
            self._out.put(data)

    def _is_room(self, size: int) -> bool:
        many = len(self._unacknowledged) >= _ON_THE_WAY
        return not many and self._unacknowledged_bytes + size <= _BYTES_ON_THE_WAY

    def flush(self) -> Any:
        if self._parcels:
            self._send(self._parcels.rest())
        while self._unacknowledged:
            self._place.life.pause(0.002)
        return None

    def figures(self) -> Mapping[str, JsonValue]:
        return {"unconfirmed": len(self._unacknowledged), "unconfirmed_bytes": self._unacknowledged_bytes}

    def close(self) -> None:
        self._closed.set()
        self._out.put(None)
        if self._call is not None:
            self._call.cancel()


def _until_none(out: queue.SimpleQueue[bytes | None]) -> Iterator[bytes]:
    while (data := out.get()) is not None:
        yield data
