"""Reading only the edited entry gives what reading the whole file gives: the same tree at the same places."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st
from yaml.error import YAMLError

from streamsd.document.build import Builder, Stop
from streamsd.document.findings import Findings
from streamsd.document.nodes import Entry, ListNode, MapNode, Node
from streamsd.document.reparse import Snapshot, reparse

TEXT = """\
version: 1
vars: {a: 1}
screens:
  one: {fps: 10, gamma: 2.0}
  # a comment
  two:
    fps: 20
    text: |
      several
      lines

    list:
    - a
    - b: "quoted
        over lines"

  three: {}
casts:
    c:
        screen: one
        plain: words
          that go on
    d: {screen: two}
hosts:
  studio: {screens: {one: {fps: 5}}}
"""
LINES = TEXT.split("\n")
FRAGMENTS = [
    "",
    "  four: {}",
    "  one: {}",
    "    fps: 30",
    "fps: 30",
    "  - a",
    "# c",
    "---",
    "...",
    "%YAML 1.2",
    "      more words",
    "   odd: 1",
    '    q: "open',
    "    f: [1,",
    "    l: |+",
    "    a: &x 1",
    "    a: *x",
    "    ${var:a}: '${var:a}'",
    "x-new:",
    "\ttab: 1",
    "  ? k",
    "  \ufeffk: 1",
    "    ]",
    "    'end\"",
]


def flat(node: Node) -> object:
    """Everything a node says, its places too; but not where a block ends, which nobody is told."""
    if isinstance(node, MapNode):
        entries = [(name, flat(e.placed.key), flat(e.placed.value)) for name, e in node.entries.items()]
        return ("map", entries, node.size, node.depth, node.dynamic, node.replace, node.line, node.column)
    if isinstance(node, ListNode):
        return ("list", [flat(item) for item in node.items], *node[1:7])
    return tuple(node) if node.end_line == node.line else tuple(node)[:7]


def whole(text: str) -> MapNode | None:
    findings = Findings()
    builder = Builder(text, "p", findings)
    try:
        root = builder.build()
    except (YAMLError, Stop):
        return None
    return root if isinstance(root, MapNode) and not findings.errors and builder.simple else None


def edit(lines: list[str], first: int, drop: int, put: list[str]) -> list[str]:
    return [*lines[:first], *put, *lines[first + drop :]]


edits = st.tuples(
    st.integers(0, len(LINES)),
    st.integers(0, 3),
    st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.sampled_from(LINES)), max_size=3),
)


@settings(
    max_examples=int(os.environ.get("STREAMSD_EXAMPLES", "300")),
    deadline=None,
    derandomize="STREAMSD_EXAMPLES" not in os.environ,
)
@given(st.lists(edits, min_size=1, max_size=3))
def test_an_edit_read_alone_is_the_whole_read_anew(steps: list[tuple[int, int, list[str]]]) -> None:
    lines = LINES
    root = whole(TEXT)
    for first, drop, put in steps:
        if root is None:
            return
        text = "\n".join(lines)
        lines = edit(lines, first, drop, put)
        quick = reparse(Snapshot(text, root, "p"), "\n".join(lines))
        slow = whole("\n".join(lines))
        if quick is not None:
            assert slow is not None, "what is at fault must be read whole"
            assert flat(quick) == flat(slow)
        root = quick or slow


def test_most_edits_are_read_alone() -> None:
    root = whole(TEXT)
    assert root is not None
    for old, new in (("fps: 20", "fps: 25"), ("{fps: 10", "{fps: 11"), ("  three: {}", "  three: {}\n  four: {}")):
        changed = reparse(Snapshot(TEXT, root, "p"), TEXT.replace(old, new, 1))
        assert changed is not None, old
        assert isinstance(changed.entries["screens"], Entry)
