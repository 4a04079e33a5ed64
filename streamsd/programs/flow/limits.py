"""The rate limits of a source: a token bucket of messages and one of bytes, and one of each for every sender.

What is too much for the source waits where it is; what is too much of one sender is left out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from streamsd.flow.pipeline import Chunk
from streamsd.flow.spec.words import RateLimit, ShareLimit

_MOST_SENDERS = 100_000
"""Senders that are remembered; beyond, those that were silent for longest begin anew."""


class Bucket:
    """A tenth of a second's worth may come at once."""

    def __init__(self, limit: RateLimit | None) -> None:
        self._messages: float | None = None
        self._bytes: float | None = None
        self._have_messages = self._have_bytes = 0.0
        self._then = 0.0
        self.change(limit)

    def change(self, limit: RateLimit | None) -> None:
        """A new limit holds from now on."""
        self._messages = limit.messages if limit else None
        self._bytes = limit.bytes if limit else None
        self._have_messages = min(self._have_messages, self._burst(self._messages))
        self._have_bytes = min(self._have_bytes, self._burst(self._bytes))

    @staticmethod
    def _burst(rate: float | None) -> float:
        return max(1.0, rate / 10) if rate is not None else 0.0

    def allowance(self, most: int, now: float) -> int:
        """How many messages may be taken now, at most `most`. `now`: seconds that never go back."""
        if self._messages is None and self._bytes is None:
            return most
        passed, self._then = max(0.0, now - self._then) if self._then else 1.0, now
        if self._bytes is not None:
            self._have_bytes = min(self._burst(self._bytes), self._have_bytes + passed * self._bytes)
            if self._have_bytes <= 0:
                return 0
        if self._messages is not None:
            self._have_messages = min(self._burst(self._messages), self._have_messages + passed * self._messages)
            return min(most, int(self._have_messages))
        return most

    def spend(self, messages: int, size: int) -> None:
        """So many were taken. Bytes may go into debt: a message's size is known only when it is there."""
        if self._messages is not None:
            self._have_messages -= messages
        if self._bytes is not None:
            self._have_bytes -= size


class Shares:
    """Each sender's allowance."""

    def __init__(self, limit: RateLimit | None) -> None:
        self._left: OrderedDict[str, tuple[float, float, float]] = OrderedDict()
        self._limit: ShareLimit | None = None
        self.change(limit)

    def change(self, limit: RateLimit | None) -> None:
        """A new limit holds from now on."""
        each = limit.each if limit else None
        if each is None or self._limit is None or each.by != self._limit.by:
            self._left.clear()
        self._limit = each

    @property
    def dead(self) -> bool:
        """Whether what is too much becomes dead letters."""
        return self._limit is not None and self._limit.excess == "dead_letter"

    def admit(self, chunk: Chunk, now: float) -> tuple[Chunk, list[bytes]]:
        """(what may pass, what is too much). `now`: seconds that never go back."""
        limit = self._limit
        if limit is None or chunk.metas is None:
            return chunk, []
        passed: list[bytes] = []
        metas: list[Any] = []
        excess: list[bytes] = []
        for message, meta in zip(chunk.messages, chunk.metas, strict=True):
            if self._may(limit, _sender(limit.by, meta), len(message), now):
                passed.append(message)
                metas.append(meta)
            else:
                excess.append(message)
        return (Chunk(chunk.partition, passed, metas), excess) if excess else (chunk, excess)

    def _may(self, limit: ShareLimit, sender: str, size: int, now: float) -> bool:
        rates = limit.messages or float("inf"), limit.bytes or float("inf")
        most = max(1.0, rates[0]), max(1.0, rates[1])
        messages, octets, then = self._left.pop(sender, (*most, now))
        messages = min(most[0], messages + (now - then) * rates[0]) if now > then else messages
        octets = min(most[1], octets + (now - then) * rates[1]) if now > then else octets
        # Bytes may go into debt, so that one message larger than the allowance passes now and then.
        may = messages >= 1 and octets > 0
        if may:
            messages, octets = messages - 1, octets - size
        self._left[sender] = messages, octets, now
        if len(self._left) > _MOST_SENDERS:
            self._left.popitem(last=False)
        return may


def _sender(by: str, meta: Mapping[str, str]) -> str:
    found = meta.get(by, "")
    # The port is another one with each connection.
    return found.rpartition(":")[0] if by == "peer" else found
