"""Publishes to NATS, and to JetStream."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

import nats
import nats.errors
import nats.js.errors

from streamsd.flow.outputs import Batch
from streamsd.flow.spec.sinks import NatsSink
from streamsd.programs.flow.ends import Place
from streamsd.programs.flow.life import Backoff
from streamsd.programs.flow.nats_options import options
from streamsd.programs.flow.outlet import Outlet
from streamsd.programs.flow.parcels import Parcels

_ERRORS = (OSError, nats.errors.Error, nats.js.errors.Error, asyncio.TimeoutError)
_AT_ONCE = 500
_MOST, _MOST_BYTES = 5000, 8 * 1024 * 1024
"""Messages, and bytes, that wait to be published together."""


class NatsOutlet(Outlet):
    """Core: `flush` returns when the server has everything. JetStream: when the stream has stored everything."""

    def __init__(self, spec: NatsSink, place: Place) -> None:
        self._spec = spec
        self._place = place
        self._client: Any = None
        self._stream: Any = None
        self._parcels = Parcels(_MOST, _MOST_BYTES)

    def start(self, position: Any) -> None:
        backoff = Backoff(0.2, 5.0)
        while not self._try(self._connect()):
            self._place.life.pause(backoff.next() or 0.2)

    async def _connect(self) -> None:
        spec = self._spec
        self._client = await nats.connect(**options(spec.servers, spec.login, spec.tls, self._place.base, self._told))
        self._stream = self._client.jetstream() if spec.stream else None

    def _told(self, words: str) -> None:
        self.fault = words

    def _try(self, work: Any) -> bool:
        """Run it in the network's thread; False, and a fault, when it fails."""
        future: Future[None] = self._place.network.spawn(work)
        while True:
            try:
                future.result(0.2)
                self.fault = ""
                return True
            except TimeoutError:
                if future.done():
                    self.fault = f"{self._spec.servers[0]}: no answer"
                    return False
                self._place.life.pause(0.0)
            except _ERRORS as fault:
                self.fault = f"{self._spec.servers[0]}: {fault or type(fault).__name__}"
                return False

    def write(self, batch: Batch) -> None:
        for parcel in self._parcels.put(batch.items):
            self._publish(parcel)

    def flush(self) -> Any:
        if self._parcels:
            self._publish(self._parcels.rest())
        return None

    def _publish(self, items: list[Any]) -> None:
        backoff = Backoff(0.2, 5.0)
        while not self._try(self._send(items)):
            self._place.life.pause(backoff.next() or 0.1)

    async def _send(self, items: list[Any]) -> None:
        if self._stream is None:
            for subject, message in items:
                await self._client.publish(subject, message)
            await self._client.flush(timeout=10)
            return
        for at in range(0, len(items), _AT_ONCE):
            part = items[at : at + _AT_ONCE]
            await asyncio.gather(*(self._stream.publish(subject, message, timeout=10) for subject, message in part))

    def close(self) -> None:
        if self._client is not None:
            self._place.network.settle(self._client.close())
