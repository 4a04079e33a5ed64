"""Messages of NATS, and of JetStream."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

import nats
import nats.errors
import nats.js.api
import nats.js.errors

from streamsd.core.report import JsonValue
from streamsd.flow.spec.sources import NatsSource
from streamsd.programs.flow.ends import Place
from streamsd.programs.flow.intake import MOST_AT_ONCE, Inbox, QueueIntake
from streamsd.programs.flow.nats_options import options
from streamsd.programs.flow.telling import log

_FETCH = 1000
_QUIET = 10.0
"""Seconds without a loss after which the next one is told again."""
_NOTHING_COMES = 2.0
"""Seconds beyond the time of a request after which its answer is taken to be lost."""


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
        self._lost = 0
        """Messages of core NATS that came quicker than they were taken, and that nobody gives again."""
        self._lost_at = -_QUIET
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
                    **options(
                        self._spec.servers,
                        self._spec.login,
                        self._spec.tls,
                        self._place.base,
                        self._told,
                        self._dropped,
                    )
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

    def _dropped(self) -> None:
        self._lost += 1
        if time.monotonic() - self._lost_at > _QUIET:
            log("messages-dropped", subject=self._spec.subject, message="they come quicker than the flow takes them")
        self._lost_at = time.monotonic()

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
        await stream.pull_subscribe(spec.subject, durable=self._durable, stream=spec.stream, config=config)
        wanted = await self._client.subscribe(self._client.new_inbox())
        while True:
            while self.inbox.full:
                self._room.clear()
                if self.inbox.full:
                    await self._room.wait()
            # What is there; when there is nothing, the first that comes within a second.
            messages = await self._pull(wanted, {"batch": _FETCH, "no_wait": True}, 0.0)
            messages = messages or await self._pull(wanted, {"batch": 1}, 1.0)
            if messages:
                metas = [{"topic": m.subject} for m in messages]
                self.inbox.put([m.data for m in messages], metas, token=[m.reply for m in messages])

    async def _pull(self, wanted: Any, request: dict[str, Any], seconds: float) -> list[Any]:
        """Ask for messages (NATS ADR-13), of together some megabytes: the library's own `fetch` counts messages only.
        The server ends its answer with a message of status, unless it gave as many as were asked for."""
        client, spec = self._client, self._spec
        # One message must fit, whatever its size.
        request["max_bytes"] = max(MOST_AT_ONCE, 2 * client.max_payload)
        if seconds:
            request["expires"] = int(seconds * 1e9)
        next_ = f"$JS.API.CONSUMER.MSG.NEXT.{spec.stream}.{self._durable}"
        await client.publish(next_, json.dumps(request).encode(), wanted.subject)
        messages: list[Any] = []
        while len(messages) < request["batch"]:
            try:
                message = await wanted.next_msg(seconds + _NOTHING_COMES)
            except (TimeoutError, nats.errors.TimeoutError):
                break
            if not message.reply:
                _look_at(message.headers or {})
                break
            messages.append(message)
        return messages

    def acknowledge(self, tokens: list[Any]) -> None:
        async def tell() -> None:
            for replies in tokens:
                for reply in replies:
                    await self._client.publish(reply)

        self._place.network.spawn(tell())

    def figures(self) -> Mapping[str, JsonValue]:
        client = self._client
        told = {"waiting": self.inbox.depth, "connected": bool(client is not None and client.is_connected)}
        return {**told, **({"lost": self._lost} if self._lost else {})}

    def close(self) -> None:
        client = self._client
        if client is not None and self._spec.stream is not None:
            # Acknowledgements that are on their way go out first.
            self._place.network.settle(client.flush(timeout=5))


def _look_at(status: Mapping[str, str]) -> None:
    """Whether the server's answer is at its end in order: nats.errors.Error where it is not."""
    code, words = status.get("Status", ""), status.get("Description", "")
    if code in ("404", "408") or (code == "409" and any(end in words for end in ("MaxBytes", "Batch Completed"))):
        return
    raise nats.errors.Error(f"the server answers {code} {words or 'that there is no such consumer'}")
