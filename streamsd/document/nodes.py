"""The document tree: what YAML says, with the place of every part of it.

Nodes are never changed once made. They are named tuples because a profile of a thousand resources has thirty thousand
of them, and a frozen dataclass costs four times as much to make.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from streamsd.core.diagnostics import FieldPath, Source, Span
from streamsd.core.secret import Secret

MAX_BYTES = 4 * 1024 * 1024
"""The largest file that is read."""
MAX_NODES = 120_000
"""The most nodes a file may hold, and a profile may come to with aliases, variables and `extends` counted out: four
times what a thousand resources need, and still refused within a second and 200 MB."""
MAX_DEPTH = 64
"""The deepest nesting. libyaml's own composer, which is not used here, crashes the interpreter at 50,000."""

ScalarValue: TypeAlias = "bool | int | float | str | Secret | None"


class ScalarNode(NamedTuple):
    """A single value. `text` is what was written (quotes resolved); `plain` is false when it was quoted."""

    value: ScalarValue
    text: str
    plain: bool
    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    @property
    def size(self) -> int:
        return 1

    @property
    def depth(self) -> int:
        return 0

    @property
    def dynamic(self) -> bool:
        return "${" in self.text


class BrokenNode(ScalarNode):
    """A value that is at fault in itself: told once, so that nothing else is said about it."""

    __slots__ = ()


class ListNode(NamedTuple):
    """`size`: nodes in it, aliases counted out. `dynamic`: something in it wants interpolation."""

    items: tuple[Node, ...]
    size: int
    depth: int
    dynamic: bool
    file: str
    line: int
    column: int
    end_line: int
    end_column: int


class MapNode(NamedTuple):
    """`replace`: tagged `!replace`, so that merging takes it whole."""

    entries: Mapping[str, Entry]
    size: int
    depth: int
    dynamic: bool
    replace: bool
    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    def get(self, key: str) -> Node | None:
        entry = self.entries.get(key)
        return entry.value if entry else None


class Entry(NamedTuple):
    """A key with its value. `raw`: the text from the key to the next one, for entries of a section in a document
    without anchors: equal texts are equal trees, which spares validating what did not change."""

    key: ScalarNode
    value: Node
    raw: str | None = None
    shift: int = 0
    """How many lines further down `value` stands now than its nodes say: what was read before an edit above it."""

    @property
    def placed(self) -> Entry:
        """The entry with every node at its own line."""
        return Entry(self.key, moved(self.value, self.shift), self.raw) if self.shift else self


Node: TypeAlias = ScalarNode | ListNode | MapNode
EMPTY: Mapping[str, Entry] = MappingProxyType({})


def source_of(node: Node) -> Source:
    """The node's place. A block's end is where the next thing begins, so only its start is told."""
    if isinstance(node, ScalarNode):
        return Source(node.file, node.line, node.column, node.end_line, node.end_column)
    return Source(node.file, node.line, node.column)


def map_of(entries: Mapping[str, Entry], like: MapNode | ScalarNode) -> MapNode:
    """A mapping made of parts, at the place of another node."""
    size, depth, dynamic = 1, 0, False
    for entry in entries.values():
        size += 1 + entry.value.size
        depth = max(depth, entry.value.depth)
        dynamic = dynamic or entry.value.dynamic
    return MapNode(
        entries, size, depth + 1, dynamic, False, like.file, like.line, like.column, like.end_line, like.end_column
    )


def list_of(items: tuple[Node, ...], like: ListNode) -> ListNode:
    """A list made of parts, at the place of another."""
    return ListNode(
        items,
        1 + sum(item.size for item in items),
        1 + max((item.depth for item in items), default=0),
        any(item.dynamic for item in items),
        like.file,
        like.line,
        like.column,
        like.end_line,
        like.end_column,
    )


def moved(node: Node, lines: int) -> Node:
    """The same tree, further down."""
    if isinstance(node, ListNode):
        node = node._replace(items=tuple(moved(item, lines) for item in node.items))
    elif isinstance(node, MapNode):
        node = node._replace(
            entries={
                name: Entry(moved_key(e.key, lines), moved(e.value, lines + e.shift), e.raw)
                for name, e in node.entries.items()
            }
        )
    return node._replace(line=node.line + lines, end_line=node.end_line + lines)


def moved_key(key: ScalarNode, lines: int) -> ScalarNode:
    return key._replace(line=key.line + lines, end_line=key.end_line + lines)


def kind_of(node: Node) -> str:
    """What a node is, in words for people, without its value."""
    match node:
        case MapNode():
            return "a mapping"
        case ListNode():
            return "a list"
        case ScalarNode(value=None):
            return "nothing"
        case ScalarNode(value=bool()):
            return "true or false"
        case ScalarNode(value=int() | float()):
            return "a number"
        case ScalarNode(value=Secret()):
            return "a secret"
        case _:
            return "a text"


def locate(key: ScalarNode, node: Node, path: FieldPath, within: Span | None = None) -> Source:
    """The place of a path inside a named node: of the value when it is there, else of the key it is missing under.
    `within`: of these characters of the value, where the file has them as they are."""
    for part in path:
        if isinstance(node, MapNode) and isinstance(part, str) and part in node.entries:
            entry = node.entries[part].placed
            key, node = entry.key, entry.value
        elif isinstance(node, ListNode) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
            if isinstance(node, ScalarNode | MapNode):
                key = node if isinstance(node, ScalarNode) else _start_of(node)
        else:
            return source_of(key)
    if not (path and isinstance(node, ScalarNode) and node.text):
        return source_of(key)
    return _part_of(node, within) if within else source_of(node)


def _part_of(node: ScalarNode, within: Span) -> Source:
    """The place of some characters of a text that stands on one line and was written without escapes."""
    start = node.column + (not node.plain)
    if node.line != node.end_line or node.end_column - node.column != len(node.text) + 2 * (not node.plain):
        return source_of(node)
    return Source(node.file, node.line, start + within[0], node.line, start + max(within[1], within[0] + 1))


def _start_of(node: MapNode) -> ScalarNode:
    first = next(iter(node.entries.values()), None)
    if first is not None:
        return first.key
    return ScalarNode(None, "", True, node.file, node.line, node.column, node.end_line, node.end_column)
