"""libyaml's events to nodes, in one pass.

An own builder rather than yaml.compose: it does not recurse, stops at depth and size, refuses duplicate keys and
recursive aliases, reads scalars by YAML 1.2, and makes nodes for half the time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from yaml._yaml import CParser
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from streamsd.core.diagnostics import Source, name_hint
from streamsd.document.findings import Findings, shown
from streamsd.document.nodes import (
    EMPTY,
    MAX_DEPTH,
    MAX_NODES,
    BrokenNode,
    Entry,
    ListNode,
    MapNode,
    Node,
    ScalarNode,
    ScalarValue,
    source_of,
)
from streamsd.document.scalars import NotANumber, resolve

_YAML = "tag:yaml.org,2002:"
_Event: TypeAlias = Any
"""One of yaml.events: the stubs know neither their marks nor their values."""


class Stop(Exception):
    """Reading on is pointless or dangerous; the reason is among the findings."""


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet. `starts`: where in the text each key begins."""

    is_map: bool
    anchor: str | None
    event: _Event
    items: list[Node] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)


class Builder:
    """Builds the tree of one document. `text` may be a part of a file: `line` is where it begins there (from 0) and
    `level` how deep it lies; its entries have their `raw` two levels below the file's top."""

    def __init__(self, text: str, file: str, findings: Findings, *, line: int = 0, level: int = 0) -> None:
        self._text = text
        self._file = file
        self._findings = findings
        self._first = line + 1
        self._raw_level = 2 - level
        self._max_depth = MAX_DEPTH - level
        self._anchors: dict[str, Node] = {}
        self._open: list[_Open] = []
        self._made = 0
        self.simple = True
        """No anchors, directives or document markers: text alone says what a part of it means."""

    def build(self) -> Node | None:
        parser = CParser(self._text.encode())
        root: Node | None = None
        stack = self._open
        documents = 0
        raw_level = self._raw_level
        while True:
            event: _Event = parser.get_event()
            kind = type(event)
            if kind is ScalarEvent:
                node: Node = self._scalar(event)
            elif kind is MappingStartEvent or kind is SequenceStartEvent:
                self._push(event, kind is MappingStartEvent)
                continue
            elif kind is MappingEndEvent:
                node = self._close_map(stack.pop(), event)
            elif kind is SequenceEndEvent:
                node = self._close_list(stack.pop(), event)
            elif kind is AliasEvent:
                node = self._alias(event)
            elif kind is DocumentStartEvent:
                documents += 1
                if documents > 1:
                    self._error(
                        "yaml-documents",
                        "a second document begins here",
                        event,
                        hint="a profile is one document: put the other into a file of its own and include it",
                    )
                    return _without_raw(root) if root is not None else None
                self.simple = not event.explicit
                continue
            elif kind is DocumentEndEvent:
                self.simple = self.simple and not event.explicit
                continue
            elif kind is StreamEndEvent:
                break
            else:
                continue
            if stack:
                top = stack[-1]
                if len(stack) == raw_level and top.is_map and len(top.items) % 2 == 0:
                    top.starts.append(event.start_mark.index)
                top.items.append(node)
            else:
                root = node
        return root if self.simple or root is None else _without_raw(root)

    def _push(self, event: _Event, is_map: bool) -> None:
        stack = self._open
        if len(stack) == self._raw_level and stack[-1].is_map and len(stack[-1].items) % 2 == 0:
            stack[-1].starts.append(event.start_mark.index)
        if len(stack) >= self._max_depth:
            self._error("yaml-depth", f"nested deeper than {MAX_DEPTH} levels", event)
            raise Stop
        if event.anchor:
            self.simple = False
        self._count(event)
        stack.append(_Open(is_map, event.anchor, event))

    def _count(self, event: _Event) -> None:
        self._made += 1
        if self._made > MAX_NODES:
            self._error("yaml-size", f"more than {MAX_NODES} values in one file", event, hint="split the profile")
            raise Stop

    def _scalar(self, event: _Event) -> ScalarNode:
        self._made += 1
        if self._made > MAX_NODES:
            self._count(event)
        text: str = event.value
        plain = event.implicit[0] and event.tag is None
        value: ScalarValue = text
        errors = self._findings.errors
        start, end = event.start_mark, event.end_mark
        if plain:
            try:
                value = resolve(text)
            except NotANumber as error:
                self._error("yaml-number", str(error), event, hint="put it in quotes if it is a text")
        elif event.tag is not None and event.tag != "!":
            value = self._tagged(event)
        if "\0" in text:
            self._error("yaml-encoding", "a text with a NUL character", event, hint="no program can take one")
            text = value = text.replace("\0", "")
        node = ScalarNode(
            value,
            text,
            plain,
            self._file,
            start.line + self._first,
            start.column + 1,
            end.line + self._first,
            end.column + 1,
        )
        if self._findings.errors > errors:
            node = BrokenNode(*node)
        if event.anchor:
            self.simple = False
            self._anchors[event.anchor] = node
        return node

    def _tagged(self, event: _Event) -> ScalarValue:
        text: str = event.value
        name = event.tag.removeprefix(_YAML)
        if name == "str":
            return text
        wanted: dict[str, tuple[type, ...]] = {
            "int": (int,),
            "float": (float, int),
            "bool": (bool,),
            "null": (type(None),),
        }
        if event.tag.startswith(_YAML) and name in wanted:
            try:
                value = resolve(text)
            except NotANumber:
                value = text
            if isinstance(value, wanted[name]) and (name == "bool") == isinstance(value, bool):
                return value
            self._error("yaml-tag", f"{shown(text)} is not of the type !!{name}", event)
            return text
        self._unknown_tag(event)
        return text

    def _unknown_tag(self, event: _Event) -> None:
        tag = event.tag.replace(_YAML, "!!")
        self._error("yaml-tag", f"unknown tag {shown(tag)}", event, hint="a text that begins with '!' goes in quotes")

    def _alias(self, event: _Event) -> Node:
        self.simple = False
        node = self._anchors.get(event.anchor)
        if node is not None:
            self._made += node.size - 1
            self._count(event)
            return node
        if any(opened.anchor == event.anchor for opened in self._open):
            self._error("yaml-alias", f"the alias *{event.anchor} stands inside of what it repeats", event)
        else:
            self._error(
                "yaml-alias",
                f"no anchor &{event.anchor} above",
                event,
                hint=name_hint(event.anchor, self._anchors, "anchors"),
            )
        return self._broken(event)

    def _broken(self, event: _Event) -> BrokenNode:
        start, end = event.start_mark, event.end_mark
        return BrokenNode(
            None,
            "",
            True,
            self._file,
            start.line + self._first,
            start.column + 1,
            end.line + self._first,
            end.column + 1,
        )

    def _close_list(self, opened: _Open, end: _Event) -> Node:
        if opened.event.tag not in (None, "!", _YAML + "seq"):
            return self._unknown_collection(opened)
        size, depth, dynamic = 1, 0, False
        for item in opened.items:
            size += item.size
            if not isinstance(item, ScalarNode) and item.depth > depth:
                depth = item.depth
            dynamic = dynamic or item.dynamic
        start, last = opened.event.start_mark, end.end_mark
        node = ListNode(
            tuple(opened.items),
            size,
            depth + 1,
            dynamic,
            self._file,
            start.line + self._first,
            start.column + 1,
            last.line + self._first,
            last.column + 1,
        )
        if opened.anchor:
            self._anchors[opened.anchor] = node
        return node

    def _unknown_collection(self, opened: _Open) -> BrokenNode:
        self._unknown_tag(opened.event)
        node = self._broken(opened.event)
        if opened.anchor:
            self._anchors[opened.anchor] = node
        return node

    def _close_map(self, opened: _Open, end: _Event) -> Node:
        tag = opened.event.tag
        if tag not in (None, "!", _YAML + "map", "!replace"):
            return self._unknown_collection(opened)
        entries: dict[str, Entry] = {}
        merges: list[tuple[ScalarNode, Node]] = []
        items = opened.items
        bounds = opened.starts
        if bounds:
            bounds.append(end.start_mark.index)
        size, depth, dynamic = 1, 0, False
        for index in range(0, len(items), 2):
            key, value = items[index], items[index + 1]
            if type(key) is not ScalarNode or type(key.value) is not str:
                self._bad_key(key)
                continue
            name = key.value
            if name == "<<" and key.plain:
                merges.append((key, value))
                continue
            if name in entries:
                first = entries[name].key
                self._findings.error(
                    "duplicate-key",
                    f"{shown(name)} stands twice in this mapping",
                    source_of(key),
                    hint=f"it is first written in line {first.line}: remove one of them",
                )
                continue
            raw = _whole_lines(self._text[bounds[index // 2] : bounds[index // 2 + 1]]) if bounds else None
            if type(value) is ScalarNode and not value.text and value.plain:
                # Nothing stands there; libyaml may place it at whatever comes next.
                line, column = key.end_line, key.end_column
                value = value._replace(line=line, column=column, end_line=line, end_column=column)
            entries[name] = Entry(key, value, raw)
            size += 1 + value.size
            if type(value) is ScalarNode:
                dynamic = dynamic or "${" in value.text
            else:
                depth = max(depth, value.depth)
                dynamic = dynamic or value.dynamic
        start, last = opened.event.start_mark, end.end_mark
        node = MapNode(
            entries or EMPTY,
            size,
            depth + 1,
            dynamic,
            tag == "!replace",
            self._file,
            start.line + self._first,
            start.column + 1,
            last.line + self._first,
            last.column + 1,
        )
        for key, base in merges:
            node = self._merge(node, key, base)
        if opened.anchor:
            self._anchors[opened.anchor] = node
        return node

    def _merge(self, node: MapNode, key: ScalarNode, value: Node) -> MapNode:
        """`<<: *base`: what the mapping itself says wins, then the first of a list."""
        bases = value.items if isinstance(value, ListNode) else (value,)
        entries = dict(node.entries)
        size, depth, dynamic = node.size, node.depth - 1, node.dynamic
        for base in bases:
            if isinstance(base, BrokenNode):
                continue
            if not isinstance(base, MapNode):
                self._findings.error("yaml-merge", "'<<' takes a mapping or a list of them", source_of(key))
                continue
            for name, entry in base.entries.items():
                if name not in entries:
                    entries[name] = Entry(entry.key, entry.value)
                    size += 1 + entry.value.size
                    depth = max(depth, entry.value.depth)
                    dynamic = dynamic or entry.value.dynamic
        return node._replace(entries=entries, size=size, depth=depth + 1, dynamic=dynamic)

    def _bad_key(self, key: Node) -> None:
        if isinstance(key, ScalarNode) and key.text:
            self._findings.error(
                "yaml-key",
                f"the key {shown(key.text)} is not a text",
                source_of(key),
                hint=f'put it in quotes: "{key.text}"',
            )
        else:
            self._findings.error("yaml-key", "a key must be a text", source_of(key))

    def _error(self, code: str, message: str, event: _Event, *, hint: str = "") -> None:
        start, end = event.start_mark, event.end_mark
        at = Source(self._file, start.line + self._first, start.column + 1, end.line + self._first, end.column + 1)
        self._findings.error(code, message, at, hint=hint)


def _whole_lines(raw: str) -> str:
    """Without the indentation of the line after it, so that an entry reads the same wherever it stands."""
    body, line, rest = raw.rpartition("\n")
    return body + line if line and not rest.strip(" ") else raw


def _without_raw(root: Node) -> Node:
    """With aliases or directives about, an entry's text does not say by itself what the entry is."""
    if not isinstance(root, MapNode):
        return root
    entries = {}
    for name, entry in root.entries.items():
        value = entry.value
        if isinstance(value, MapNode):
            value = value._replace(entries={n: Entry(e.key, e.value) for n, e in value.entries.items()})
        entries[name] = Entry(entry.key, value)
    return root._replace(entries=entries)
