"""Putting trees together: overlays and bases by deep merge, included files side by side."""

from __future__ import annotations

from typing import TypeAlias

from streamsd.core.diagnostics import dotted
from streamsd.document.budget import Budget
from streamsd.document.findings import Findings
from streamsd.document.nodes import Entry, MapNode, Node, map_of, source_of

Body: TypeAlias = dict[str, dict[str, Entry]]
"""What files declare: section, name, entry. `vars` is one of the sections."""


def deep_merge(base: Node, over: Node, budget: Budget) -> Node:
    """Mappings merge key by key; anything else, and what is tagged `!replace`, is taken from `over` whole."""
    if not (isinstance(base, MapNode) and isinstance(over, MapNode)) or over.replace:
        return over
    budget.spend(len(base.entries) + len(over.entries), source_of(over))
    entries = dict(base.entries)
    for name, entry in over.entries.items():
        below = entries.get(name)
        entries[name] = Entry(entry.key, deep_merge(below.value, entry.value, budget) if below else entry.value)
    return map_of(entries, over)


def overlay(base: Body, over: Body, budget: Budget) -> Body:
    """`over` merged over `base`. A resource stays declared where it was first: its relative paths mean that place."""
    merged = {section: dict(entries) for section, entries in base.items()}
    for section, entries in over.items():
        into = merged.setdefault(section, {})
        for name, entry in entries.items():
            below = into.get(name)
            if below is None:
                into[name] = entry
            else:
                into[name] = Entry(below.key, deep_merge(below.placed.value, entry.placed.value, budget))
    return merged


def join(one: Body, other: Body, findings: Findings) -> Body:
    """Both side by side. The same name twice is an error at the second place, unless it is the same place."""
    joined = {section: dict(entries) for section, entries in one.items()}
    for section, entries in other.items():
        into = joined.setdefault(section, {})
        for name, entry in entries.items():
            first = into.setdefault(name, entry)
            if first is not entry and source_of(first.key) != source_of(entry.key):
                findings.error(
                    "name-clash",
                    f"{dotted((section, name))} is declared twice",
                    source_of(entry.key),
                    hint=f"first in {source_of(first.key)}: rename one, or let one profile extend the other",
                    path=(section, name),
                )
    return joined
