"""The rate limit of a source: a token bucket of messages and one of bytes. What is too much waits where it is."""

from __future__ import annotations

from streamsd.flow.spec.words import RateLimit


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
