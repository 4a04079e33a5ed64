"""Captured windows: where the follower (streamsd.programs.windows) has found each, laid over the document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from streamsd.core.report import JsonValue
from streamsd.programs.director.changes import Impossible
from streamsd.programs.director.model import Desired, Input

NOWHERE = "none"
"""The document's `server` of a captured window: what else is on its display is shown at no time. As a display's name
it is refused by libxcb, and the source is empty."""


class Windows:
    """`path`: the follower's file. Read when the director starts and when the follower says so."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: Mapping[str, Mapping[str, JsonValue]] = {}
        self.read()

    def read(self) -> None:
        with suppress(OSError, ValueError):  # not there yet; the follower will tell
            found: Any = json.loads(self._path.read_text())
            self._found = found if isinstance(found, dict) else {}

    def over(self, desired: Desired) -> Desired:
        """The document with each window cut out of its display."""
        if not any(_is_window(found) for found in desired.studio.inputs.values()):
            return desired
        inputs = {name: self._placed(_key(desired, name), found) for name, found in desired.studio.inputs.items()}
        return replace(desired, studio=replace(desired.studio, inputs=inputs))

    def missing(self, desired: Desired) -> Iterable[Impossible]:
        """Windows that are not there."""
        for name, found in desired.studio.inputs.items():
            at = self._found.get(_key(desired, name), {})
            if _is_window(found) and "server" not in at:
                words = at.get("missing", "not looked for yet")
                yield Impossible("WindowMissing", f"input {name}", str(words))

    def _placed(self, key: str, wanted: Input) -> Input:
        found = self._found.get(key, {})
        if not _is_window(wanted) or "server" not in found:
            return wanted
        return replace(wanted, settings={**wanted.settings, **found})


def _key(desired: Desired, name: str) -> str:
    """What an input is called in the follower's files: two collections may have other windows by one name."""
    return f"{desired.collection}\n{name}" if desired.collection in desired.others else name


def _is_window(found: Input) -> bool:
    return found.kind == "xshm_input" and found.settings.get("server") == NOWHERE
