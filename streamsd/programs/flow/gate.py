"""What stands before a source: its rate limits, the shares of its senders, and the longest message."""

from __future__ import annotations

from streamsd.flow.faults import Dead
from streamsd.flow.pipeline import Chunk
from streamsd.flow.spec.words import RateLimit
from streamsd.programs.flow.figures import SourceFigures
from streamsd.programs.flow.limits import Bucket, Shares

_KEPT = 4096
"""Bytes of a message that is too long that its dead letter shows."""


class Gate:
    """Of one source. `figures` counts what came, and what was too much of one sender."""

    def __init__(self, source: str, limit: RateLimit | None, figures: SourceFigures) -> None:
        self._source = source
        self._bucket = Bucket(limit)
        self._shares = Shares(limit)
        self._figures = figures

    def change(self, limit: RateLimit | None) -> None:
        """A new limit holds from now on."""
        self._bucket.change(limit)
        self._shares.change(limit)

    def allowance(self, most: int, now: float) -> int:
        """How many messages may be taken now, at most `most`. `now`: seconds that never go back."""
        return self._bucket.allowance(most, now)

    def admit(self, chunk: Chunk, longest: int, now: float) -> tuple[Chunk, list[Dead]]:
        """(what goes on, dead letters). `longest`: bytes of a message."""
        figures = self._figures
        size = sum(map(len, chunk.messages))
        self._bucket.spend(len(chunk.messages), size)
        figures.messages.count += len(chunk.messages)
        figures.bytes += size
        # Together they are seldom as long as one may be.
        chunk, letters = self._sized(chunk, longest) if size > longest else (chunk, [])
        chunk, excess = self._shares.admit(chunk, now)
        figures.limited += len(excess)
        if excess and self._shares.dead:
            letters += [Dead("rate-limited", "too much of one sender", m, self._source) for m in excess]
        return chunk, letters

    def _sized(self, chunk: Chunk, longest: int) -> tuple[Chunk, list[Dead]]:
        """Without messages that are too long."""
        if max(map(len, chunk.messages)) <= longest:
            return chunk, []
        fits = [len(message) <= longest for message in chunk.messages]
        words = f"longer than {longest} bytes"
        letters = [
            Dead("too-long", words, m[:_KEPT], self._source)
            for m, fit in zip(chunk.messages, fits, strict=True)
            if not fit
        ]
        messages = [m for m, fit in zip(chunk.messages, fits, strict=True) if fit]
        metas = None if chunk.metas is None else [m for m, fit in zip(chunk.metas, fits, strict=True) if fit]
        return Chunk(chunk.partition, messages, metas), letters
