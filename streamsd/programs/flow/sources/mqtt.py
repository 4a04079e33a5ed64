"""Messages of an MQTT broker, read in batches.

QoS 0 goes straight to the flow. QoS 1 and 2 go through a spool on the disk and are acknowledged when they are in it:
brokers give only a few unacknowledged messages, so waiting for the flow's epoch would be slow.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Any

from streamsd.core.report import JsonValue
from streamsd.flow.pipeline import Chunk
from streamsd.flow.spec.sources import MqttSource
from streamsd.programs.flow import mqtt_packets as mqtt
from streamsd.programs.flow.ends import Place
from streamsd.programs.flow.intake import QueueIntake
from streamsd.programs.flow.life import Backoff
from streamsd.programs.flow.network import client_context, connect_words
from streamsd.programs.flow.spool import Spool

_CONNECT_WITHIN = 15.0


class MqttIntake(QueueIntake):
    """With QoS 1 or 2 the position is one of the spool; with QoS 0 there is none."""

    def __init__(self, spec: MqttSource, name: str, place: Place, most_message: int) -> None:
        super().__init__()
        self.spec = spec
        self.version = 5 if spec.version == "5" else 4
        self.most_message = most_message
        self._place = place
        # One flow on one host is one session at the broker.
        unique = hashlib.blake2b(f"{place.state}/{name}".encode(), digest_size=5).hexdigest()
        self._client_id = spec.client_id or f"streamsd-{place.name}-{unique}"[:64]
        self.spool = Spool(place.state / f"spool-{name}", sync=spec.sync) if spec.qos else None
        self._topics = place.state / f"spool-{name}/topics.json" if spec.qos else None
        self._marked: Any = None
        self._session: _Session | None = None
        self.received = 0
        self.inbox.on_room = lambda: place.network.soon(self.resume)
        self._metas: dict[bytes, dict[str, str]] = {}
        self._closed = threading.Event()

    # --- the flow's side

    def start(self, position: Any) -> None:
        if self.spool is not None:
            self.spool.seek(position)
        self._place.network.spawn(self._stay_connected())

    def poll(self, most: int) -> list[Chunk]:
        if self.spool is None:
            return super().poll(most)
        chunks = [Chunk("", messages, metas) for messages, metas in self.spool.read(most)]
        if chunks and self._session is not None and self._session.paused and not self.spool.full:
            self._place.network.soon(self.resume)
        return chunks

    def position(self) -> Any:
        if self.spool is None:
            return super().position()
        self._marked = self.spool.position()
        return self._marked

    def stored(self) -> None:
        if self.spool is not None and self._marked is not None:
            self.spool.forget(self._marked)

    def figures(self) -> Mapping[str, JsonValue]:
        waiting: JsonValue = self.spool.waiting() if self.spool else self.inbox.depth
        return {"connected": self._session is not None, "waiting_bytes" if self.spool else "waiting": waiting}

    def close(self) -> None:
        self._closed.set()
        session = self._session
        if session is not None:
            self._place.network.soon(session.leave)

    # --- the network's side

    def meta(self, topic: bytes) -> dict[str, str]:
        """The same mapping for the same topic: they are many messages and few topics."""
        found = self._metas.get(topic)
        if found is None:
            if len(self._metas) > 100_000:
                self._metas.clear()
            found = self._metas[topic] = {"topic": topic.decode(errors="replace")}
        return found

    def take(self, messages: list[bytes], metas: list[Any]) -> bool:
        """Keep messages. Returns whether there is room for more. OSError when the spool cannot."""
        self.received += len(messages)
        if self.spool is None:
            return self.inbox.put(messages, metas)
        self.spool.write(messages, metas)
        return not self.spool.full

    def resume(self) -> None:
        if self._session is not None:
            self._session.resume()

    def old_topics(self) -> list[str]:
        """Filters that were subscribed to before and are no longer wanted."""
        if self._topics is None:
            return []
        with contextlib.suppress(OSError, ValueError):
            return [name for name in json.loads(self._topics.read_text()) if name not in self.spec.topics]
        return []

    def subscribed(self) -> None:
        """The broker's session now has the filters of the spec."""
        if self._topics is not None:
            self._topics.write_text(json.dumps(list(self.spec.topics)))

    async def _stay_connected(self) -> None:
        backoff = Backoff(0.2, 10.0)
        while not self._closed.is_set():
            await asyncio.sleep(backoff.next())
            try:
                session = await self._connect()
            except (OSError, ssl.SSLError, TimeoutError, mqtt.MqttFault) as fault:
                self.fault = f"{self.spec.host}:{self.spec.port}: {_words(fault)}"
                continue
            self.fault = ""
            self._session = session
            backoff.reset()
            why = await session.ended
            self._session = None
            self.fault = f"{self.spec.host}:{self.spec.port}: {why}"

    async def _connect(self) -> _Session:
        spec, loop = self.spec, asyncio.get_running_loop()
        context = client_context(spec.tls, self._place.base)
        session = _Session(self)
        async with asyncio.timeout(_CONNECT_WITHIN):
            await loop.create_connection(lambda: session, spec.host, spec.port, ssl=context)
            try:
                await session.begin(self._client_id)
            except BaseException:
                session.abort()
                raise
        return session


class _Session(asyncio.Protocol):
    """One connection to the broker."""

    def __init__(self, intake: MqttIntake) -> None:
        self._intake = intake
        self._version = intake.version
        self._reader = mqtt.Reader(intake.most_message)
        loop = asyncio.get_running_loop()
        self._accepted: asyncio.Future[None] = loop.create_future()
        self._subscribed: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[str] = loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._heard = time.monotonic()
        self._known: set[int] = set()
        """QoS 2: messages that were kept and not released yet; the broker may send them again."""
        self._pinging: asyncio.Task[None] | None = None
        self.paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    async def begin(self, client_id: str) -> None:
        assert self._transport is not None
        spec = self._intake.spec
        login = spec.login
        self._transport.write(
            mqtt.connect(
                self._version,
                client_id,
                max(1, int(spec.keepalive.seconds)),
                spec.qos == 0,
                int(spec.session_expiry.seconds) if spec.qos else 0,
                login.user if login else None,
                login.password.reveal() if login else None,
            )
        )
        await self._accepted
        old = self._intake.old_topics()
        if old:
            # The broker's session still has them.
            self._transport.write(mqtt.unsubscribe(self._version, 2, old))
        self._transport.write(mqtt.subscribe(self._version, 1, list(spec.topics), spec.qos))
        await self._subscribed
        self._intake.subscribed()
        self._pinging = asyncio.get_running_loop().create_task(self._ping(max(1.0, spec.keepalive.seconds)))

    async def _ping(self, keepalive: float) -> None:
        assert self._transport is not None
        while True:
            await asyncio.sleep(keepalive / 2)
            if not self.paused and time.monotonic() - self._heard > keepalive * 1.5:
                self._end("the broker fell silent")
                return
            self._transport.write(mqtt.PINGREQ_BYTES)

    def data_received(self, data: bytes) -> None:
        self._heard = time.monotonic()
        try:
            self._take(data)
        except (mqtt.MqttFault, IndexError) as fault:
            self._end(f"the broker broke the protocol: {fault}")
        except OSError as fault:
            # Not kept, so not acknowledged: the broker gives it again after we connect anew.
            self._end(f"the spool cannot be written: {fault.strerror or fault}")

    def _take(self, data: bytes) -> None:
        messages: list[bytes] = []
        metas: list[Any] = []
        once: list[int] = []
        twice: list[int] = []
        released: list[int] = []
        meta = self._intake.meta
        for packet in self._reader.feed(data):
            if packet.kind == mqtt.PUBLISH:
                told = mqtt.publish(packet, self._version)
                if told.qos == 2:
                    twice.append(told.packet_id)
                    if told.packet_id in self._known:
                        continue
                    self._known.add(told.packet_id)
                elif told.qos == 1:
                    once.append(told.packet_id)
                messages.append(told.payload)
                metas.append(meta(told.topic))
            elif packet.kind == mqtt.PUBREL:
                released.append(packet.body[0] << 8 | packet.body[1])
            else:
                self._other(packet)
        room = self._intake.take(messages, metas) if messages else True
        self._known.difference_update(released)
        answer = mqtt.acknowledgement(mqtt.PUBACK, once) + mqtt.acknowledgement(mqtt.PUBREC, twice)
        answer += mqtt.acknowledgement(mqtt.PUBCOMP, released)
        if answer and self._transport is not None:
            self._transport.write(answer)
        if not room:
            self._pause()

    def _other(self, packet: mqtt.Packet) -> None:
        match packet.kind:
            case mqtt.CONNACK if not self._accepted.done():
                code = mqtt.reason_of(packet, self._version)
                if code:
                    self._accepted.set_exception(mqtt.MqttFault(mqtt.REFUSALS.get(code, f"refused with code {code}")))
                else:
                    self._accepted.set_result(None)
            case mqtt.SUBACK if not self._subscribed.done():
                refused = mqtt.refused_filters(packet, self._version)
                if refused:
                    names = ", ".join(self._intake.spec.topics[place] for place in refused)
                    self._subscribed.set_exception(mqtt.MqttFault(f"the broker refuses to subscribe us to {names}"))
                else:
                    self._subscribed.set_result(None)
            case mqtt.DISCONNECT:
                code = mqtt.reason_of(packet, self._version)
                taken = code == 0x8E
                self._end("another client took our client id" if taken else f"the broker ended it with code {code}")
            case _:
                pass

    def _pause(self) -> None:
        if self._transport is not None and not self.paused and not self._transport.is_closing():
            self._transport.pause_reading()
            self.paused = True

    def resume(self) -> None:
        if self._transport is not None and self.paused:
            self.paused = False
            self._heard = time.monotonic()
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def leave(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(mqtt.DISCONNECT_BYTES)
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _end(self, why: str) -> None:
        for waiting in (self._accepted, self._subscribed):
            if not waiting.done():
                waiting.set_exception(mqtt.MqttFault(why))
                waiting.exception()
        if not self.ended.done():
            self.ended.set_result(why)
        if self._pinging is not None:
            self._pinging.cancel()
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(f"the connection is lost: {exc}" if exc else "the broker closed the connection")


def _words(fault: BaseException) -> str:
    if isinstance(fault, TimeoutError):
        return f"no answer within {_CONNECT_WITHIN:.0f} s"
    return connect_words(fault)
