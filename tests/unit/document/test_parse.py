"""Text to nodes: scalars of YAML 1.2, places, and everything that is refused."""

from __future__ import annotations

import pytest

from streamsd.document.nodes import MAX_BYTES, ListNode, MapNode, Node, ScalarNode, source_of
from streamsd.document.parse import Parsed, parse
from streamsd.document.scalars import resolve
from streamsd.document.validate import plain


def read(text: str | bytes) -> Parsed:
    return parse(text if isinstance(text, bytes) else text.encode(), "p.yaml")


def data(text: str) -> object:
    parsed = read(text)
    assert parsed.diagnostics == ()
    assert parsed.root is not None
    return plain(parsed.root)


def codes(text: str | bytes) -> list[str]:
    return [f"{d.at.line}:{d.at.column} {d.code}" for d in read(text).diagnostics if d.at]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NO", "NO"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("tRUE", "tRUE"),
        ("null", None),
        ("~", None),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("+5", 5),
        ("-5", -5),
        ("1_000", "1_000"),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("4500k", "4500k"),
        ("1.2.3", "1.2.3"),
        ("-", "-"),
        (".", "."),
        ("<<", "<<"),
    ],
)
def test_plain_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    found = resolve(text)
    assert found == value
    assert type(found) is type(value)


def test_quotes_and_tags_make_texts() -> None:
    assert data('a: "5"\nb: \'true\'\nc: !!str 5\nd: ! 5\ne: !!int "7"\n') == {
        "a": "5",
        "b": "true",
        "c": "5",
        "d": "5",
        "e": 7,
    }


def test_places_are_kept() -> None:
    root = read('a:\n  - x\n  - {b: ü, c: "d"}\n').root
    assert isinstance(root, MapNode)
    items = root.get("a")
    assert isinstance(items, ListNode)
    inner = items.items[1]
    assert isinstance(inner, MapNode)
    value = inner.entries["c"].value
    assert (source_of(value).line, source_of(value).column, source_of(value).end_column) == (3, 15, 18)
    assert source_of(inner.entries["c"].key).column == 12


def test_merge_keys_give_way_to_what_stands_there() -> None:
    text = "x-a: &a {k: 1, l: 2}\nx-b: &b {l: 3, m: 4}\nc:\n  <<: [*a, *b]\n  k: 9\n"
    assert data(text)["c"] == {"k": 9, "l": 2, "m": 4}  # type: ignore[index]  # a mapping


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", ["3:1 duplicate-key"]),
        ("a: {b: 1, b: 2}\nc: {d: 1, d: 2}\n", ["1:11 duplicate-key", "2:11 duplicate-key"]),
        ("a: &x [*x]\n", ["1:8 yaml-alias"]),
        ("a: *nothing\n", ["1:4 yaml-alias"]),
        ("1: a\ntrue: b\n~: c\n", ["1:1 yaml-key", "2:1 yaml-key", "3:1 yaml-key"]),
        ("? [a]\n: b\n", ["1:3 yaml-key"]),
        ("a: 1\n---\nb: 2\n", ["2:1 yaml-documents"]),
        ("a:\n\tb: 1\n", ["2:1 yaml-tab"]),
        ("a: [1, 2\nb: 3\n", ["1:4 yaml-syntax"]),
        ("a: 'x\n", ["1:4 yaml-syntax"]),
        ("a: b: c\n", ["1:5 yaml-syntax"]),
        ("a: @x\n", ["1:4 yaml-syntax"]),
        ("a: *.log\n", ["1:4 yaml-syntax"]),
        ("a: !!python/object:os.system x\n", ["1:4 yaml-tag"]),
        ("a: !!int x\n", ["1:4 yaml-tag"]),
        ("a: .inf\n", ["1:4 yaml-number"]),
        ("a: 1e999\n", ["1:4 yaml-number"]),
        ("a: " + "9" * 5000 + "\n", ["1:4 yaml-number"]),
        ('a: "\\0"\n', ["1:4 yaml-encoding"]),
        ("a: \x07\n", ["1:4 yaml-encoding"]),
        (b"a: b\nc: \xff\n", ["2:4 yaml-encoding"]),
        ("a: b".encode("utf-16"), ["1:1 yaml-encoding"]),
        ("a: {<<: 5}\n", ["1:5 yaml-merge"]),
    ],
)
def test_refused(text: str | bytes, expected: list[str]) -> None:
    assert codes(text) == expected


def test_a_mark_of_byte_order_is_no_text() -> None:
    assert plain(_root(b"\xef\xbb\xbfversion: 1\n")) == {"version": 1}


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_nesting_without_end_is_refused_before_it_hurts(opening: str) -> None:
    assert [c.split()[1] for c in codes("a:\n  " + opening * 50_000)] == ["yaml-depth"]


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    assert [c.split()[1] for c in codes("\n".join(lines))] == ["yaml-size"]


def test_a_merge_bomb_is_refused() -> None:
    wide = "x: &x {" + ", ".join(f"k{i}: 1" for i in range(1000)) + "}\n"
    assert [c.split()[1] for c in codes(wide + "".join(f"m{i}: {{<<: *x}}\n" for i in range(1000)))] == ["yaml-size"]


def test_a_file_of_many_values_is_refused() -> None:
    assert [c.split()[1] for c in codes("a: [" + "1," * 300_000 + "]")] == ["yaml-size"]


def test_a_large_file_is_refused() -> None:
    assert codes(b"#" * (MAX_BYTES + 1)) == ["1:1 file-too-large"]


def test_an_empty_file_has_no_root() -> None:
    assert read("").root is None
    assert read("# nothing\n").root is None
    assert codes("") == []


def test_equal_bytes_are_read_once() -> None:
    assert read("a: 1\n") is read("a: 1\n")


def _root(text: bytes) -> Node:
    root = read(text).root
    assert root is not None
    return root


def test_text_within_an_anchored_document_is_no_key_for_a_cache() -> None:
    with_anchor, without = _root(b"s:\n  a: &x {b: 1}\n  c: *x\n"), _root(b"s:\n  a: {b: 1}\n")
    assert isinstance(with_anchor, MapNode)
    assert isinstance(without, MapNode)
    anchored, plain_section = with_anchor.get("s"), without.get("s")
    assert isinstance(anchored, MapNode)
    assert isinstance(plain_section, MapNode)
    assert all(entry.raw is None for entry in anchored.entries.values())
    assert plain_section.entries["a"].raw == "a: {b: 1}\n"
    assert isinstance(plain_section.entries["a"].value, MapNode)
    assert isinstance(plain_section.entries["a"].key, ScalarNode)
