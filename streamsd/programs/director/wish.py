"""What OBS is to be: the document, and what operators, flows and the windows' follower lay over it; and what is
remembered of all that beyond a director's life."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from streamsd.programs.director.changes import Impossible
from streamsd.programs.director.commands import Refusal
from streamsd.programs.director.model import Desired, Owned, Studio
from streamsd.programs.director.overrides import Overrides
from streamsd.programs.director.parse import DocumentFault, parse_desired
from streamsd.programs.director.state import (
    State,
    declared_by,
    joined,
    read_state,
    still_there,
    without,
    write_state,
)
from streamsd.programs.director.windows import Windows


class Wish:
    """`fault`: what is wrong with the newest document; the one before it stays. Every question but `known` and
    `missing` is a Refusal while there was none that is good."""

    def __init__(self, document: Path, state: Path, windows: Path) -> None:
        self._document = document
        self._path = state
        self._state = read_state(state)
        self._desired: Desired | None = None
        self._windows = Windows(windows)
        self._texts: dict[str, str] = {}
        self.fault = ""
        self.load()

    def load(self) -> None:
        """Read the document."""
        try:
            self._desired = parse_desired(json.loads(self._document.read_text()))
            self.fault = ""
        except FileNotFoundError:
            self.fault = "there is no desired document yet"
        except OSError as fault:
            self.fault = f"the desired document cannot be read: {fault.strerror}"
        except DocumentFault as fault:
            self.fault = str(fault)
        except ValueError:
            self.fault = "the desired document is not JSON"
        if self._desired is not None:
            declared = joined(self._state.declared, declared_by(self._desired))
            self._keep(replace(self._state, declared=declared))

    @property
    def known(self) -> Desired | None:
        """The document as it was written; None while there is none."""
        return self._desired

    @property
    def declared(self) -> Desired:
        """The same, for those who cannot do without."""
        if self._desired is None:
            raise Refusal("NoDocument", self.fault)
        return self._desired

    @property
    def document(self) -> Desired:
        """The document with the collection that the operator has loaded."""
        return self._state.overrides.loaded(self.declared)

    @property
    def effective(self) -> Desired:
        """All of it: what OBS is brought to."""
        return self.given(self._state.overrides.over(self.declared))

    def given(self, desired: Desired) -> Desired:
        """With where windows are now, and what flows have inputs show."""
        desired = self._windows.over(desired)
        if not self._texts:
            return desired
        inputs = dict(desired.studio.inputs)
        for name, text in self._texts.items():
            if name in inputs:
                inputs[name] = replace(inputs[name], settings={**inputs[name].settings, "text": text})
        return replace(desired, studio=replace(desired.studio, inputs=inputs))

    @property
    def owned(self) -> Owned:
        """What an earlier document declared and this one does not."""
        return without(self._state.declared, self._named_now())

    @property
    def kept(self) -> frozenset[tuple[str, str]]:
        """Sources' own keys, by kind, that comparisons have taught."""
        return self._state.kept

    @property
    def overrides(self) -> Overrides:
        return self._state.overrides

    def override(self, overrides: Overrides) -> None:
        """These from now on, but for what the document says anyway."""
        self._keep(replace(self._state, overrides=overrides.needed(self.declared)))

    def show(self, texts: Mapping[str, str]) -> None:
        """Inputs' texts from now on. Not remembered: who gives them gives them to the next director too."""
        self._texts.update(texts)

    def forget_texts(self) -> None:
        self._texts.clear()

    def look_at_windows(self) -> None:
        self._windows.read()

    def missing(self) -> Iterable[Impossible]:
        """Windows that are not there."""
        return self._windows.missing(self.document) if self._desired is not None else ()

    def remember(self, found: Studio, kept: frozenset[tuple[str, str]]) -> None:
        """What a comparison taught: sources' own keys, and which old names are gone."""
        now = self._named_now()
        old = still_there(without(self._state.declared, now), found)
        self._keep(replace(self._state, declared=joined(now, old), kept=kept))

    def _named_now(self) -> Owned:
        """What the document declares, in the collection that it loads and in the operator's."""
        return joined(declared_by(self.declared), declared_by(self.document))

    def _keep(self, state: State) -> None:
        if state != self._state or not self._path.exists():
            self._state = state
            with suppress(OSError):  # a full disk must not end what runs
                write_state(self._path, state)
