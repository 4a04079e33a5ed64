"""The server: one publisher at a time, who knows the key."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import signal
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from streamsd.core.report import JsonValue, Report, write_report
from streamsd.programs.ingest import amf, chunks
from streamsd.programs.ingest.amf import AmfFault, Value
from streamsd.programs.ingest.chunks import COMMAND, Message, Messages, RtmpFault, send
from streamsd.programs.ingest.feed import Feed
from streamsd.programs.ingest.flv import MediaFault

_EVERY = 1.0
"""Seconds between two reports."""
_INTRODUCTION = 10.0
"""Seconds until somebody who connected has to publish."""
_STALLED = 5.0
"""Seconds without a frame after which another publisher may take over."""
_SILENT = 15.0
"""Seconds without a message after which a publisher is let go: its network may be gone, and it comes back."""
_AT_ONCE = 16
"""Connections; only one of them can publish."""
_EACH = 8
"""Of those that have not published yet, how many one address may have."""
_WINDOW = 2_500_000
"""Bytes after which the other side acknowledges: what such servers usually say."""


class Refused(Exception):
    """Somebody who may not publish; the words are for them."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`picture` and `both`: ffmpeg's command lines, see Feed. `url`: what publishers are given, without the key."""

    host: str
    port: int
    app: str
    key: str
    url: str
    picture: Sequence[str]
    both: Sequence[str]
    report: Path


@dataclass(slots=True)
class _Peer:
    """A connection. `feed` once it publishes."""

    name: str
    address: str
    writer: asyncio.StreamWriter
    app: str = ""
    feed: Feed | None = None


@dataclass(slots=True)
class Ingest:
    """Runs until SIGTERM or SIGINT."""

    settings: Settings
    publishers: int = 0
    refused: int = 0
    trouble: str = ""
    _live: _Peer | None = None
    _peers: dict[asyncio.Task[None], _Peer] = field(default_factory=dict)
    """In the order in which they came."""
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _beat: int = 0
    _began: float = 0.0
    _frames: int = 0
    _bytes: int = 0

    async def run(self) -> None:
        """OSError when it cannot listen."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        server = await asyncio.start_server(self._met, self.settings.host, self.settings.port)
        try:
            while not self._stopping.is_set():
                self._report()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), _EVERY)
        finally:
            server.close()
            for task in list(self._peers):
                task.cancel()
            await asyncio.gather(*self._peers, return_exceptions=True)

    async def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        address, port = writer.get_extra_info("peername")[:2]
        name = f"{address}:{port}"
        peer = _Peer(name, address, writer)
        self._peers[task] = peer
        self._make_room(address)
        try:
            await self._serve(peer, reader)
        except (OSError, EOFError, TimeoutError):
            pass
        except (RtmpFault, AmfFault, MediaFault, Refused) as fault:
            self.refused += 1
            self.trouble = f"{name} was refused: {fault}"
            _say("publisher-refused", publisher=name, why=str(fault))
        except asyncio.CancelledError:
            pass  # it ends, or another publisher took over
        finally:
            self._peers.pop(task, None)
            writer.close()
            await self._gone(peer)

    def _make_room(self, newcomer: str) -> None:
        """Who comes is always let in, or a few that say nothing would keep everybody out. Those who have been there the
        longest and do not publish go: of the newcomer's address when that has more than its share, else of the one
        that has the most."""
        strangers: dict[str, list[asyncio.Task[None]]] = {}
        for task, peer in self._peers.items():
            if peer.feed is None:
                strangers.setdefault(peer.address, []).append(task)
        crowd = strangers[newcomer]
        if len(crowd) <= _EACH:
            if len(self._peers) <= _AT_ONCE:
                return
            crowd = max(strangers.values(), key=len)
        oldest = crowd[0]
        del self._peers[oldest]
        oldest.cancel()

    async def _serve(self, peer: _Peer, reader: asyncio.StreamReader) -> None:
        async with asyncio.timeout(_INTRODUCTION) as introduction:
            await chunks.greet(reader, peer.writer)
            messages = Messages(reader, peer.writer)
            while True:
                message = await messages.next()
                if not await self._take(peer, message):
                    return
                if peer.feed is not None:
                    messages.longest = chunks.LONGEST
                    introduction.reschedule(asyncio.get_running_loop().time() + _SILENT)

    async def _take(self, peer: _Peer, message: Message) -> bool:
        """Whether it goes on."""
        match message.type:
            case chunks.COMMAND:
                return await self._command(peer, message)
            case chunks.DATA if peer.feed is not None:
                await self._data(peer.feed, message.payload)
            case chunks.AUDIO | chunks.VIDEO if peer.feed is not None:
                await peer.feed.take(message)
            case _:
                pass
        return True

    async def _data(self, feed: Feed, payload: bytes) -> None:
        values = amf.decode(payload)
        if values and values[0] == "@setDataFrame":
            payload, values = payload[amf.first_end(payload) :], values[1:]
        if len(values) > 1 and values[0] == "onMetaData" and isinstance(values[1], dict):
            await feed.info(payload, sound=bool(values[1].get("audiocodecid")))

    async def _command(self, peer: _Peer, message: Message) -> bool:
        values = amf.decode(message.payload)
        name = values[0] if values else None
        # It is said back: only what can be.
        number = values[1] if len(values) > 1 and isinstance(values[1], float) else 0.0
        arguments = values[2:]
        match name:
            case "connect":
                self._connect(peer, number, arguments)
            case "createStream":
                _answer(peer.writer, number, None, 1.0)
            case "releaseStream" | "FCPublish":
                _answer(peer.writer, number, None)
            case "publish":
                await self._publish(peer, message.stream, arguments)
            case "deleteStream" | "FCUnpublish" | "closeStream":
                return peer.feed is None
            case _:
                pass
        await peer.writer.drain()
        return True

    def _connect(self, peer: _Peer, number: float, arguments: list[Value]) -> None:
        about = arguments[0] if arguments else None
        app = about.get("app") if isinstance(about, dict) else None
        peer.app = app.strip("/") if isinstance(app, str) else ""
        writer = peer.writer
        send(writer, 2, Message(chunks.WINDOW, 0, 0, struct.pack(">I", _WINDOW)))
        send(writer, 2, Message(chunks.BANDWIDTH, 0, 0, struct.pack(">IB", _WINDOW, 2)))
        send(writer, 2, Message(chunks.SET_CHUNK_SIZE, 0, 0, struct.pack(">I", chunks.OUR_CHUNKS)))
        _answer(
            writer,
            number,
            {"fmsVer": "FMS/3,0,1,123", "capabilities": 31.0},
            {"level": "status", "code": "NetConnection.Connect.Success", "description": "", "objectEncoding": 0.0},
        )

    async def _publish(self, peer: _Peer, stream: int, arguments: list[Value]) -> None:
        key = arguments[1] if len(arguments) > 1 else None
        known = isinstance(key, str) and hmac.compare_digest(key.encode(), self.settings.key.encode())
        if peer.app != self.settings.app or not known:
            await self._deny(peer, stream, "there is no such stream, or the key is wrong")
        # Another may come while the old one's end is waited for.
        while (live := self._live) is not None and live.feed is not None:
            if time.monotonic() - live.feed.moved < _STALLED:
                await self._deny(peer, stream, f"{live.name} publishes already")
            live.writer.close()
            await self._gone(live)
        peer.feed = Feed(self.settings.picture, self.settings.both)
        self._live = peer
        self.publishers += 1
        self.trouble = ""
        self._began = time.monotonic()
        send(peer.writer, 2, Message(chunks.CONTROL, 0, 0, struct.pack(">HI", 0, stream)))
        _status(peer.writer, stream, "status", "NetStream.Publish.Start", "published")
        _say("publisher-came", publisher=peer.name)

    async def _deny(self, peer: _Peer, stream: int, why: str) -> None:
        _status(peer.writer, stream, "error", "NetStream.Publish.BadName", why)
        with contextlib.suppress(OSError):
            await peer.writer.drain()
        raise Refused(why)

    async def _gone(self, peer: _Peer) -> None:
        if self._live is peer:
            self._live = None
            _say("publisher-gone", publisher=peer.name)
        feed, peer.feed = peer.feed, None
        if feed is not None:
            self._frames += feed.frames
            self._bytes += feed.bytes
            await feed.end()

    def _report(self) -> None:
        self._beat += 1
        live = self._live
        feed = live.feed if live is not None else None
        reason, message = "", ""
        if live is None or feed is None:
            reason, message = "WaitingForPublisher", f"waiting for a publisher at {self.settings.url}"
            if self.trouble:
                message += f" ({self.trouble})"
        elif time.monotonic() - feed.moved > _STALLED:
            reason, message = "PublisherStalled", f"{live.name} is connected, but sends nothing"
        observed: dict[str, JsonValue] = {
            "publisher": live.name if live is not None else None,
            "published_s": round(time.monotonic() - self._began, 1) if live is not None else None,
            "publishers_seen": self.publishers,
            "refused": self.refused,
            "published_frames": self._frames + (feed.frames if feed else 0),
            "published_bytes": self._bytes + (feed.bytes if feed else 0),
        }
        with contextlib.suppress(OSError):  # a full disk must not end what runs
            write_report(self.settings.report, Report(True, self._beat, bool(reason), reason, message, observed))


def _answer(writer: asyncio.StreamWriter, number: float, *values: Value) -> None:
    send(writer, 3, Message(COMMAND, 0, 0, amf.encode("_result", number, *values)))


def _status(writer: asyncio.StreamWriter, stream: int, level: str, code: str, words: str) -> None:
    about: Value = {"level": level, "code": code, "description": words}
    send(writer, 5, Message(COMMAND, 0, stream, amf.encode("onStatus", 0.0, None, about)))


def _say(event: str, **fields: str) -> None:
    with contextlib.suppress(OSError):
        print(json.dumps({"at": time.time(), "event": event, **fields}), file=sys.stdout, flush=True)
