"""Messages of NATS, and of JetStream."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any

import nats
import nats.errors
import nats.js.api
import nats.js.errors

from streamsd.core.report import JsonValue
from streamsd.flow.spec.sources import NatsSource
from streamsd.programs.flow.ends import Place
from streamsd.programs.flow.intake import Inbox, QueueIntake
from streamsd.programs.flow.nats_options import options

_FETCH = 1000


class NatsIntake(QueueIntake):
    """Core NATS keeps nothing: what comes while the flow is away is gone. JetStream's messages are acknowledged when
    they are stored, and given again after a crash."""

    def __init__(self, spec: NatsSource, name: str, place: Place) -> None:
        super().__init__()
        self._spec = spec
        self._place = place
        unique = hashlib.blake2b(f"{place.state}/{name}".encode(), digest_size=5).hexdigest()
        self._durable = spec.durable or f"streamsd-{place.name}-{unique}"
        self._client: Any = None
        self._room = asyncio.Event()
        self.inbox.on_room = lambda: place.network.soon(self._room.set)
        if spec.stream is not None:
            # Few enough to be stored before they would be given again.
            self.inbox = Inbox(messages=4 * _FETCH)
            self.inbox.on_room = lambda: place.network.soon(self._room.set)

    def start(self, position: Any) -> None:
        self._place.network.spawn(self._run())

    async def _run(self) -> None:
        while True:
            try:
                self._client = await nats.connect(
                    **options(self._spec.servers, self._spec.login, self._spec.tls, self._place.base, self._told)
                )
                self.fault = ""
                if self._spec.stream is None:
                    await self._subscribe()
                    return
                await self._consume()
            except (TimeoutError, OSError, nats.errors.Error, nats.js.errors.Error) as fault:
                self.fault = f"{self._spec.servers[0]}: {fault or type(fault).__name__}"
                if self._client is not None:
                    await self._client.close()
                    self._client = None
                await asyncio.sleep(1.0)

    def _told(self, words: str) -> None:
        self.fault = words

    async def _subscribe(self) -> None:
        spec = self._spec

        async def take(message: Any) -> None:
            # Awaiting holds up this subscription alone; the client's own limit then drops, and tells.
            while self.inbox.full:
                self._room.clear()
                if self.inbox.full:
                    await self._room.wait()
            self.inbox.put([message.data], [{"topic": message.subject}])

        await self._client.subscribe(spec.subject, queue=spec.queue or "", cb=take, pending_msgs_limit=500_000)

    async def _consume(self) -> None:
        spec = self._spec
        stream = self._client.jetstream()
        config = nats.js.api.ConsumerConfig(
            durable_name=self._durable,
            ack_policy=nats.js.api.AckPolicy.EXPLICIT,
            ack_wait=spec.ack_wait.seconds,
            max_ack_pending=200_000,
            filter_subject=spec.subject,
            deliver_policy=nats.js.api.DeliverPolicy.ALL,
        )
        pull = await stream.pull_subscribe(spec.subject, durable=self._durable, stream=spec.stream, config=config)
        while True:
            while self.inbox.full:
                self._room.clear()
                if self.inbox.full:
                    await self._room.wait()
            try:
                messages = await pull.fetch(_FETCH, timeout=1.0)
            except (TimeoutError, nats.errors.TimeoutError):
                continue
            self.inbox.put([m.data for m in messages], [{"topic": m.subject} for m in messages], token=messages)

    def acknowledge(self, tokens: list[Any]) -> None:
        async def tell() -> None:
            for messages in tokens:
                for message in messages:
                    await message.ack()

        self._place.network.spawn(tell())

    def figures(self) -> Mapping[str, JsonValue]:
        client = self._client
        return {"waiting": self.inbox.depth, "connected": bool(client is not None and client.is_connected)}

    def close(self) -> None:
        client = self._client
        if client is not None and self._spec.stream is not None:
            # Acknowledgements that are on their way go out first.
            self._place.network.settle(client.flush(timeout=5))
