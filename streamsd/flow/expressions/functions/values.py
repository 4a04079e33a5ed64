"""Functions of lists, of hashes, and of values of any type."""

from __future__ import annotations

from collections.abc import Iterable

from streamsd.flow.expressions.functions.signature import (
    Function,
    dynamic,
    function,
    item,
    number_item,
    same,
    signature,
)
from streamsd.flow.types import BOOL, FLOAT, INT, STR


def lists() -> Iterable[Function]:
    yield function(
        "sum",
        "lists",
        "The sum of a list.",
        "sum([1, 2]) == 3",
        signature("sum({0})", number_item, "values: list[number]"),
    )
    yield function(
        "mean",
        "lists",
        "The mean of a list.",
        "mean([1, 2]) == 1.5",
        signature("mean({0})", FLOAT, "values: list[number]"),
    )
    yield function(
        "first",
        "lists",
        "The first item, or null.",
        "first([7, 8]) == 7",
        signature("first({0})", item, "values: list[any]"),
    )
    yield function(
        "last",
        "lists",
        "The last item, or null.",
        "last([7, 8]) == 8",
        signature("last({0})", item, "values: list[any]"),
    )
    yield function(
        "sort",
        "lists",
        "In ascending order.",
        "sort([2, 1]) == [1, 2]",
        signature("sorted({0})", same, "values: list[any]"),
    )
    yield function(
        "unique",
        "lists",
        "Without repeated items, in order.",
        "unique([1, 1, 2]) == [1, 2]",
        signature("unique({0})", same, "values: list[any]"),
    )
    yield function(
        "index_of",
        "lists",
        "Where an item stands first (from 0), or -1.",
        "index_of(['a'], 'a') == 0",
        signature("index_of({0}, {1})", INT, "values: list[any], value: any"),
    )


def hashing() -> Iterable[Function]:
    for name, about, result in (
        ("sha256", "64 hex digits.", STR),
        ("blake2b", "32 hex digits; three times as quick.", STR),
        ("crc32", "A check sum of 32 bits.", INT),
    ):
        example = {"sha256": "len(sha256('a')) == 64", "blake2b": "len(blake2b('a')) == 32"}.get(
            name, "crc32('a') == 3904355907"
        )
        yield function(
            name,
            "hashing",
            about,
            example,
            dynamic(name + "({0})", result),
            signature(name + "({0})", result, "s: str"),
            signature(name + "({0})", result, "data: bytes"),
        )
    yield function(
        "bucket",
        "hashing",
        "The same number from 0 to count-1 for the same value, everywhere.",
        "bucket('a', 10) < 10",
        signature("bucket({0}, {1})", INT, "value: any, count: int"),
    )


def values() -> Iterable[Function]:
    yield function(
        "str",
        "values",
        "As text: numbers as JSON writes them.",
        "str(1.5) == '1.5'",
        signature("to_str({0})", STR, "value: any"),
    )
    yield function(
        "int",
        "values",
        "As a whole number, from a text or towards zero.",
        "int('42') == 42",
        dynamic("to_int({0})", INT),
        signature("to_int({0})", INT, "s: str"),
        signature("to_int({0})", INT, "x: number"),
        signature("to_int({0})", INT, "b: bool"),
    )
    yield function(
        "float",
        "values",
        "As a float, from a text or number.",
        "float('1.5') == 1.5",
        dynamic("to_float({0})", FLOAT),
        signature("to_float({0})", FLOAT, "s: str"),
        signature("to_float({0})", FLOAT, "x: number"),
    )
    yield function(
        "bool",
        "values",
        "Of true/false, yes/no, on/off, 1/0.",
        "bool('yes')",
        dynamic("to_bool({0})", BOOL),
        signature("to_bool({0})", BOOL, "s: str"),
        signature("to_bool({0})", BOOL, "x: int"),
        signature("to_bool({0})", BOOL, "b: bool"),
    )
    yield function(
        "type_of",
        "values",
        "The name of a value's type.",
        "type_of(1) == 'int'",
        signature("type_of({0})", STR, "value: any"),
    )
