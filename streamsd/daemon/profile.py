"""From the profile's files to desired state, with the last good one to fall back on at a start."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamsd.core.address import Address
from streamsd.core.diagnostics import Diagnostic, Severity
from streamsd.core.kind import Registry, Resource
from streamsd.core.settings import Settings
from streamsd.document.load import Loaded, load
from streamsd.engine.compiler import Compiler
from streamsd.engine.desired import Generation
from streamsd.engine.store import Store
from streamsd.engine.world import World


@dataclass(frozen=True)
class Candidate:
    """A profile as read: `generation` is None when it is not to be accepted."""

    loaded: Loaded
    generation: Generation | None
    diagnostics: tuple[Diagnostic, ...]


class Profiles:
    """Reads and compiles the profile of this daemon."""

    def __init__(self, settings: Settings, registry: Registry, compiler: Compiler, store: Store, world: World) -> None:
        self._settings = settings
        self._registry = registry
        self._compiler = compiler
        self._store = store
        self._world = world
        last = store.last_good()
        self.number = last[0] if last else 0
        self._earlier_files = {Path(name): content for name, content in last[2].items()} if last else {}
        self._earlier: Mapping[Address, Resource[Any]] | None = None

    def read(self) -> Candidate:
        """The profile as its files stand now. Reads files; touches nothing."""
        return self._candidate(self._load(self._settings.profile, None))

    def revision(self) -> str:
        """Names what the files say now. Reads files; compiles nothing."""
        return self._load(self._settings.profile, None).revision

    def read_last_good(self) -> Candidate | None:
        """The newest accepted profile, from the store; None when there never was one."""
        last = self._store.last_good()
        if last is None:
            return None
        files = {Path(name): content for name, content in last[2].items()}
        candidate = self._candidate(self._load(self._settings.profile, files))
        return candidate if candidate.generation is not None else None

    def _accepted(self) -> Mapping[Address, Resource[Any]]:
        """The resources as they were accepted last; before the first apply, by an earlier daemon."""
        now = self._world.generation.resources
        if now:
            return {address: desired.resource for address, desired in now.items()}
        if self._earlier is None:
            files = self._earlier_files
            self._earlier = self._load(self._settings.profile, files).resources if files else {}
        return self._earlier

    def keep(self, candidate: Candidate) -> None:
        """The candidate was accepted."""
        assert candidate.generation is not None
        self.number = candidate.generation.number
        self._store.remember(
            self.number,
            candidate.generation.revision,
            {str(path): data for path, data in candidate.loaded.documents.items()},
        )

    def _load(self, profile: Path, files: dict[Path, bytes] | None) -> Loaded:
        return load(profile, self._registry, host=socket.gethostname(), environ=dict(os.environ), files_as_of=files)

    def _candidate(self, loaded: Loaded) -> Candidate:
        if not loaded.valid:
            return Candidate(loaded, None, loaded.diagnostics)
        # what was accepted is starting, or will: its own port must not be another's by then
        # taken as tuples first: in one go, for this is a thread and the world moves
        units, accepted = tuple(self._world.units), self._world.generation.resources
        held = {claim.thing for desired in accepted.values() for claim in desired.compiled.claims}
        running = frozenset(units) - accepted.keys()  # of an earlier controller: what they hold is not known
        resources, found = self._compiler.compile(loaded.resources, running, frozenset(held), self._accepted())
        diagnostics = (*loaded.diagnostics, *found)
        if any(d.severity is Severity.ERROR for d in found):
            return Candidate(loaded, None, diagnostics)
        return Candidate(loaded, Generation(self.number + 1, loaded.revision, resources), diagnostics)
