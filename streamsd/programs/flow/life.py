"""What all parts of a running flow share: whether it is to stop, that it is alive, and how long to wait for others."""

from __future__ import annotations

import _thread
import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Protocol

GRACE = 8.0
"""Seconds in which a sink may still try to write when the flow is to stop."""
_LEAST = 1.0
"""Of these, seconds after the request for one that was in trouble long before."""


def on_stop(stop: Callable[[], object]) -> None:
    """Have SIGTERM and SIGINT call it, in a thread of its own: a handler runs in the middle of the main thread, or of
    itself, and would wait for ever for a lock that is held there. A second signal a moment after the first one is
    enough for that."""

    def take(number: int, frame: FrameType | None) -> None:
        _thread.start_new_thread(stop, ())

    signal.signal(signal.SIGTERM, take)
    signal.signal(signal.SIGINT, take)


def asleep(stopping: threading.Event, seconds: float) -> bool:
    """Wait for the event in the thread that takes the signals, looking often: it must get to run for a signal to be
    heard. Whether it is set."""
    end = time.monotonic() + seconds
    while not stopping.is_set() and time.monotonic() < end:
        time.sleep(min(0.1, seconds))
    return stopping.is_set()


class Stopping(Exception):
    """The flow is to stop, and what it waits for does not come: it ends as after a crash, with the state of before."""


class Ended(Exception):
    """The sources are at their end, and so is all that came of them."""


class Left(Exception):
    """The flow is stopped between two epochs: what was given is stored."""


class Holder(Protocol):
    """What may hold a flow up. `fault`: what is wrong with it now, in words, or nothing."""

    fault: str


@dataclass
class Life:
    """`beat` counts rounds, messages and waits: it moves on while the process does its work, or waits on purpose."""

    stopping: threading.Event = field(default_factory=threading.Event)
    beat: int = 0
    asked: float = 0.0
    _holder: Holder | None = None
    _holds_since: float = 0.0

    def stop(self) -> None:
        """Ask the flow to stop: sources give no more, what is under way is stored, then it ends."""
        if not self.stopping.is_set():
            self.asked = time.monotonic()
            self.stopping.set()

    def overdue(self, epoch: float) -> bool:
        """Whether the end takes longer than the last epoch (seconds), the grace of its sinks and what is closed may."""
        return self.stopping.is_set() and time.monotonic() - self.asked > GRACE + epoch + 3

    @contextlib.contextmanager
    def held_by(self, holder: Holder) -> Iterator[None]:
        """Around what the flow waits for."""
        self._holder, self._holds_since = holder, time.monotonic()
        try:
            yield
        finally:
            self._holder = None

    def _until(self) -> float:
        """When who holds the flow up has had its grace. One that was in trouble before the request has had a part."""
        holder = self._holder
        spent = self.asked - self._holds_since if holder is not None and holder.fault else 0.0
        return self.asked + max(_LEAST, GRACE - max(0.0, spent))

    def pause(self, seconds: float) -> None:
        """Wait in a step that does not succeed. Raises Stopping when it is time to end."""
        self.beat += 1
        if self.stopping.is_set():
            if time.monotonic() > self._until():
                raise Stopping
            time.sleep(min(seconds, 0.2))
        else:
            self.stopping.wait(seconds)


class Backoff:
    """0, base, 2 base, … up to cap, in seconds; anew after `reset`."""

    def __init__(self, base: float = 0.1, cap: float = 5.0) -> None:
        self._base, self._cap, self._tries = base, cap, 0

    def next(self) -> float:
        wait = min(self._cap, self._base * 2**self._tries) if self._tries else 0.0
        self._tries = min(self._tries + 1, 20)
        return wait

    def reset(self) -> None:
        self._tries = 0
