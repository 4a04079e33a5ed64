"""`extends: name` on a resource: what another resource of its section says, with its own fields merged over."""

from __future__ import annotations

from collections.abc import Container, Mapping

from streamsd.document.budget import Budget
from streamsd.document.findings import Findings, hint_among, shown
from streamsd.document.interpolate import Interpolation
from streamsd.document.merge import deep_merge
from streamsd.document.nodes import BrokenNode, Entry, MapNode, ScalarNode, kind_of, map_of, source_of

KEY = "extends"
WITH = "with"
"""The values of a template's variables, beside `extends`."""
_MAX_CHAIN = 40


class Derivation:
    """Resolves `extends` within one section. A fault is told once and leaves the resource out (None)."""

    def __init__(
        self,
        section: str,
        entries: Mapping[str, Entry],
        interpolation: Interpolation,
        findings: Findings,
        budget: Budget,
        templates: Container[str] = (),
    ) -> None:
        """`templates`: names that are left to be taken over later, when they are not of the section."""
        self._templates = templates
        self._section = section
        self._entries = entries
        self._interpolation = interpolation
        self._findings = findings
        self._budget = budget
        self._done: dict[str, Entry | None] = {}
        self._chain: list[str] = []

    def resolve(self, name: str) -> Entry | None:
        """The entry as it stands once everything it extends is merged below it."""
        entry = self._entries[name]
        if not isinstance(entry.value, MapNode) or KEY not in entry.value.entries:
            return entry
        if name not in self._done:
            self._chain.append(name)
            entry = entry.placed
            assert isinstance(entry.value, MapNode)
            self._done[name] = self._merged(entry, entry.value)
            self._chain.pop()
        return self._done[name]

    def _merged(self, entry: Entry, value: MapNode) -> Entry | None:
        said = self._interpolation.node(value.entries[KEY].value)
        if isinstance(said, BrokenNode):
            return None
        at = source_of(said)
        path = (self._section, self._chain[-1], KEY)
        if not isinstance(said, ScalarNode) or not isinstance(said.value, str):
            self._findings.error(
                "extends-type", f"extends takes the name of a resource, not {kind_of(said)}", at, path=path
            )
            return None
        base = said.value
        if base not in self._entries and base in self._templates:
            return entry
        if base not in self._entries:
            self._findings.error(
                "extends-unknown",
                f"{self._section} has no {shown(base)} to extend",
                at,
                hint=hint_among(base, [n for n in self._entries if n != self._chain[-1]]),
                path=path,
            )
            return None
        if base in self._chain or len(self._chain) > _MAX_CHAIN:
            known = self._chain.index(base) if base in self._chain else 0
            chain = " -> ".join([*self._chain[known:], base])
            self._findings.error("extends-cycle", f"resources that extend each other: {chain}", at, path=path)
            return None
        below = self.resolve(base)
        if below is None:
            return None
        below = below.placed
        own = map_of({key: e for key, e in value.entries.items() if key != KEY}, value)
        if isinstance(below.value, ScalarNode) and below.value.value is None:
            return Entry(entry.key, own)
        return Entry(entry.key, deep_merge(below.value, own, self._budget))
