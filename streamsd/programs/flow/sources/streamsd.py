"""What the daemon knows: the status of its resources, read again and again, or its events as they happen.

HTTP/1.0 over its unix socket, one connection a request: an answer is a head and what follows until the end.
"""

from __future__ import annotations

import socket
import threading
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlencode

import msgspec

from streamsd.core.clock import rfc3339
from streamsd.core.report import JsonValue
from streamsd.core.unix_socket import within_reach
from streamsd.flow.spec.sources import StreamsdSource
from streamsd.programs.flow.ends import Place
from streamsd.programs.flow.intake import QueueIntake
from streamsd.programs.flow.life import Backoff

_LEAST = 0.1
"""Seconds between two looks at the status: the daemon has other work."""
_TIMEOUT = 30.0
_ERRORS = (OSError, ValueError)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class _DaemonIntake(QueueIntake):
    """What both have in common: a thread that asks, and asks again when there is no daemon."""

    def __init__(self, spec: StreamsdSource, place: Place) -> None:
        super().__init__()
        self._spec = spec
        self._api = place.around.api or Path("api.sock")
        self._whole_kinds = frozenset(text[:-2] for text in spec.only if text.endswith("/*"))
        self._only = frozenset(spec.only)
        self._closed = threading.Event()
        self._room = threading.Event()
        self.inbox.on_room = self._room.set

    def start(self, position: Any) -> None:
        threading.Thread(target=self._run, name="streamsd", daemon=True).start()

    def _run(self) -> None:
        backoff = Backoff(0.2, 5.0)
        while not self._closed.is_set():
            self._closed.wait(backoff.next())
            try:
                self._follow(backoff)
            except _ERRORS as fault:
                self.fault = f"the daemon at {self._api}: {getattr(fault, 'strerror', None) or fault}"

    @abstractmethod
    def _follow(self, backoff: Backoff) -> None:
        """Ask until the connection ends. OSError or ValueError when it does."""

    def _wanted(self, address: str) -> bool:
        return not self._only or address in self._only or address.partition("/")[0] in self._whole_kinds

    def _put(self, messages: list[bytes], metas: list[Any] | None = None) -> None:
        if messages:
            self._room.clear()
            if not self.inbox.put(messages, metas):
                self._room.wait()

    @contextmanager
    def _ask(self, path: str, query: Mapping[str, str] | None = None, *, patient: bool = False) -> Iterator[BinaryIO]:
        """The answer's body. `patient`: lines come when something happens."""
        target = path + (f"?{urlencode(query)}" if query else "")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
            connection.settimeout(_TIMEOUT)
            with within_reach(self._api) as near:
                connection.connect(near)
            connection.sendall(f"GET {target} HTTP/1.0\r\nHost: streamsd\r\n\r\n".encode())
            with connection.makefile("rb") as answer:
                words = answer.readline().split()
                if len(words) < 2 or words[1] != b"200":
                    raise ValueError(f"answers {words[1].decode() if len(words) > 1 else 'nothing'}")
                while (line := answer.readline()) != b"\r\n":
                    if not line:
                        raise ValueError("the answer ended early")
                if patient:
                    connection.settimeout(None)
                yield answer

    def close(self) -> None:
        self._closed.set()
        self._room.set()


class StatusIntake(_DaemonIntake):
    """A status that nobody took is of no use later: nothing is kept while the flow is away."""

    def _follow(self, backoff: Backoff) -> None:
        pause = max(_LEAST, self._spec.every.seconds)
        due = time.monotonic()
        while not self._closed.is_set():
            with self._ask("/v1/status") as answer:
                told = _decode(answer.read())
            self.fault = ""
            backoff.reset()
            at = rfc3339(datetime.now(UTC))
            rows = [one for one in told["resources"] if self._wanted(one["address"])]
            self._put([_encode(message_of(one, at)) for one in rows], [{"key": one["address"]} for one in rows])
            # As often as asked for, however long an answer takes; what was missed is not made up for.
            due = max(due + pause, time.monotonic())
            self._closed.wait(due - time.monotonic())


def message_of(resource: Mapping[str, Any], at: str) -> dict[str, Any]:
    """A resource of the daemon's status as a message. `reason` and `message`: of what keeps it from being ready and
    whole, empty when nothing does."""
    conditions = {one["type"]: {k: v for k, v in one.items() if k != "type"} for one in resource["conditions"]}
    degraded = conditions.get("Degraded", {}).get("status") == "True"
    trouble = conditions.get("Degraded" if resource["ready"] else "Ready", {})
    troubled = degraded or not resource["ready"]
    return {
        "at": at,
        "address": resource["address"],
        "kind": resource["kind"],
        "name": resource["name"],
        "ready": resource["ready"],
        "degraded": degraded,
        "reason": trouble.get("reason", "") if troubled else "",
        "message": trouble.get("message", "") if troubled else "",
        "conditions": conditions,
        "processes": resource["processes"],
        "observed": resource["observed"],
    }


class EventsIntake(_DaemonIntake):
    """The position is the number of the last event that was taken: the daemon keeps the newest ones."""

    def __init__(self, spec: StreamsdSource, place: Place) -> None:
        super().__init__(spec, place)
        self._taken: int | None = None
        self._last: int | None = None

    def start(self, position: Any) -> None:
        self._taken = self._last = position
        super().start(position)

    def _follow(self, backoff: Backoff) -> None:
        newest = self._newest()
        if self._last is None:
            self._taken = self._last = 0 if self._spec.start == "earliest" else newest
        elif self._last > newest:
            # The daemon's events begin anew: its state was removed.
            self._last = 0
        with self._ask("/v1/events", {"since": str(self._last), "follow": "true"}, patient=True) as answer:
            self.fault = ""
            backoff.reset()
            while not self._closed.is_set() and (line := answer.readline()):
                event = _decode(line)
                self._last = int(event["seq"])
                if self._wanted(event["address"]):
                    self._put([line.rstrip(b"\n")], [{"key": event["address"], "seq": str(self._last)}])
        raise ConnectionError("it ended the connection")

    def _newest(self) -> int:
        newest = 0
        with self._ask("/v1/events") as answer:
            for line in answer:
                newest = int(_decode(line)["seq"])
        return newest

    def poll(self, most: int) -> Any:
        chunks = super().poll(most)
        for chunk in chunks:
            if chunk.metas:
                self._taken = int(chunk.metas[-1]["seq"])
        return chunks

    def position(self) -> Any:
        super().position()
        return self._taken

    def figures(self) -> Mapping[str, JsonValue]:
        return {"waiting": self.inbox.depth, "seq": self._taken}
