"""One connection's life: everything that is done on it, from identifying to its loss."""

from __future__ import annotations

import time
from dataclasses import dataclass

from streamsd.programs.director.captures import Captures
from streamsd.programs.director.changes import Impossible, OutputName
from streamsd.programs.director.client import Client, Data, ObsEvent, Request
from streamsd.programs.director.collection import CollectionFile
from streamsd.programs.director.journal import Journal
from streamsd.programs.director.media_files import MediaFiles
from streamsd.programs.director.model import Desired, Owned, Settings, Studio
from streamsd.programs.director.outputs import OutputKeeper
from streamsd.programs.director.readback import Reader, ReadFault
from streamsd.programs.director.reconcile import PARK, Outcome, Reconciler
from streamsd.programs.director.releases import await_started, release
from streamsd.programs.director.telling import tell

SETTLE = 0.02
"""Seconds after an event in which others are waited for before OBS is read: a person's drag makes many."""

POLL_LEAST, POLL_MOST = 2.0, 30.0
POLL_SHARE = 0.005
"""Of a core: what reading back for what has no event may cost. A large collection is read more rarely."""

RETRY_CAP = 60.0

_CHANGES_TOLD = 5

_MEANINGLESS = frozenset(
    {
        "SceneItemSelected",
        "MediaInputPlaybackStarted",
        "MediaInputPlaybackEnded",
        "MediaInputActionTriggered",
        "SceneTransitionStarted",
        "SceneTransitionEnded",
        "SceneTransitionVideoEnded",
        "VendorEvent",
        "CustomEvent",
        "ReplayBufferSaved",
    }
)
"""Events after which nothing can differ from what is wanted."""

_OUTPUT_EVENTS = {
    "StreamStateChanged": OutputName.STREAM,
    "RecordStateChanged": OutputName.RECORD,
    "ReplayBufferStateChanged": OutputName.REPLAY_BUFFER,
    "VirtualcamStateChanged": OutputName.VIRTUAL_CAMERA,
}


_LOADING = ("CurrentSceneCollectionChanging", "CurrentProfileChanging")
_LOADED = ("CurrentSceneCollectionChanged", "CurrentProfileChanged")


class Leaving(Exception):
    """OBS says that it exits: let go of it, or it waits for the closing handshake."""


@dataclass(slots=True)
class Timing:
    """When what is due, on the monotonic clock."""

    converge: float = 0.0
    tend: float = 0.0
    poll: float = 0.0
    failures: int = 0


class Movement:
    """For how long a figure stood still, by the last time that it was read: what happens between two readings (a
    comparison of seconds, a director that was stopped) says nothing of it."""

    def __init__(self) -> None:
        self._last: object = None
        self._moved = 0.0
        self.still = 0.0

    def read(self, figure: object, now: float) -> None:
        """None where it is not known."""
        if figure is None or figure != self._last:
            self._last, self._moved = figure, now
        self.still = now - self._moved


class Session:
    """Raises ConnectionLost from anything; Leaving from `take_events`."""

    def __init__(
        self,
        client: Client,
        files: CollectionFile | None,
        kept: frozenset[tuple[str, str]],
        journal: Journal,
        *,
        is_local: bool,
    ) -> None:
        """`is_local`: OBS sees this host's files."""
        self.client = client
        version = client.call("GetVersion")
        self.obs_version = str(version.get("obsVersion", ""))
        number = release(self.obs_version)
        await_started(client, number)
        self.outputs = OutputKeeper(client)
        self._reconciler = Reconciler(client, Reader(client), self.outputs, files, version=number)
        self._reconciler.kept.update(kept)
        self._captures = Captures()
        self._media_files = MediaFiles() if is_local else None
        self.outcome: Outcome | None = None
        self.output_findings: tuple[Impossible, ...] = ()
        self.mutating = 0
        self._journal = journal
        self.stats: Data = {}
        self._drawn = Movement()
        self.due = Timing()
        self._switching = False
        self._loading = False

    @property
    def kept(self) -> frozenset[tuple[str, str]]:
        return frozenset(self._reconciler.kept)

    def read(self, desired: Desired) -> Studio:
        """What OBS holds now. ReadFault when it does not hold still."""
        return self._reconciler.read(desired)

    def differing(self, desired: Desired, owned: Owned, found: Studio) -> set[str]:
        """What of a reading is not as declared."""
        return self._reconciler.differing(desired, owned, found)

    def defaults(self, found: Studio) -> dict[str, Settings]:
        """Of the kinds of inputs there are."""
        return self._reconciler.defaults(found)

    def next_due(self) -> float:
        return min(self.due.converge, self.due.tend)

    def soon(self) -> None:
        """Compare at once."""
        self.due.converge = 0.0
        self.due.failures = 0

    def take_events(self) -> None:
        """Read what OBS tells, and decide what it makes due."""
        for event in self.client.events():
            self._take(event)

    def _take(self, event: ObsEvent) -> None:
        now = time.monotonic()
        self._tell(event)
        match event.type:
            case "ExitStarted":
                raise Leaving
            case name if name in _LOADING:
                # Reading while OBS tears down a collection has crashed it (measured with OBS 29).
                self._switching = True
                self.due.converge = now + 5.0
            case name if name in _LOADED:
                self._switching = False
                self.due.converge = now + SETTLE
            case name if name in _OUTPUT_EVENTS:
                self.outputs.told(_OUTPUT_EVENTS[name], str(event.data.get("outputState")))
                self.due.tend = now
            case name if name not in _MEANINGLESS and not self._switching:
                self.due.converge = min(self.due.converge, now + SETTLE)
            case _:
                pass

    def _tell(self, event: ObsEvent) -> None:
        """For the event log. What OBS tears down and makes anew when it loads a collection has not happened, nor has
        our own parking."""
        if event.type in _LOADING:
            self._loading = True
        elif event.type in _LOADED:
            self._loading = False
        if PARK in event.data.values() or (self._loading and event.type not in _OUTPUT_EVENTS):
            return
        tell(self._journal, event, self.outcome.found if self.outcome is not None else None)

    def work(self, desired: Desired, owned: Owned) -> bool:
        """Do what is due; whether anything was."""
        now = time.monotonic()
        did = False
        if now >= self.due.tend:
            self.tend(desired)
            did = True
        if now >= self.due.converge:
            self.converge(desired, owned)
            did = True
        return did

    def converge(self, desired: Desired, owned: Owned) -> Outcome:
        """Bring OBS to the document, and plan the next look."""
        cpu = time.process_time()
        self._switching = False
        self.outputs.look()
        try:
            outcome = self._reconciler.converge(desired, owned)
        except ReadFault:
            self.due.converge = time.monotonic() + 0.5
            if self.outcome is None:
                raise
            return self.outcome
        cost = time.process_time() - cpu
        self.outcome = outcome
        self.mutating += outcome.mutating
        now = time.monotonic()
        pause = min(POLL_MOST, max(POLL_LEAST, cost / max(1, outcome.rounds) / POLL_SHARE))
        if outcome.refused:
            # What was refused is not asked for again at once, though asking made events of its own.
            self._drain(0.1)
            self.due.failures += 1
            pause = min(RETRY_CAP, pause * 2**self.due.failures)
        else:
            self.due.failures = 0
        self.due.converge = now + pause
        if outcome.mutating:
            self.due.tend = 0.0
            about: Data = {"changes": [*outcome.changed[:_CHANGES_TOLD]], "of": len(outcome.changed)}
            self._journal.note("obs-brought-to-what-is-declared", about, together=True)
        return outcome

    def tend(self, desired: Desired) -> None:
        """Look after captured displays, files that are shown, and the outputs. No output is started before the first
        comparison is done, so that nothing streams half a scene."""
        self.outputs.look()
        self.stats = self._statistics()
        self._drawn.read(self.stats.get("renderTotalFrames"), time.monotonic())
        renewed = self._captures.renewed(desired.studio.inputs)
        if self._media_files is not None:
            renewed += self._media_files.look(desired.studio.inputs)
        if renewed:
            self.client.batch(renewed)
        wanted = desired.outputs
        if self.outcome is not None:
            self.output_findings = tuple(self.outputs.tend(wanted))
        self.due.tend = time.monotonic() + 1.0

    def hangs(self, within: float) -> str:
        """Why OBS is to be started anew though it answers; empty while it need not. `within`: seconds without a
        frame. What is stuck waits for what runs well beside it."""
        if self._drawn.still > within:
            return f"OBS has drawn no frame for {self._drawn.still:.0f} s"
        return self.outputs.stuck

    def findings(self) -> tuple[Impossible, ...]:
        """What is wrong now."""
        outcome = self.outcome
        missing = self._media_files.findings if self._media_files is not None else ()
        if outcome is None:
            return (*missing, *self.output_findings)
        running = ", ".join(sorted(name.value for name in self.outputs.active))
        held = tuple(
            Impossible("WouldInterrupt", c.about, f"{c.words}: waits, it would interrupt what runs ({running})")
            for c in outcome.held
        )
        return (*outcome.refused, *held, *missing, *self.output_findings)

    def _statistics(self) -> Data:
        answer = self.client.batch([Request("GetStats")])[0]
        return answer.data if answer.ok else {}

    def _drain(self, seconds: float) -> None:
        """Take events without letting them make anything due."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            for event in self.client.events(left):
                self._tell(event)
                if event.type in _OUTPUT_EVENTS:
                    self.outputs.told(_OUTPUT_EVENTS[event.type], str(event.data.get("outputState")))
                    self.due.tend = 0.0
