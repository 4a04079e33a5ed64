"""Functions of texts."""

from __future__ import annotations

from collections.abc import Iterable

from streamsd.flow.expressions.functions.signature import Function, dynamic, function, signature
from streamsd.flow.types import ANY, BOOL, INT, STR, list_of


def texts() -> Iterable[Function]:
    yield function(
        "lower", "text", "In small letters.", "lower('Ab') == 'ab'", signature("({0}).lower()", STR, "s: str")
    )
    yield function("upper", "text", "In capitals.", "upper('Ab') == 'AB'", signature("({0}).upper()", STR, "s: str"))
    yield function(
        "trim",
        "text",
        "Without white space at both ends.",
        "trim(' a ') == 'a'",
        signature("({0}).strip()", STR, "s: str"),
    )
    yield function(
        "len",
        "text",
        "Characters of a text, items of a list or map.",
        "len('abc') == 3",
        dynamic("length({0})", INT),
        signature("len({0})", INT, "s: str"),
        signature("len({0})", INT, "values: list[any]"),
        signature("len({0})", INT, "values: map[any]"),
    )
    yield function(
        "contains",
        "text",
        "Whether a text holds another, or a list an item.",
        "contains('abc', 'b')",
        dynamic("contains({0}, {1})", BOOL, "value: any, part: any"),
        signature("contains({0}, {1})", BOOL, "s: str, part: str"),
        signature("contains({0}, {1})", BOOL, "values: list[any], value: any"),
    )
    yield function(
        "starts_with",
        "text",
        "Whether it begins so.",
        "starts_with('abc', 'a')",
        signature("({0}).startswith({1})", BOOL, "s: str, part: str"),
    )
    yield function(
        "ends_with",
        "text",
        "Whether it ends so.",
        "ends_with('abc', 'c')",
        signature("({0}).endswith({1})", BOOL, "s: str, part: str"),
    )
    yield function(
        "replace",
        "text",
        "With every `old` made `new`.",
        "replace('a-b', '-', '_') == 'a_b'",
        signature("replace_text({0}, {1}, {2})", STR, "s: str, old: str, new: str"),
    )
    yield function(
        "split",
        "text",
        "The pieces between separators.",
        "split('a,b', ',') == ['a', 'b']",
        signature("split({0}, {1})", list_of(STR), "s: str, separator: str"),
    )
    yield function(
        "join",
        "text",
        "Items as one text.",
        "join(['a', 'b'], '-') == 'a-b'",
        signature("join({0}, {1})", STR, "values: list[any], separator: str"),
    )
    yield function(
        "substr",
        "text",
        "`length` characters from `start` (from 0; negative: from the end).",
        "substr('abcd', 1, 2) == 'bc'",
        signature("substr({0}, {1}, {2})", STR, "s: str, start: int, length: int"),
    )
    yield function(
        "pad_left",
        "text",
        "Filled up at the left to a width.",
        "pad_left('7', 3, '0') == '007'",
        signature("pad_left({0}, {1}, {2})", STR, "s: str, width: int, fill: str"),
    )
    yield function(
        "format_number",
        "text",
        "With a fixed number of decimals.",
        "format_number(2.5, 2) == '2.50'",
        signature("format_number({0}, {1})", STR, "x: number, digits: int"),
    )
    yield function(
        "to_json",
        "text",
        "Any value as JSON text.",
        "to_json([1, 2]) == '[1,2]'",
        signature("to_json({0})", STR, "value: any"),
    )
    yield function(
        "parse_json",
        "text",
        "The value of a JSON text.",
        "parse_json('[1]')[0] == 1",
        signature("parse_json({0})", ANY, "s: str"),
    )
