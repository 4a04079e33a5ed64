"""Server-Sent Events of a server (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from streamsd.core.report import JsonValue
from streamsd.flow.spec.sources import SseSource
from streamsd.programs.flow.ends import Place
from streamsd.programs.flow.intake import QueueIntake
from streamsd.programs.flow.life import Backoff
from streamsd.programs.flow.network import client_context

_PAUSE = 0.5
"""Seconds between two connections, where the server does not say (`retry`)."""
_SILENT = 90.0
"""Seconds without a byte after which a connection is taken as dead: servers send comments."""


class Events:
    """Takes a stream of bytes apart into events. One longer than `most` is cut there; it comes out one byte too long,
    so that it is seen to be so, and is not asked for again for ever. `last_id`: of the newest event. `retry`: seconds
    that the server wants between two connections, where it said so."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0
        """Bytes of the event's data, with a line's end for each line."""
        self._passing = False
        """The rest of a line that was too long is passed over."""
        self._type = b""
        self.last_id = b""
        self.retry: float | None = None

    def feed(self, data: bytes) -> Iterator[tuple[str, bytes]]:
        """(type, data) of the events that are complete now."""
        text = (self._rest + data).replace(b"\r\n", b"\n")
        lines = text.split(b"\n")
        self._rest = lines.pop()
        if self._passing and lines:
            self._passing = False
            del lines[0]
        if self._passing:
            self._rest = b""
        for line in lines:
            if line:
                self._field(line)
                continue
            if self._data:
                yield self._type.decode(errors="replace") or "message", b"\n".join(self._data)
            self._data, self._size, self._type = [], 0, b""
        if len(self._rest) > self._most + 1024:
            self._field(self._rest)
            self._rest, self._passing = b"", True

    def _field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            if self._size <= self._most + 1:
                piece = value[: max(0, self._most + 1 - self._size)]
                self._data.append(piece)
                self._size += len(piece) + 1
        elif name == b"event":
            self._type = value
        elif name == b"id" and b"\0" not in value:
            self.last_id = value
        elif name == b"retry" and value.isdigit():
            self.retry = min(int(value) / 1000, 60.0)


class SseIntake(QueueIntake):
    """The position is the id of the last event that was taken: a server that keeps its events goes on after it."""

    def __init__(self, spec: SseSource, place: Place, most_message: int) -> None:
        super().__init__()
        self._spec = spec
        self._place = place
        self._most = most_message
        self._url = urlsplit(spec.url)
        self._target = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        self._room = threading.Event()
        self.inbox.on_room = self._room.set
        self._taken = ""
        self._last = b""
        self._closed = threading.Event()
        self._pause = 0.0
        """Seconds that the next connection waits at least, where the last one was well."""

    def start(self, position: Any) -> None:
        self._taken = position or ""
        self._last = self._taken.encode()
        threading.Thread(target=self._run, name="sse", daemon=True).start()

    def _run(self) -> None:
        backoff = Backoff(0.5, 20.0)
        while not self._closed.is_set():
            self._closed.wait(max(backoff.next(), self._pause))
            try:
                self._read(backoff)
                self.fault = f"{self._spec.url}: the server closed the connection"
            except (OSError, ssl.SSLError, http.client.HTTPException, ValueError) as fault:
                self.fault = f"{self._spec.url}: {fault or type(fault).__name__}"

    def _read(self, backoff: Backoff) -> None:
        connection = self._connect()
        try:
            headers = {"accept": "text/event-stream", "cache-control": "no-store", "user-agent": "streamsd"}
            if self._spec.token is not None:
                headers["authorization"] = f"Bearer {self._spec.token.reveal()}"
            if self._last:
                headers["last-event-id"] = self._last.decode(errors="replace")
            connection.request("GET", self._target, headers=headers)
            answer = connection.getresponse()
            if answer.status != 200:
                raise ValueError(f"the server answers {answer.status} {answer.reason}")
            self.fault = ""
            events = Events(self._most)
            events.last_id = self._last
            while not self._closed.is_set() and (data := answer.read1(65536)):
                backoff.reset()
                self._take(events, data)
                # A server that says a word and closes is not to be asked without end.
                self._pause = _PAUSE if events.retry is None else events.retry
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        host = self._url.hostname or ""
        if self._url.scheme == "https":
            context = client_context(self._spec.tls, self._place.base) or ssl.create_default_context()
            return http.client.HTTPSConnection(host, self._url.port, timeout=_SILENT, context=context)
        return http.client.HTTPConnection(host, self._url.port, timeout=_SILENT)

    def _take(self, events: Events, data: bytes) -> None:
        messages: list[bytes] = []
        metas: list[Any] = []
        for kind, message in events.feed(data):
            if not self._spec.events or kind in self._spec.events:
                messages.append(message)
                metas.append({"event": kind, "id": events.last_id.decode(errors="replace")})
        self._last = events.last_id
        if messages:
            self._room.clear()
            if not self.inbox.put(messages, metas):
                self._room.wait()

    def poll(self, most: int) -> Any:
        chunks = super().poll(most)
        for chunk in chunks:
            if chunk.metas:
                self._taken = chunk.metas[-1]["id"]
        return chunks

    def position(self) -> Any:
        super().position()
        return self._taken

    def figures(self) -> Mapping[str, JsonValue]:
        return {"waiting": self.inbox.depth, "last_id": self._taken}

    def close(self) -> None:
        self._closed.set()
        self._room.set()
