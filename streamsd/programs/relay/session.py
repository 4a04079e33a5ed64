"""One encoder, from its first connection to its last: its inputs gathered and merged in the order of their times."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from streamsd.programs.relay.nut import Frame, StreamClass
from streamsd.programs.relay.reader import NutReader
from streamsd.programs.relay.timeline import Track, track

GATHER = 3.0
"""Seconds that a session waits for the first frame of every stream before it begins with those it has."""

PATIENCE = 0.05
"""Seconds that a frame waits for an earlier one of another stream. A stream that is later than this is not waited
for again until it has caught up: order is a courtesy to readers, latency a promise."""

_BACKLOG = 4096


@dataclass(slots=True)
class Lane:
    """One stream of a session and its frames that have not left. `late`: not waited for."""

    track: Track
    waiting: deque[tuple[int, float, Frame]] = field(default_factory=deque)
    late: bool = False
    seen: bool = False


@dataclass(slots=True)
class Feed:
    """One connection of an encoder."""

    reader: NutReader = field(default_factory=NutReader)
    lanes: list[Lane] = field(default_factory=list)
    ended: bool = False


class Session:
    """What one encoder process sends over its connections. `peer` is its pid."""

    def __init__(self, peer: int) -> None:
        self.peer = peer
        self.feeds: list[Feed] = []
        self.lanes: list[Lane] = []
        self.begun = False
        self.grown = False
        self.since: float | None = None
        self._passed = 0

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
            if not lane.seen:
                if lane.track.source.kind is StreamClass.VIDEO and not frame.key:
                    continue
                lane.seen = True
                self.grown |= self.begun
            lane.waiting.append((lane.track.micros(frame.pts), now, frame))
            if self.since is None:
                self.since = now

    def gathered(self, now: float) -> bool:
        """Whether the session can begin: every stream of every connection has a frame, or it waited long enough."""
        if self.since is None:
            return False
        if now - self.since >= GATHER:
            return True
        return all(feed.ended or (feed.lanes and all(lane.seen for lane in feed.lanes)) for feed in self.feeds)

    def begin(self) -> list[Lane]:
        """The streams it has, video first."""
        seen = [lane for feed in self.feeds for lane in feed.lanes if lane.seen]
        self.lanes = sorted(seen, key=lambda lane: lane.track.source.kind)
        self.begun = True
        self.grown = False
        return self.lanes

    def leaving(self, now: float) -> Iterator[tuple[int, Frame]]:
        """Frames whose turn it is, each with the number of its lane."""
        lanes = self.lanes
        while True:
            best = -1
            best_time = 0
            blocked: list[Lane] = []
            for number, lane in enumerate(lanes):
                if lane.waiting:
                    time = lane.waiting[0][0]
                    if best < 0 or time < best_time:
                        best, best_time = number, time
                elif not lane.late:
                    blocked.append(lane)
            if best < 0:
                return
            lane = lanes[best]
            time, came, frame = lane.waiting[0]
            if blocked and not self.ended:
                if now - came < PATIENCE and len(lane.waiting) < _BACKLOG:
                    return
                for other in blocked:
                    other.late = True
            lane.waiting.popleft()
            if lane.late and time >= self._passed:
                lane.late = False
            self._passed = max(self._passed, time)
            yield best, frame

    def deadline(self) -> float | None:
        """When `gathered` or `leaving` may say something new without anything coming in."""
        if not self.begun:
            return None if self.since is None else self.since + GATHER
        came = [lane.waiting[0][1] for lane in self.lanes if lane.waiting]
        return min(came) + PATIENCE if came else None

    def first_times(self) -> list[int]:
        """Each lane's first pts, for the splice."""
        return [lane.waiting[0][2].pts for lane in self.lanes]

    def pending(self) -> int:
        """Bytes that wait inside the session."""
        frames = itertools.chain.from_iterable(lane.waiting for feed in self.feeds for lane in feed.lanes)
        return sum(len(item[2].payload) for item in frames)
