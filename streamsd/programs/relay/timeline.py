"""The relay's own time: one line that goes on, whichever encoder draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from streamsd.programs.relay.nut import StreamClass, StreamHeader

VIDEO_TICKS = 90_000
"""Ticks a second of every video stream that leaves: RTP's and MPEG-TS's clock. Encoders choose their own, and it must
not change when one with another frame rate takes over."""

MICROS = 1_000_000


@dataclass(slots=True)
class Track:
    """One stream of one session on its way from the encoder's ticks to the relay's."""

    source: StreamHeader
    header: StreamHeader
    mul: int
    div: int
    shift: int = 0
    last: int = -1
    step: int = 0

    def place(self, pts: int) -> int:
        """The encoder's time as the relay's, in ticks of `header`."""
        return (pts * self.mul + self.div // 2) // self.div + self.shift

    def micros(self, pts: int) -> int:
        """The encoder's own time in microseconds, comparable between the streams of one session."""
        return pts * self.source.num * MICROS // self.source.den

    def note(self, ticks: int) -> None:
        """Learn from a frame that leaves: how far this stream is, and how long its frames are."""
        if self.last >= 0 and (step := abs(ticks - self.last)) and (not self.step or step < self.step):
            self.step = step
        self.last = max(self.last, ticks)

    @property
    def end(self) -> int:
        """Where the next frame may begin, in microseconds of the relay."""
        step = self.step or self.header.den // 30
        return (self.last + step) * MICROS // self.header.den + 1


def track(source: StreamHeader) -> Track:
    """A track for a stream: audio keeps its sample clock, video gets `VIDEO_TICKS`."""
    den = VIDEO_TICKS if source.kind is StreamClass.VIDEO else source.rate or 48_000
    return Track(source, replace(source, num=1, den=den), source.num * den, source.den)


@dataclass(slots=True)
class Timeline:
    """Where the relay's time stands. It keeps pace with the clock on the wall from the first frame on."""

    end: int = 0
    _since: float | None = None
    _offset: int = 0
    _tracks: list[Track] = field(default_factory=list)

    def splice(self, tracks: Sequence[Track], first: Sequence[int], now: float) -> None:
        """Let a session go on where the last one ended: its earliest frame comes after everything that left, by the
        time that passed since. `first` is each track's first pts, `now` (monotonic) when the first of them came."""
        self.settle()
        if self._since is None:
            self._since = now
        target = max(self.end, round((now - self._since) * MICROS))
        self._offset = target - min(t.micros(pts) for t, pts in zip(tracks, first, strict=True))
        for each in tracks:
            self.join(each)

    def join(self, track: Track) -> None:
        """Place a stream as the running session's other streams are placed."""
        track.shift = self._offset * track.header.den // MICROS
        self._tracks.append(track)

    def settle(self) -> None:
        """Take the session that ended into account."""
        self.end = max([self.end, *(t.end for t in self._tracks if t.last >= 0)])
        self._tracks = []
