"""The function table: what an expression can call. The reference page and the checks are made from it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

from streamsd.flow.expressions.functions.numbers import numbers
from streamsd.flow.expressions.functions.signature import Function
from streamsd.flow.expressions.functions.texts import texts
from streamsd.flow.expressions.functions.times import times
from streamsd.flow.expressions.functions.values import hashing, lists, values

FUNCTIONS: Mapping[str, Function] = {
    function.name: function for function in chain(numbers(), texts(), times(), lists(), hashing(), values())
}

SPECIAL: Mapping[str, tuple[str, str]] = {
    "coalesce": ("coalesce(x, y, …)", "The first argument that is not null; a missing field counts as null."),
    "has": ("has(field)", "Whether a field is there and not null."),
    "field": ("field('name')", "A field whose name is no identifier, such as field('temp-c')."),
    "meta": (
        "meta('topic')",
        "What the source says of the message: topic, key, partition, peer; null where it does not.",
    ),
    "matches": ("matches(s, 'pattern')", "Whether a regular expression (RE2: linear time) is found in a text."),
    "extract": ("extract(s, 'pattern')", "The first group (or the whole) that a regular expression finds, or null."),
    "sub": ("sub(s, 'pattern', 'new')", "With everything that a regular expression finds replaced."),
}
"""Functions whose arguments the compiler itself looks at."""
