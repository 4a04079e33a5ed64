"""One encoder, from its first connection to its last: its inputs gathered into one programme."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamsd.programs.relay.nut import Frame, StreamClass
from streamsd.programs.relay.reader import NutReader
from streamsd.programs.relay.timeline import Track, track

GATHER = 3.0
"""Seconds that a session waits for the first frame of every stream before it begins with those it has."""


@dataclass(slots=True, eq=False)
class Lane:
    """One stream of a session. `first`: the time of its first frame, None before it. `order`: where its newest frame
    stands among those of other streams, in microseconds of the encoder."""

    track: Track
    number: int = -1
    first: int | None = None
    order: int = 0


@dataclass(slots=True, eq=False)
class Feed:
    """One connection of an encoder."""

    reader: NutReader = field(default_factory=NutReader)
    lanes: list[Lane] = field(default_factory=list)
    ended: bool = False

    @property
    def complete(self) -> bool:
        """Whether every stream it announced has a frame."""
        return bool(self.lanes) and all(lane.first is not None for lane in self.lanes)


class Session:
    """What one encoder process sends over its connections. `peer` is its pid."""

    def __init__(self, peer: int) -> None:
        self.peer = peer
        self.feeds: list[Feed] = []
        self.lanes: list[Lane] = []
        self.begun = False
        self.grown = False
        self.since: float | None = None
        self._waiting: list[tuple[int, Lane, Frame]] = []

    def add(self) -> Feed:
        feed = Feed()
        self.feeds.append(feed)
        return feed

    @property
    def ended(self) -> bool:
        return all(feed.ended for feed in self.feeds)

    def feed(self, feed: Feed, data: bytes, now: float) -> None:
        """Take bytes in. `grown` is set when a stream came alive that the session began without."""
        frames = feed.reader.feed(data)
        if not feed.lanes and feed.reader.ready:
            feed.lanes = [Lane(track(header)) for header in feed.reader.streams]
        for frame in frames:
            lane = feed.lanes[frame.stream]
            if lane.first is None:
                if lane.track.source.kind is StreamClass.VIDEO and not frame.key:
                    continue
                lane.first = frame.pts
                self.grown = self.begun
            # Within a stream the order is the encoder's: with B-frames times go back and forth.
            order = lane.track.micros(frame.pts)
            lane.order = max(lane.order, order)
            self._waiting.append((lane.order, lane, frame))
            if self.since is None:
                self.since = now

    def gathered(self, now: float) -> bool:
        """Whether the session can begin: every stream of every connection has a frame, or it waited long enough."""
        if self.since is None:
            return False
        return now - self.since >= GATHER or all(feed.ended or feed.complete for feed in self.feeds)

    def begin(self) -> list[Lane]:
        """The streams it has, video first, numbered for the readers."""
        alive = [lane for feed in self.feeds for lane in feed.lanes if lane.first is not None]
        self.lanes = sorted(alive, key=lambda lane: lane.track.source.kind)
        for number, lane in enumerate(self.lanes):
            lane.number = number
        self.begun = True
        self.grown = False
        return self.lanes

    def leads(self, feed: Feed) -> bool:
        """Whether the connection carries the first stream, which sets the pace for the others."""
        return bool(self.lanes) and self.lanes[0] in feed.lanes

    def take(self) -> list[tuple[Lane, Frame]]:
        """The frames that came since the last time, in the order of their times. None is held back for another
        stream's: readers order what they need ordered, and waiting would cost every frame its latency."""
        waiting = self._waiting
        if len(waiting) > 1:
            waiting.sort(key=_order)
        self._waiting = []
        return [(lane, frame) for _, lane, frame in waiting]


def _order(item: tuple[int, Lane, Frame]) -> int:
    return item[0]
