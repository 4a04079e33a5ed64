"""Text to nodes, in one pass over libyaml's events.

An own builder rather than yaml.compose: it does not recurse, stops at depth and size, refuses duplicate keys and
recursive aliases, reads scalars by YAML 1.2, and makes nodes for half the time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from yaml._yaml import CParser
from yaml.error import MarkedYAMLError, YAMLError
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from streamsd.core.diagnostics import Diagnostic, Source, name_hint
from streamsd.document.cache import CostCache
from streamsd.document.findings import Findings, shown
from streamsd.document.nodes import (
    EMPTY,
    MAX_BYTES,
    MAX_DEPTH,
    MAX_NODES,
    Entry,
    ListNode,
    MapNode,
    Node,
    ScalarNode,
    ScalarValue,
    source_of,
)
from streamsd.document.scalars import NotANumber, resolve
from streamsd.document.syntax import BREAK, fault


@dataclass(frozen=True, slots=True)
class Parsed:
    """`root` is None when the text cannot be used at all; other errors leave a tree with the faulty part left out."""

    root: Node | None
    diagnostics: tuple[Diagnostic, ...]


_PARSED: CostCache[Parsed] = CostCache(4 * MAX_BYTES)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_YAML = "tag:yaml.org,2002:"
_Event: TypeAlias = Any
"""One of yaml.events: the stubs know neither their marks nor their values."""


def parse(data: bytes, file: str) -> Parsed:
    """Read one YAML document. `file` is what diagnostics call it. Equal bytes are read once."""
    found = _PARSED.get((file, data))
    if found is None:
        found = _parse(data, file)
        _PARSED.put((file, data), found, len(data))
    return found


def _parse(data: bytes, file: str) -> Parsed:
    findings = Findings()
    text = _decode(data, file, findings)
    root = None
    if text is not None:
        builder = _Builder(text, file, findings)
        try:
            root = builder.build()
        except MarkedYAMLError as error:
            findings.add(fault(error, text, file))
        except YAMLError as error:  # the reader's own, without a mark: what _decode lets pass
            findings.error("yaml-syntax", str(error).splitlines()[0], Source(file, 1, 1))
        except _Stop:
            root = None
    return Parsed(root, findings.ordered())


def _decode(data: bytes, file: str, findings: Findings) -> str | None:
    if len(data) > MAX_BYTES:
        findings.error(
            "file-too-large",
            f"the file is larger than {MAX_BYTES // 1024**2} MiB",
            Source(file, 1, 1),
            hint="split it and list the parts under include",
        )
        return None
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        good = data[: error.start].decode()
        findings.error(
            "yaml-encoding", "this is not UTF-8", _place(good, len(good), file), hint="save the file as UTF-8"
        )
        return None
    bad = _UNPRINTABLE.search(text)
    if bad:
        findings.error(
            "yaml-encoding",
            f"a control character (U+{ord(bad[0]):04X})",
            _place(text, bad.start(), file),
            hint="remove it; in a text in double quotes it can be written as an escape",
        )
        return None
    return text


def _place(text: str, index: int, file: str) -> Source:
    before = BREAK.split(text[:index])
    return Source(file, len(before), len(before[-1]) + 1)


class _Stop(Exception):
    """Reading on is pointless or dangerous; the reason is among the findings."""


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet. `starts`: where in the text each key begins."""

    is_map: bool
    anchor: str | None
    event: _Event
    items: list[Node] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)


class _Builder:
    def __init__(self, text: str, file: str, findings: Findings) -> None:
        self._text = text
        self._file = file
        self._findings = findings
        self._anchors: dict[str, Node] = {}
        self._open: list[_Open] = []
        self._made = 0
        self._simple = True
        """No anchors or directives: text alone says what a part of it means."""

    def build(self) -> Node | None:
        parser = CParser(self._text.encode())
        root: Node | None = None
        stack = self._open
        documents = 0
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
                    return root
                self._simple = not (event.tags or event.version)
                continue
            elif kind is StreamEndEvent:
                break
            else:
                continue
            if stack:
                top = stack[-1]
                if len(stack) == 2 and top.is_map and len(top.items) % 2 == 0:
                    top.starts.append(event.start_mark.index)
                top.items.append(node)
            else:
                root = node
        return root

    def _push(self, event: _Event, is_map: bool) -> None:
        stack = self._open
        if len(stack) == 2 and stack[-1].is_map and len(stack[-1].items) % 2 == 0:
            stack[-1].starts.append(event.start_mark.index)
        if len(stack) >= MAX_DEPTH:
            self._error("yaml-depth", f"nested deeper than {MAX_DEPTH} levels", event)
            raise _Stop
        if event.anchor:
            self._simple = False
        self._count(event)
        stack.append(_Open(is_map, event.anchor, event))

    def _count(self, event: _Event) -> None:
        self._made += 1
        if self._made > MAX_NODES:
            self._error("yaml-size", f"more than {MAX_NODES} values in one file", event, hint="split the profile")
            raise _Stop

    def _scalar(self, event: _Event) -> ScalarNode:
        self._made += 1
        if self._made > MAX_NODES:
            self._count(event)
        text: str = event.value
        plain = event.implicit[0] and event.tag is None
        value: ScalarValue = text
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
            value, text, plain, self._file, start.line + 1, start.column + 1, end.line + 1, end.column + 1
        )
        if event.anchor:
            self._simple = False
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
        self._simple = False
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
        return self._nothing(event)

    def _nothing(self, event: _Event) -> ScalarNode:
        start, end = event.start_mark, event.end_mark
        return ScalarNode(None, "", True, self._file, start.line + 1, start.column + 1, end.line + 1, end.column + 1)

    def _close_list(self, opened: _Open, end: _Event) -> ListNode:
        if opened.event.tag not in (None, "!", _YAML + "seq"):
            self._unknown_tag(opened.event)
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
            start.line + 1,
            start.column + 1,
            last.line + 1,
            last.column + 1,
        )
        if opened.anchor:
            self._anchors[opened.anchor] = node
        return node

    def _close_map(self, opened: _Open, end: _Event) -> MapNode:
        tag = opened.event.tag
        if tag not in (None, "!", _YAML + "map", "!replace"):
            self._unknown_tag(opened.event)
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
            raw = self._text[bounds[index // 2] : bounds[index // 2 + 1]] if bounds else None
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
            start.line + 1,
            start.column + 1,
            last.line + 1,
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
        at = Source(self._file, start.line + 1, start.column + 1, end.line + 1, end.column + 1)
        self._findings.error(code, message, at, hint=hint)
