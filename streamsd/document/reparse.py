"""Reading an edited file anew where only one entry of it changed.

Scanning is what costs in a large profile: 60–150 ms for a thousand resources. When the changed lines lie within one
entry of one section (or are that entry), those lines are read by themselves and everything else is taken over.

Why that gives what reading the whole file would: the entry begins with its key in a block mapping and ends where the
next key of the same or an outer block begins. If its lines, read alone, are one block mapping at the same column that
ends cleanly (no open quote or bracket, no marker, directive or anchor), the scanner is in the same state at the next
key as before. Anything else, and every error, falls back to reading it all.
"""

from __future__ import annotations

from dataclasses import dataclass

from yaml.error import YAMLError

from streamsd.document.build import Builder, Stop
from streamsd.document.findings import Findings
from streamsd.document.nodes import MAX_NODES, Entry, MapNode, Node, moved, moved_key

_UNUSUAL = ("\r", "\x85", "\u2028", "\u2029", "\ufeff")
"""Other ends of lines, and a mark that only the first character may be: such files are always read whole."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A file as it was last read without an error, anchors or directives."""

    text: str
    root: MapNode
    file: str


@dataclass(frozen=True, slots=True)
class _Block:
    """The lines of one entry, from 0, the last exclusive, and where it stands."""

    section: str
    name: str
    first: int
    last: int


def reparse(before: Snapshot, text: str) -> MapNode | None:
    """The tree of the new text, or None when it has to be read whole."""
    if any(mark in text for mark in _UNUSUAL) or any(mark in before.text for mark in _UNUSUAL):
        return None
    old, new = before.text.split("\n"), text.split("\n")
    top = _alike(old, new, min(len(old), len(new)))
    if top == len(old) == len(new):
        return before.root
    bottom = _alike(old[::-1], new[::-1], min(len(old), len(new)) - top)
    block = _around(before, old, top, len(old) - bottom)
    if block is None:
        return None
    delta = len(new) - len(old)
    section = before.root.entries[block.section].value
    assert isinstance(section, MapNode)
    last = block.last + delta
    lines = "\n".join(new[block.first : last]) + ("\n" if last < len(new) else "")
    read = _read(lines, before.file, block.first, section)
    if read is None:
        return None
    entries: dict[str, Entry] = {}
    after = False
    for name, entry in section.entries.items():
        if name == block.name:
            if any(other in section.entries and other != name for other in read.entries):
                return None  # a name stands twice
            entries.update(read.entries)
            after = True
        else:
            entries[name] = _shifted(entry, delta) if after and delta else entry
    return _with_section(before.root, block.section, section, entries, delta)


def _alike(old: list[str], new: list[str], most: int) -> int:
    for index in range(most):
        if old[index] != new[index]:
            return index
    return most


def _around(before: Snapshot, lines: list[str], first: int, last: int) -> _Block | None:
    """The entry that holds lines [first, last) of the old text."""
    root = before.root
    if not _is_block(root):
        return None
    sections = list(root.entries.items())
    for index, (section, entry) in enumerate(sections):
        end = sections[index + 1][1].key.line - 1 if index + 1 < len(sections) else len(lines)
        if not (entry.key.line - 1 < first and last <= end and isinstance(entry.value, MapNode)):
            continue
        if not _is_block(entry.value):
            return None
        starts = [e.key.line - 1 for e in entry.value.entries.values()]
        for number, (name, found) in enumerate(entry.value.entries.items()):
            until = starts[number + 1] if number + 1 < len(starts) else end
            if starts[number] <= first and last <= until and found.raw is not None:
                begins = lines[starts[number]][: found.key.column - 1]
                return _Block(section, name, starts[number], until) if not begins.strip(" ") else None
    return None


def _is_block(node: MapNode) -> bool:
    """Written as a block: it begins where its first key does, with no bracket, tag or `?` before."""
    key = next((entry.key for entry in node.entries.values()), None)
    return key is not None and (key.line, key.column) == (node.line, node.column)


def _read(text: str, file: str, line: int, section: MapNode) -> MapNode | None:
    findings = Findings()
    builder = Builder(text, file, findings, line=line, level=1)
    try:
        read = builder.build()
    except (YAMLError, Stop):
        return None
    if findings.errors or not builder.simple or not isinstance(read, MapNode) or not _is_block(read):
        return None
    if read.column != section.column or section.size + read.size > MAX_NODES:
        return None
    return read


def _shifted(entry: Entry, delta: int) -> Entry:
    return Entry(moved_key(entry.key, delta), entry.value, entry.raw, entry.shift + delta)


def _with_section(root: MapNode, changed: str, section: MapNode, entries: dict[str, Entry], delta: int) -> MapNode:
    first = next(iter(entries.values())).key
    value = _sized(section, entries)._replace(line=first.line, column=first.column, end_line=section.end_line + delta)
    sections: dict[str, Entry] = {}
    after = False
    for name, entry in root.entries.items():
        if name == changed:
            sections[name] = Entry(entry.key, value)
            after = True
        else:
            sections[name] = _moved_section(entry, delta) if after and delta else entry
    return _sized(root, sections)._replace(end_line=root.end_line + delta)


def _moved_section(entry: Entry, delta: int) -> Entry:
    """Keys are moved now, what is below them when somebody asks."""
    value: Node = entry.value
    if isinstance(value, MapNode):
        value = value._replace(
            entries={name: _shifted(e, delta) for name, e in value.entries.items()},
            line=value.line + delta,
            end_line=value.end_line + delta,
        )
    else:
        value = moved(value, delta)
    return Entry(moved_key(entry.key, delta), value)


def _sized(node: MapNode, entries: dict[str, Entry]) -> MapNode:
    size, depth, dynamic = 1, 0, False
    for entry in entries.values():
        size += 1 + entry.value.size
        depth = max(depth, entry.value.depth)
        dynamic = dynamic or entry.value.dynamic
    return node._replace(entries=entries, size=size, depth=depth + 1, dynamic=dynamic)
