"""What a source is to the engine, and the queue between a client's thread and the flow's."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from streamsd.core.report import JsonValue
from streamsd.flow.pipeline import Chunk

MOST_AT_ONCE = 8 * 1024 * 1024
"""Bytes of messages, about, that are taken in together: what is made of them takes several times as much."""


class Intake(ABC):
    """A source, as the flow's thread sees it. Nothing here may block.

    `position` is what `start` is given after a restart, so that exactly what `poll` gave since is given again. A source
    that cannot go back leaves unacknowledged what is not `stored`. `fault`: what is wrong with it now, in words.
    """

    fault: str = ""
    closes_within = 2.0
    in_parts = False
    """The position is a mapping of parts, which may be given to a flow's processes each alone."""

    @abstractmethod
    def start(self, position: Any) -> None:
        """Begin, at a position or (None) at the beginning."""

    @abstractmethod
    def poll(self, most: int) -> list[Chunk]:
        """At most that many messages that are there now."""

    def position(self) -> Any:
        """The position after everything that `poll` gave."""
        return None

    def stored(self) -> None:  # noqa: B027  # most sources have nobody to tell
        """Everything before the newest `position` is safe in the sinks and the state."""

    def done(self) -> bool:
        """Whether nothing will ever come any more."""
        return False

    def partitions(self) -> Sequence[str] | None:
        """The names of its partitions that are read here; None for a source of one, and while they are not known."""
        return None

    def figures(self) -> Mapping[str, JsonValue]:
        """For the report."""
        return {}

    def left(self) -> int | None:
        """How much is known to be there and not read yet: bytes, records, messages. None for a source that cannot say.
        Called from the report's thread."""
        return None

    def close(self) -> None:  # noqa: B027  # some hold nothing
        """Let go of everything."""


class Inbox:
    """A bounded queue of batches: filled by a client's thread, emptied by the flow's.

    `put` always takes; whoever fills looks at `full` and stops reading until `on_room` is called. A batch's token comes
    back through `stored` once the state after its last message is safe.
    """

    def __init__(self, messages: int = 50_000, size: int = 32 * 1024 * 1024) -> None:
        self._most, self._most_bytes = messages, size
        self._lock = threading.Lock()
        self._batches: deque[tuple[str, list[bytes], list[Any] | None, Any, int]] = deque()
        self._count = 0
        self._bytes = 0
        self._was_full = False
        self._taken: list[Any] = []
        self._pending: list[Any] = []
        self.on_room: Callable[[], None] = lambda: None

    def put(
        self, messages: list[bytes], metas: list[Any] | None = None, partition: str = "", token: Any = None
    ) -> bool:
        """Returns whether there is room for more."""
        size = sum(map(len, messages))
        with self._lock:
            self._batches.append((partition, messages, metas, token, size))
            self._count += len(messages)
            self._bytes += size
            full = self._count >= self._most or self._bytes >= self._most_bytes
            self._was_full = self._was_full or full
        return not full

    @property
    def full(self) -> bool:
        return self._count >= self._most or self._bytes >= self._most_bytes

    @property
    def depth(self) -> int:
        """Messages that wait."""
        return self._count

    def take(self, most: int) -> list[Chunk]:
        """At most that many messages, and about as many bytes as are well worked at together."""
        if not self._batches:
            return []
        out: list[Chunk] = []
        room = False
        left = MOST_AT_ONCE
        with self._lock:
            while self._batches and most > 0 and left > 0:
                partition, messages, metas, token, size = self._batches.popleft()
                if len(messages) > most:
                    rest = messages[most:], metas[most:] if metas is not None else None
                    messages, metas = messages[:most], metas[:most] if metas is not None else None
                    whole, size = size, sum(map(len, messages))
                    self._batches.appendleft((partition, *rest, token, whole - size))
                elif token is not None:
                    self._taken.append(token)
                most -= len(messages)
                left -= size
                self._count -= len(messages)
                self._bytes -= size
                out.append(Chunk(partition, messages, metas))
            if self._was_full and self._count < self._most // 2 and self._bytes < self._most_bytes // 2:
                self._was_full = False
                room = True
        if room:
            self.on_room()
        return out

    def mark(self) -> None:
        """A position is taken: what was given until now will be stored with it."""
        self._pending += self._taken
        self._taken = []

    def stored(self) -> list[Any]:
        """The tokens of what was stored with the newest mark."""
        tokens, self._pending = self._pending, []
        return tokens


class QueueIntake(Intake):
    """A source whose client runs in a thread or loop of its own and fills an inbox."""

    def __init__(self) -> None:
        self.inbox = Inbox()

    def poll(self, most: int) -> list[Chunk]:
        return self.inbox.take(most)

    def position(self) -> Any:
        self.inbox.mark()
        return None

    def stored(self) -> None:
        tokens = self.inbox.stored()
        if tokens:
            self.acknowledge(tokens)

    def acknowledge(self, tokens: list[Any]) -> None:
        """The batches of these tokens are safe."""

    def figures(self) -> Mapping[str, JsonValue]:
        return {"waiting": self.inbox.depth}


class Lines:
    """Cuts a byte stream into lines. A line longer than `most` is cut there, and the rest of it passed over; it comes
    out one byte too long, so that it is seen to be so."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rest = b""
        self._passing = False

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now, without their ends; empty ones are left out."""
        returns = b"\r" in data or self._rest.endswith(b"\r")
        pieces = (self._rest + data).split(b"\n") if self._rest else data.split(b"\n")
        if self._passing:
            if len(pieces) == 1:
                return []
            self._passing = False
            del pieces[0]
        self._rest = pieces.pop()
        if returns:
            pieces = [piece[:-1] if piece.endswith(b"\r") else piece for piece in pieces]
        lines = [piece for piece in pieces if piece]
        if len(self._rest) > self._most:
            lines.append(self._rest[: self._most + 1])
            self._rest = b""
            self._passing = True
        return lines

    def end(self) -> list[bytes]:
        """The last line, where the stream ends without a line's end."""
        rest, self._rest = self._rest.rstrip(b"\r"), b""
        passing, self._passing = self._passing, False
        return [rest] if rest and not passing else []
