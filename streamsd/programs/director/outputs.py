"""Keeping outputs as wanted: started when they are not, stopped when they should not, watched for standing still.

OBS answers OK to StartStream when the server is dead, and has been seen to hang in its own reconnecting
(measured with OBS 29): what counts is that bytes move on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from streamsd.core.report import JsonValue
from streamsd.programs.director.changes import Impossible, OutputName
from streamsd.programs.director.client import Client, Data, Request
from streamsd.programs.director.model import Outputs, Video
from streamsd.programs.director.rate import Rate

STALL = 20.0
"""Seconds without a byte after which an output counts as stuck: longer than OBS's connection timeouts and one of
its reconnection delays (10 s)."""

BACKOFF_CAP = 30.0

CONNECTING = 45.0
"""Seconds an output may take from being asked to start until it has started or failed. Until OBS says which, it must
not be asked again: a second StartStream while the first one connects has crashed OBS."""

STOPPED_LONG = 10.0
"""Seconds that an output may still be active after OBS said that it has stopped (seen: a reconnect that hung)."""

STOPS = 3
"""Stops in a row that come to nothing, after which only a new OBS helps."""

LEAST_PAUSE = 1.0
"""Seconds between two starts in any case."""

_MISSING = {
    OutputName.STREAM: "this OBS cannot stream",
    OutputName.RECORD: "this OBS cannot record",
    OutputName.REPLAY_BUFFER: "OBS's profile has no replay buffer set up",
    OutputName.VIRTUAL_CAMERA: "this host has no virtual camera: it takes the kernel's module v4l2loopback",
}
"""What obs-websocket's 604 means of each."""

_STATUS = {
    OutputName.STREAM: "GetStreamStatus",
    OutputName.RECORD: "GetRecordStatus",
    OutputName.REPLAY_BUFFER: "GetReplayBufferStatus",
    OutputName.VIRTUAL_CAMERA: "GetVirtualCamStatus",
}
_START = {
    OutputName.STREAM: "StartStream",
    OutputName.RECORD: "StartRecord",
    OutputName.REPLAY_BUFFER: "StartReplayBuffer",
    OutputName.VIRTUAL_CAMERA: "StartVirtualCam",
}
_STOP = {
    OutputName.STREAM: "StopStream",
    OutputName.RECORD: "StopRecord",
    OutputName.REPLAY_BUFFER: "StopReplayBuffer",
    OutputName.VIRTUAL_CAMERA: "StopVirtualCam",
}


@dataclass(slots=True)
class Kept:
    """One output as it was last seen. `tries`: starts since bytes last moved on. `starting_until`: when a start that
    OBS has not told the end of counts as over; 0 when there is none. `stopped`: when OBS said that it has stopped; 0
    when it has not. `stops`: how often it was stopped in vain, the last time at `asked_to_stop`."""

    active: bool = False
    available: bool = True
    paused: bool = False
    reconnecting: bool = False
    bytes: int = 0
    moved: float = 0.0
    tries: int = 0
    next_try: float = 0.0
    starts: int = 0
    starting_until: float = 0.0
    last_start: float = 0.0
    stopped: float = 0.0
    stops: int = 0
    asked_to_stop: float = 0.0
    status: Mapping[str, JsonValue] = field(default_factory=dict)
    rate: Rate = field(default_factory=Rate)


class OutputKeeper:
    """`retries`: starts in a row that come to nothing before it gives up; None never does. `monotonic`: the clock."""

    def __init__(
        self, client: Client, *, retries: int | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._monotonic = monotonic
        self._retries = retries
        self.outputs: dict[OutputName, Kept] = {name: Kept() for name in OutputName}

    def look(self) -> frozenset[OutputName]:
        """Read all of them; the active ones."""
        now = self._monotonic()
        answers = self._client.batch([Request(type) for type in _STATUS.values()])
        for (name, kept), answer in zip(self.outputs.items(), answers, strict=True):
            kept.available = answer.ok
            kept.status = answer.data
            was = kept.active
            kept.active = bool(answer.data.get("outputActive"))
            kept.paused = bool(answer.data.get("outputPaused"))
            kept.reconnecting = bool(answer.data.get("outputReconnecting"))
            count = _count(answer.data)
            if kept.active and (not was or count != kept.bytes or kept.paused or _without_bytes(name)):
                kept.moved = now
                if was and count > kept.bytes and not kept.reconnecting:
                    kept.tries = 0
                    kept.stops, kept.stopped = 0, 0.0
            if kept.active:
                kept.rate.read(count, now)
            else:
                kept.rate.end()
                kept.stops, kept.stopped, kept.asked_to_stop = 0, 0.0, 0.0
            kept.bytes = count
            if kept.active or now > kept.starting_until:
                kept.starting_until = 0.0
        return self.active

    @property
    def active(self) -> frozenset[OutputName]:
        """Those that run, or are about to."""
        return frozenset(name for name, kept in self.outputs.items() if kept.active or kept.starting_until)

    def told(self, name: OutputName, state: str) -> None:
        """OBS tells an output's state (obs-websocket's ObsOutputState)."""
        kept = self.outputs[name]
        match state.removeprefix("OBS_WEBSOCKET_OUTPUT_"):
            case "STARTING":
                kept.starting_until = self._monotonic() + CONNECTING
                kept.stopped = 0.0
            case "STARTED":
                kept.starting_until = kept.stopped = 0.0
            case "STOPPED":
                kept.starting_until = 0.0
                kept.stopped = self._monotonic()
            case _:
                pass

    def tend(self, wanted: Outputs) -> list[Impossible]:
        """Start and stop what ought to be, as far as it is time for it. Call after `look`."""
        findings: list[Impossible] = []
        for name, on in _wishes(wanted).items():
            kept = self.outputs[name]
            if on is None:
                continue
            if on and not kept.available:
                findings.append(Impossible("OutputUnavailable", name.value, _MISSING[name]))
            elif on:
                findings.extend(self._on(name, kept))
            elif kept.active or kept.starting_until:
                findings.extend(self._off(name, kept))
        return findings

    @property
    def stuck(self) -> str:
        """Which output no stop ends any more, in words; empty while there is none, and while another one works well:
        a new OBS would take that off the air."""
        stuck = [name for name, kept in self.outputs.items() if kept.stops >= STOPS]
        others = [name for name in self.active if name not in stuck and not self.outputs[name].reconnecting]
        if not stuck or others:
            return ""
        return f"the {stuck[0].value} neither goes on nor ends"

    def _off(self, name: OutputName, kept: Kept) -> Iterable[Impossible]:
        """Asked again and again, since one that still connects refuses; counted when it had its time to end."""
        now = self._monotonic()
        if kept.active and now - kept.asked_to_stop > STALL:
            self._stop(name, kept, now)
        else:
            self._ask(_STOP[name])
        yield from _stuck(name, kept)

    def _stop(self, name: OutputName, kept: Kept, now: float) -> None:
        self._ask(_STOP[name])
        kept.asked_to_stop = now
        kept.stops += 1

    def _on(self, name: OutputName, kept: Kept) -> Iterable[Impossible]:
        now = self._monotonic()
        ended = kept.stopped and now - kept.stopped > STOPPED_LONG
        if kept.active and (now - kept.moved > STALL or ended):
            self._stop(name, kept, now)
            kept.moved = now
            kept.stopped = now if ended else 0.0
            kept.next_try = now + 1.0
            why = "OBS says that it has stopped, and it has not" if ended else f"no byte for {STALL:.0f} s"
            yield Impossible("OutputStuck", name.value, f"{why}: stopped, to be started again")
        elif kept.stops > 1:
            yield from _stuck(name, kept)
        elif kept.active and kept.tries > 1 and (kept.reconnecting or kept.bytes == 0):
            yield Impossible("OutputConnecting", name.value, f"not through yet, attempt {kept.tries}")
        elif kept.active and kept.reconnecting:
            yield Impossible("OutputReconnecting", name.value, "the connection broke; OBS tries again")
        elif kept.starting_until:
            if kept.tries > 1:
                yield Impossible("OutputConnecting", name.value, f"not through yet, attempt {kept.tries}")
        elif not kept.active:
            if self._retries is not None and kept.tries > self._retries:
                message = f"given up after {kept.tries} starts; change the instance or reset to try again"
                yield Impossible("OutputFailed", name.value, message)
                return
            if now >= max(kept.next_try, kept.last_start + LEAST_PAUSE):
                kept.last_start = now
                kept.tries += 1
                kept.starts += 1
                kept.next_try = now + min(BACKOFF_CAP, 2.0 ** min(kept.tries, 8))
                refusal = self._ask(_START[name])
                if refusal:
                    yield Impossible("OutputRefused", name.value, refusal)
                    return
                if not _without_bytes(name):
                    kept.starting_until = now + CONNECTING
            if kept.tries > 1:
                yield Impossible(
                    "OutputFailing", name.value, f"ended {kept.tries - 1} times without a byte; its log says why"
                )

    def stop(self, names: Iterable[OutputName], *, within: float = 10.0) -> bool:
        """Stop these and wait until they have ended; whether they did."""
        going = set(names) & self.look()
        asked: set[OutputName] = set()
        deadline = self._monotonic() + within
        while left := self.look() & going:
            for name in left - asked:
                # One that still connects refuses to be stopped, until it has started or failed.
                if not self._ask(_STOP[name]):
                    asked.add(name)
                    self.outputs[name].starting_until = 0.0
            if self._monotonic() > deadline:
                return False
            time.sleep(0.05)
        for name in going:
            self.outputs[name].next_try = 0.0
            self.outputs[name].tries = 0
        return True

    def fresh(self) -> None:
        """Forget failed attempts: something changed that may make them succeed."""
        for kept in self.outputs.values():
            kept.tries = 0
            kept.next_try = 0.0

    def observed(self, video: Video | None) -> dict[str, JsonValue]:
        """What is told of each. The duration is counted from the frames: `outputDuration` of OBS 29 is any number once
        the frame's size was changed (measured; it goes by the video as it was before)."""
        return {
            name.value.replace(" ", "_"): {
                "active": kept.active,
                "reconnecting": kept.reconnecting,
                "paused": kept.paused,
                "bytes": kept.bytes,
                "bitrate": None if _without_bytes(name) else kept.rate.bits_per_second,
                "starts": kept.starts,
                "congestion": kept.status.get("outputCongestion"),
                "skipped_frames": kept.status.get("outputSkippedFrames"),
                "total_frames": kept.status.get("outputTotalFrames"),
                "duration_ms": _duration_ms(kept.status.get("outputTotalFrames"), video),
            }
            for name, kept in self.outputs.items()
            if kept.available
        }

    def _ask(self, type: str) -> str:
        """A request whose refusal is only said: the next look shows what is."""
        answer = self._client.batch([Request(type)])[0]
        return "" if answer.ok else f"{type}: {answer.comment or 'refused'} ({answer.code})"


def _stuck(name: OutputName, kept: Kept) -> Iterable[Impossible]:
    if kept.stops > 1:
        yield Impossible("OutputStuck", name.value, f"it was stopped {kept.stops} times, and is still active")


def _wishes(wanted: Outputs) -> dict[OutputName, bool | None]:
    return {
        OutputName.STREAM: wanted.stream,
        OutputName.RECORD: wanted.record,
        OutputName.REPLAY_BUFFER: wanted.replay_buffer,
        OutputName.VIRTUAL_CAMERA: wanted.virtual_camera,
    }


def _without_bytes(name: OutputName) -> bool:
    """Replay buffer and virtual camera count none."""
    return name in (OutputName.REPLAY_BUFFER, OutputName.VIRTUAL_CAMERA)


def _duration_ms(frames: JsonValue, video: Video | None) -> int | None:
    if video is None or not isinstance(frames, int | float):
        return None
    return round(frames * 1000 * video.fps_denominator / video.fps_numerator)


def _count(data: Data) -> int:
    value = data.get("outputBytes")
    return int(value) if isinstance(value, int | float) else 0
