"""Rounds of reading, comparing and sending until OBS holds what is wanted, or says that it will not."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from streamsd.core.report import JsonValue
from streamsd.programs.director.changes import ALL_OUTPUTS, Change, Cost, Impossible, OutputName, Phase
from streamsd.programs.director.client import Client, NoAnswer, RequestFault, Wedged
from streamsd.programs.director.collection import CollectionFault, CollectionFile, edited, transition_settings
from streamsd.programs.director.diff import Comparison
from streamsd.programs.director.kinds import fitted
from streamsd.programs.director.model import Desired, Owned, Settings, Studio, Transition
from streamsd.programs.director.outputs import OutputKeeper
from streamsd.programs.director.profile import encoder_changes
from streamsd.programs.director.readback import Reader
from streamsd.programs.director.releases import in_its_words, may_wedge
from streamsd.programs.director.same import different_settings

PARK = "streamsd-park"
"""The collection, and the profile, that OBS is switched to while another one's file is edited or read anew."""

PATIENCE = 4.0
"""Seconds with the same differences after which they count as not taken. Deletes are asynchronous (a quarter of a
second on a quiet machine, in which the name is taken), and a transition's duration can read stale."""


SWITCH_WITHIN = 5.0
"""Seconds for leaving a collection, where OBS may never come to its end. It takes 60 ms otherwise."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`found`: the last reading. `mutating`: requests sent that change something. `held`: changes that wait for leave
    to interrupt a running output. `refused`: what OBS did not take. `elsewhere`: it was read in another
    collection than the declared one."""

    found: Studio
    mutating: int = 0
    rounds: int = 0
    changed: tuple[str, ...] = ()
    held: tuple[Change, ...] = ()
    refused: tuple[Impossible, ...] = ()
    elsewhere: bool = False

    @property
    def converged(self) -> bool:
        return not self.held and not self.refused


class Reconciler:
    """Brings one OBS to a desired document. Raises ConnectionLost, ReadFault; RequestFault never. `version`: of that
    OBS, empty where it is not known."""

    def __init__(
        self,
        client: Client,
        reader: Reader,
        outputs: OutputKeeper,
        files: CollectionFile | None,
        *,
        version: tuple[int, ...] = (),
    ) -> None:
        self._version = version
        self._may_wedge = files is not None and may_wedge(version)
        self._client = client
        self._reader = reader
        self._outputs = outputs
        self._files = files
        self.kept: set[tuple[str, str]] = set()
        self._collections: list[str] = []
        self._sent_transitions: dict[str, Transition] = {}

    def converge(self, desired: Desired, owned: Owned, *, within: float = 20.0) -> Outcome:
        """Until nothing differs, nothing moves any more, or the time is over."""
        deadline = time.monotonic() + within
        desired = self._fitted(desired)
        mutating, rounds, stuck = 0, 0, 0
        moved = time.monotonic()
        before: tuple[str, ...] = ()
        said: list[str] = []
        faults: list[Impossible] = []
        while True:
            try:
                switched, waits = self._home(desired)
            except RequestFault as fault:
                return Outcome(self.read(desired), mutating, rounds, refused=(_fault("collection", fault),))
            mutating += switched
            if waits is not None:
                # What is declared is for the other collection: nothing of it may be done to this one.
                return Outcome(self.read(desired), mutating, rounds, tuple(said), (waits,), elsewhere=True)
            said.extend(self._prune_collections(desired, owned))
            found = self.read(desired)
            rounds += 1
            comparison = Comparison(
                desired, found, self._reader, owned, frozenset(self.kept), has_files=self._files is not None
            )
            self._reader.defaults("input", (i.kind for i in desired.studio.inputs.values()))
            changes = (*self._encoder_changes(desired), *comparison.changes())
            waiting = tuple(c for c in changes if not self._allowed(desired, c))
            doing = _without_hurry(tuple(c for c in changes if c not in waiting))
            held = tuple(c for c in waiting if not c.cosmetic)
            impossible = tuple(comparison.impossible)
            if not doing:
                return Outcome(found, mutating, rounds, tuple(said), held, impossible)
            now = tuple(map(str, doing))
            if now != before:
                stuck, moved, before = 0, time.monotonic(), now
            else:
                stuck += 1
            if time.monotonic() > min(deadline, moved + PATIENCE):
                known = {f.about for f in faults}
                silent = tuple(
                    Impossible("DidNotTake", c.about, f"{c.words}: OBS said yes and did not do it")
                    for c in doing
                    if c.about not in known
                )
                return Outcome(found, mutating, rounds, tuple(said), held, (*impossible, *faults, *silent))
            if stuck:
                self._learn(desired, found)
                time.sleep(min(0.8, 0.05 * 2**stuck))
            said.extend(line for line in now if line not in said)
            sent, faults = self._send(desired, owned, doing)
            mutating += sent
            self._note_sent(desired, doing)

    def _allowed(self, desired: Desired, change: Change) -> bool:
        """Whether it may be done now: always when no output that it concerns runs."""
        if desired.interrupt:
            return True
        concerned = ALL_OUTPUTS if change.cost is Cost.COLLECTION_RELOAD else change.stops
        return not (concerned & self._outputs.active)

    def _send(self, desired: Desired, owned: Owned, changes: Sequence[Change]) -> tuple[int, list[Impossible]]:
        stops: set[OutputName] = set()
        for change in changes:
            stops |= change.stops
        if stops & self._outputs.active and not self._outputs.stop(stops):
            return 0, [Impossible("OutputStuck", "outputs", "an output did not stop for a change that needs it")]
        self._make_directories(changes)
        live = [(change, request) for change in changes for request in change.requests]
        answers = self._client.batch([request for _, request in live])
        sent = len(live)
        faults = [
            Impossible("Refused", change.about, f"{request.type}: {answer.comment or 'refused'} ({answer.code})")
            for (change, request), answer in zip(live, answers, strict=True)
            if not answer.ok
        ]
        try:
            if any(c.cost is Cost.PROFILE_RELOAD for c in changes):
                sent += self._reload_profile(desired)
            if any(c.cost is Cost.COLLECTION_RELOAD for c in changes):
                sent += self._reload_collection(desired, owned)
        except RequestFault as fault:
            faults.append(_fault("reload", fault))
        except (OSError, CollectionFault) as fault:
            why = fault.strerror if isinstance(fault, OSError) else str(fault)
            words = f"its file cannot be edited: {why}"
            faults.append(Impossible("CollectionFile", f"collection {desired.collection}", words))
        if stops:
            self._outputs.fresh()
        return sent, faults

    # ---- profile and collection ---------------------------------------------------------------------------------

    def _home(self, desired: Desired) -> tuple[int, Change | None]:
        """Be in the declared profile and collection; how many requests that took, and the switch that has to wait:
        OBS would take it while an output runs."""
        sent = 0
        self._collections = []
        for what, wanted in (("Profile", desired.profile), ("SceneCollection", desired.collection)):
            if not wanted:
                continue
            current, names = self._current(what)
            if what == "SceneCollection":
                self._collections = names
            if current == wanted:
                continue
            cost = Cost.PROFILE_RELOAD if what == "Profile" else Cost.COLLECTION_RELOAD
            about = "profile" if what == "Profile" else "collection"
            change = Change(Phase.PROFILE, f"{about} {wanted}", f"load it instead of {current}", (), cost, ALL_OUTPUTS)
            if not self._allowed(desired, change):
                return sent, change
            sent += 1
            self._switch(what, wanted, names)
        return sent, None

    def _prune_collections(self, desired: Desired, owned: Owned) -> Iterator[str]:
        """Remove collections that are not declared, which obs-websocket cannot: OBS lists the files there are."""
        if self._files is None:
            return
        for name in self._collections:
            if name in (*desired.collections, desired.collection, PARK):
                continue
            if desired.prune or name in owned.collections:
                self._files.remove(name)
                yield f"collection {name}: remove"

    def _current(self, what: str) -> tuple[str, list[str]]:
        if what == "Profile":
            answer = self._client.call("GetProfileList")
            return str(answer["currentProfileName"]), _texts(answer["profiles"])
        answer = self._client.call("GetSceneCollectionList")
        return str(answer["currentSceneCollectionName"]), _texts(answer["sceneCollections"])

    def _switch(self, what: str, wanted: str, names: Sequence[str]) -> None:
        """Switch, or create what is not there. A file that OBS has not seen is listed, and switching to it answers OK
        and does nothing: creating it works."""
        key = "profileName" if what == "Profile" else "sceneCollectionName"
        files = self._files if what == "SceneCollection" else None
        if files is not None and wanted in names and not files.has_scenes(wanted):
            # OBS ends when it loads a collection that has no scene.
            files.remove(wanted)
            names = [name for name in names if name != wanted]
        if wanted in names:
            self._ask_to_switch(f"SetCurrent{what}", {key: wanted})
            if self._current(what)[0] == wanted:
                return
        self._ask_to_switch(f"Create{what}", {key: wanted})
        deadline = time.monotonic() + 5.0
        while self._current(what)[0] != wanted and time.monotonic() < deadline:
            time.sleep(0.05)

    def _ask_to_switch(self, request: str, data: Mapping[str, JsonValue]) -> None:
        if not self._may_wedge:
            self._client.call(request, data)
            return
        try:
            self._client.call(request, data, within=SWITCH_WITHIN)
        except NoAnswer as silence:
            raise Wedged(
                silence.asked, "OBS could not unload its scenes, and asks to be ended (a fault of OBS)"
            ) from None

    def _encoder_changes(self, desired: Desired) -> Iterator[Change]:
        if self._files is not None:
            for name, settings in desired.encoders.items():
                yield from encoder_changes(name, settings, self._files.encoder(desired.profile, name))

    def _make_directories(self, changes: Sequence[Change]) -> None:
        """OBS does not make the directory that it is to record into, and its recording fails without it."""
        if self._files is None:
            return
        for change in changes:
            for request in change.requests:
                if request.data.get("parameterName") in ("FilePath", "RecFilePath"):
                    with suppress(OSError):  # the recording will say what is wrong with it
                        Path(str(request.data["parameterValue"])).mkdir(parents=True, exist_ok=True)

    def _reload_profile(self, desired: Desired) -> int:
        _, names = self._current("Profile")
        self._switch("Profile", PARK, names)
        if self._files is not None:
            for name, settings in desired.encoders.items():
                self._files.write_encoder(desired.profile, name, settings)
        self._switch("Profile", desired.profile, [*names, PARK])
        return 2

    def _reload_collection(self, desired: Desired, owned: Owned) -> int:
        """Away, edit, back: OBS writes the file when it leaves and reads it when it comes back (~60 ms in all)."""
        if self._files is None:
            return 0
        _, names = self._current("SceneCollection")
        try:
            self._switch("SceneCollection", PARK, names)
        except Wedged:
            # It has written the file, and will not do so again: the next OBS begins with what is declared.
            self._edit(self._files, desired, owned)
            raise
        try:
            self._edit(self._files, desired, owned)
        finally:
            self._switch("SceneCollection", desired.collection, [*names, PARK])
        return 2

    def _fitted(self, desired: Desired) -> Desired:
        reader = self._reader
        studio = fitted(desired.studio, reader.input_kinds, partial(reader.default, "input"))
        return replace(desired, studio=replace(studio, parameters=in_its_words(studio.parameters, self._version)))

    def _edit(self, files: CollectionFile, desired: Desired, owned: Owned) -> None:
        data = files.read(desired.collection)
        new = edited(data, desired.studio, prune=desired.prune, owned=owned, kinds=self._reader.input_kinds)
        files.write(desired.collection, new)

    # ---- reading ------------------------------------------------------------------------------------------------

    def differing(self, desired: Desired, owned: Owned, found: Studio) -> set[str]:
        """What is not as declared, each by what it is `about` (see Comparison)."""
        desired = self._fitted(desired)
        comparison = Comparison(
            desired, found, self._reader, owned, frozenset(self.kept), has_files=self._files is not None
        )
        changes = (*self._encoder_changes(desired), *comparison.changes())
        return {change.about for change in changes} | {found.about for found in comparison.impossible}

    def defaults(self, studio: Studio) -> dict[str, Settings]:
        """What the inputs' kinds are set to by themselves."""
        kinds = {found.kind for found in studio.inputs.values()}
        self._reader.defaults("input", kinds)
        return {kind: self._reader.default("input", kind) for kind in sorted(kinds)}

    def read(self, desired: Desired) -> Studio:
        """All that OBS holds. ReadFault when it does not hold still."""
        found = self._reader.read(in_its_words(desired.studio.parameters, self._version))
        return self._with_transition_settings(desired, found)

    def _with_transition_settings(self, desired: Desired, found: Studio) -> Studio:
        """OBS tells the settings of the current transition only. Those of the others: as sent by this director, else
        as in the file, else (an OBS of somebody else's) taken to be as declared."""
        others = {name: t for name, t in found.transitions.items() if name != found.transition}
        if not others:
            return found
        filed: Mapping[str, Transition] = desired.studio.transitions
        if self._files is not None:
            try:
                filed = transition_settings(self._files.read(desired.collection))
            except (OSError, ValueError, CollectionFault):
                filed = {}
        known = {**filed, **self._sent_transitions}
        there = {name: known[name] if name in known and known[name].kind == t.kind else t for name, t in others.items()}
        return replace(found, transitions={**found.transitions, **there})

    def _note_sent(self, desired: Desired, changes: Sequence[Change]) -> None:
        names = {
            str(request.data.get("transitionName"))
            for change in changes
            if any(request.type == "SetCurrentSceneTransitionSettings" for request in change.requests)
            for request in change.requests
        }
        self._sent_transitions.update({n: t for n, t in desired.studio.transitions.items() if n in names})

    def _learn(self, desired: Desired, found: Studio) -> None:
        """A key that is there again after all settings were replaced is the source's own: leave it alone."""

        def learn(what: str, kind: str, wanted: Settings, have: Settings) -> None:
            _, extra = different_settings(wanted, have, self._reader.default(what, kind))
            self.kept.update((kind, key) for key in extra)

        studio = desired.studio
        for name, wanted in studio.inputs.items():
            have = found.inputs.get(name)
            if have is not None and have.kind == wanted.kind:
                learn("input", wanted.kind, wanted.settings, have.settings)
        for wants, haves in ((studio.inputs, found.inputs), (studio.scenes, found.scenes)):
            for name, owner in wants.items():
                there = {f.name: f for f in haves[name].filters} if name in haves else {}
                for f in owner.filters:
                    if f.name in there and there[f.name].kind == f.kind:
                        learn("filter", f.kind, f.settings, there[f.name].settings)


def _without_hurry(changes: tuple[Change, ...]) -> tuple[Change, ...]:
    """Deletes wait for the round after a collection's reload: they are asynchronous, and OBS 29 has crashed when it
    left the collection while some were under way."""
    if not any(change.cost is Cost.COLLECTION_RELOAD for change in changes):
        return changes
    return tuple(c for c in changes if c.phase is not Phase.DELETE or c.cost is Cost.COLLECTION_RELOAD)


def _fault(about: str, fault: RequestFault) -> Impossible:
    return Impossible("Refused", about, str(fault))


def _texts(value: JsonValue) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []
