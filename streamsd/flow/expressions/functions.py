"""The function table: what an expression can call. The reference page and the checks are made from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from streamsd.flow.types import (
    ANY,
    BOOL,
    COMPUTED_TIME,
    FLOAT,
    INT,
    NUMBER,
    STR,
    Base,
    Type,
    accepts,
    list_of,
    parse_type,
)

Result = Type | Callable[[Sequence[Type]], Type]


@dataclass(frozen=True, slots=True)
class Signature:
    """One way to call a function. `code` holds {0}, {1} … for the arguments' code and calls names of the runtime.

    `rest`: further arguments of the last parameter's type may follow; they are joined into {rest}.
    """

    params: tuple[tuple[str, Type], ...]
    result: Result
    code: str
    rest: bool = False
    dynamic: bool = False
    """For a first argument whose type is known only when it runs, where the other signatures differ in it."""

    def fits(self, given: Sequence[Type]) -> bool:
        if self.dynamic and not (given and given[0].base is Base.ANY):
            return False
        if len(given) < len(self.params) or (len(given) > len(self.params) and not self.rest):
            return False
        wanted = [kind for _, kind in self.params]
        wanted += [wanted[-1]] * (len(given) - len(wanted)) if wanted else []
        return all(accepts(w, g) for w, g in zip(wanted, given, strict=True))

    def result_for(self, given: Sequence[Type]) -> Type:
        return self.result if isinstance(self.result, Type) else self.result(given)

    def words(self, name: str) -> str:
        inside = ", ".join(f"{param}: {_shown(kind)}" for param, kind in self.params)
        return f"{name}({inside}{', …' if self.rest else ''})"


@dataclass(frozen=True, slots=True)
class Function:
    """`group`: math, text, time, lists, hashing or values."""

    name: str
    group: str
    about: str
    signatures: tuple[Signature, ...]
    example: str

    def words(self) -> str:
        return " or ".join(dict.fromkeys(s.words(self.name) for s in self.signatures if not s.dynamic))


def _shown(kind: Type) -> str:
    return "any" if kind.base is Base.ANY else str(kind)


_T = COMPUTED_TIME
_WRITTEN = {"number": NUMBER, "list[number]": list_of(NUMBER), "time": COMPUTED_TIME, "any": ANY.or_null()}


def _same(given: Sequence[Type]) -> Type:
    return given[0].required()


def _item(given: Sequence[Type]) -> Type:
    return (given[0].item or ANY).or_null()


def _number_item(given: Sequence[Type]) -> Type:
    return given[0].item if given[0].item is not None and given[0].item.numeric else NUMBER


def _widest(given: Sequence[Type]) -> Type:
    bases = {kind.base for kind in given}
    if bases == {Base.INT}:
        return INT
    return FLOAT if bases == {Base.FLOAT} else NUMBER


def _sig(code: str, result: Result, params: str) -> Signature:
    """`params` as they are shown: `x: number, digits: int`; a last `…` takes more of the last one."""
    parts = [part.partition(": ") for part in params.split(", ") if part and part != "…"]
    named = tuple((name, _WRITTEN.get(text) or parse_type(text)) for name, _, text in parts)
    return Signature(named, result, code, rest=params.endswith("…"))


def _any(code: str, result: Result, params: str = "value: any") -> Signature:
    made = _sig(code, result, params)
    return Signature(made.params, made.result, made.code, dynamic=True)


def _f(name: str, group: str, about: str, example: str, *signatures: Signature) -> Function:
    return Function(name, group, about, signatures, example)


def _math() -> Iterable[Function]:
    yield _f("abs", "math", "The value without its sign.", "abs(-3) == 3", _sig("abs({0})", _same, "x: number"))
    yield _f(
        "ceil", "math", "The smallest whole number not below.", "ceil(1.2) == 2", _sig("ceil({0})", INT, "x: number")
    )
    yield _f(
        "floor",
        "math",
        "The largest whole number not above.",
        "floor(-1.2) == -2",
        _sig("floor({0})", INT, "x: number"),
    )
    yield _f(
        "round",
        "math",
        "The nearest whole number, or that many decimals; halves go to the even neighbour.",
        "round(2.345, 1) == 2.3",
        _sig("round_int({0})", INT, "x: number"),
        _sig("round({0}, {1})", _same, "x: number, digits: int"),
    )
    yield _f("sqrt", "math", "The square root.", "sqrt(9) == 3", _sig("sqrt({0})", FLOAT, "x: number"))
    yield _f("exp", "math", "e to the power of x.", "exp(0) == 1", _sig("exp({0})", FLOAT, "x: number"))
    yield _f(
        "log",
        "math",
        "The natural logarithm, or that of a base.",
        "log(8, 2) == 3",
        _sig("log({0})", FLOAT, "x: number"),
        _sig("log({0}, {1})", FLOAT, "x: number, base: number"),
    )
    yield _f(
        "pow",
        "math",
        "x to the power of y, as a float.",
        "pow(2, 10) == 1024",
        _sig("power({0}, {1})", FLOAT, "x: number, y: number"),
    )
    yield _f("sign", "math", "-1, 0 or 1.", "sign(-7) == -1", _sig("sign({0})", INT, "x: number"))
    yield _f(
        "min",
        "math",
        "The smallest of its arguments, or of a list.",
        "min(3, 1, 2) == 1",
        _sig("min({rest})", _widest, "x: number, y: number, …"),
        _sig("min({0})", _number_item, "values: list[number]"),
    )
    yield _f(
        "max",
        "math",
        "The largest of its arguments, or of a list.",
        "max([3, 1, 2]) == 3",
        _sig("max({rest})", _widest, "x: number, y: number, …"),
        _sig("max({0})", _number_item, "values: list[number]"),
    )
    yield _f(
        "clamp",
        "math",
        "x, but within low and high.",
        "clamp(9, 0, 5) == 5",
        _sig("clamp({0}, {1}, {2})", _widest, "x: number, low: number, high: number"),
    )
    yield _f(
        "is_finite",
        "math",
        "Whether it is neither infinite nor not a number.",
        "is_finite(1.5)",
        _sig("is_finite({0})", BOOL, "x: number"),
    )


def _text() -> Iterable[Function]:
    yield _f("lower", "text", "In small letters.", "lower('Ab') == 'ab'", _sig("({0}).lower()", STR, "s: str"))
    yield _f("upper", "text", "In capitals.", "upper('Ab') == 'AB'", _sig("({0}).upper()", STR, "s: str"))
    yield _f(
        "trim", "text", "Without white space at both ends.", "trim(' a ') == 'a'", _sig("({0}).strip()", STR, "s: str")
    )
    yield _f(
        "len",
        "text",
        "Characters of a text, items of a list or map.",
        "len('abc') == 3",
        _any("length({0})", INT),
        _sig("len({0})", INT, "s: str"),
        _sig("len({0})", INT, "values: list[any]"),
        _sig("len({0})", INT, "values: map[any]"),
    )
    yield _f(
        "contains",
        "text",
        "Whether a text holds another, or a list an item.",
        "contains('abc', 'b')",
        _any("contains({0}, {1})", BOOL, "value: any, part: any"),
        _sig("contains({0}, {1})", BOOL, "s: str, part: str"),
        _sig("contains({0}, {1})", BOOL, "values: list[any], value: any"),
    )
    yield _f(
        "starts_with",
        "text",
        "Whether it begins so.",
        "starts_with('abc', 'a')",
        _sig("({0}).startswith({1})", BOOL, "s: str, part: str"),
    )
    yield _f(
        "ends_with",
        "text",
        "Whether it ends so.",
        "ends_with('abc', 'c')",
        _sig("({0}).endswith({1})", BOOL, "s: str, part: str"),
    )
    yield _f(
        "replace",
        "text",
        "With every `old` made `new`.",
        "replace('a-b', '-', '_') == 'a_b'",
        _sig("replace_text({0}, {1}, {2})", STR, "s: str, old: str, new: str"),
    )
    yield _f(
        "split",
        "text",
        "The pieces between separators.",
        "split('a,b', ',') == ['a', 'b']",
        _sig("split({0}, {1})", list_of(STR), "s: str, separator: str"),
    )
    yield _f(
        "join",
        "text",
        "Items as one text.",
        "join(['a', 'b'], '-') == 'a-b'",
        _sig("join({0}, {1})", STR, "values: list[any], separator: str"),
    )
    yield _f(
        "substr",
        "text",
        "`length` characters from `start` (from 0; negative: from the end).",
        "substr('abcd', 1, 2) == 'bc'",
        _sig("substr({0}, {1}, {2})", STR, "s: str, start: int, length: int"),
    )
    yield _f(
        "pad_left",
        "text",
        "Filled up at the left to a width.",
        "pad_left('7', 3, '0') == '007'",
        _sig("pad_left({0}, {1}, {2})", STR, "s: str, width: int, fill: str"),
    )
    yield _f(
        "format_number",
        "text",
        "With a fixed number of decimals.",
        "format_number(2.5, 2) == '2.50'",
        _sig("format_number({0}, {1})", STR, "x: number, digits: int"),
    )
    yield _f(
        "to_json",
        "text",
        "Any value as JSON text.",
        "to_json([1, 2]) == '[1,2]'",
        _sig("to_json({0})", STR, "value: any"),
    )
    yield _f(
        "parse_json",
        "text",
        "The value of a JSON text.",
        "parse_json('[1]')[0] == 1",
        _sig("parse_json({0})", ANY, "s: str"),
    )


def _time() -> Iterable[Function]:
    yield _f("now", "time", "When this batch was taken from the source.", "now() > time(0)", _sig("now", _T, ""))
    yield _f(
        "time",
        "time",
        "A time from RFC 3339 text or from seconds since 1970.",
        "time('1970-01-01T00:01:00Z') == time(60)",
        _any("as_micros({0})", _T),
        _sig("from_text({0})", _T, "s: str"),
        _sig("seconds_to_micros({0})", _T, "seconds: number"),
    )
    yield _f(
        "time_ms",
        "time",
        "A time from milliseconds since 1970; it stays that number.",
        "time_ms(1000) == time(1)",
        _sig("({0})", parse_type("time_ms"), "ms: int"),
    )
    yield _f(
        "epoch", "time", "Seconds since 1970.", "epoch(time(1.5)) == 1.5", _sig("(({0}) / 1000000)", FLOAT, "t: time")
    )
    yield _f(
        "epoch_ms",
        "time",
        "Whole milliseconds since 1970.",
        "epoch_ms(time(1.5)) == 1500",
        _sig("(({0}) // 1000)", INT, "t: time"),
    )
    yield _f(
        "age",
        "time",
        "Seconds from t until now.",
        "age(time(0)) > 0",
        _sig("((now - ({0})) / 1000000)", FLOAT, "t: time"),
    )
    yield _f(
        "truncate",
        "time",
        "Down to a multiple of that many seconds.",
        "truncate(time(125), 60) == time(120)",
        _sig("truncate({0}, {1})", _T, "t: time, seconds: number"),
    )
    for part in ("year", "month", "day", "hour", "minute", "second"):
        yield _f(
            part,
            "time",
            f"The {part}, in UTC.",
            f"{part}(time(0)) == {1970 if part == 'year' else 1 if part in ('month', 'day') else 0}",
            _sig(part + "({0})", INT, "t: time"),
        )
    yield _f(
        "weekday",
        "time",
        "1 is Monday, 7 is Sunday, in UTC.",
        "weekday(time(0)) == 4",
        _sig("weekday({0})", INT, "t: time"),
    )
    yield _f(
        "format_time",
        "time",
        "By strftime's directives, in UTC.",
        "format_time(time(0), '%Y-%m-%d') == '1970-01-01'",
        _sig("format_time({0}, {1})", STR, "t: time, pattern: str"),
    )


def _lists() -> Iterable[Function]:
    yield _f(
        "sum", "lists", "The sum of a list.", "sum([1, 2]) == 3", _sig("sum({0})", _number_item, "values: list[number]")
    )
    yield _f(
        "mean", "lists", "The mean of a list.", "mean([1, 2]) == 1.5", _sig("mean({0})", FLOAT, "values: list[number]")
    )
    yield _f(
        "first",
        "lists",
        "The first item, or null.",
        "first([7, 8]) == 7",
        _sig("first({0})", _item, "values: list[any]"),
    )
    yield _f(
        "last", "lists", "The last item, or null.", "last([7, 8]) == 8", _sig("last({0})", _item, "values: list[any]")
    )
    yield _f(
        "sort",
        "lists",
        "In ascending order.",
        "sort([2, 1]) == [1, 2]",
        _sig("sorted({0})", _same, "values: list[any]"),
    )
    yield _f(
        "unique",
        "lists",
        "Without repeated items, in order.",
        "unique([1, 1, 2]) == [1, 2]",
        _sig("unique({0})", _same, "values: list[any]"),
    )
    yield _f(
        "index_of",
        "lists",
        "Where an item stands first (from 0), or -1.",
        "index_of(['a'], 'a') == 0",
        _sig("index_of({0}, {1})", INT, "values: list[any], value: any"),
    )


def _hashing() -> Iterable[Function]:
    for name, about, result in (
        ("sha256", "64 hex digits.", STR),
        ("blake2b", "32 hex digits; three times as quick.", STR),
        ("crc32", "A check sum of 32 bits.", INT),
    ):
        example = {"sha256": "len(sha256('a')) == 64", "blake2b": "len(blake2b('a')) == 32"}.get(
            name, "crc32('a') == 3904355907"
        )
        yield _f(
            name,
            "hashing",
            about,
            example,
            _any(name + "({0})", result),
            _sig(name + "({0})", result, "s: str"),
            _sig(name + "({0})", result, "data: bytes"),
        )
    yield _f(
        "bucket",
        "hashing",
        "The same number from 0 to count-1 for the same value, everywhere.",
        "bucket('a', 10) < 10",
        _sig("bucket({0}, {1})", INT, "value: any, count: int"),
    )


def _values() -> Iterable[Function]:
    yield _f(
        "str",
        "values",
        "As text: numbers as JSON writes them.",
        "str(1.5) == '1.5'",
        _sig("to_str({0})", STR, "value: any"),
    )
    yield _f(
        "int",
        "values",
        "As a whole number, from a text or towards zero.",
        "int('42') == 42",
        _any("to_int({0})", INT),
        _sig("to_int({0})", INT, "s: str"),
        _sig("to_int({0})", INT, "x: number"),
        _sig("to_int({0})", INT, "b: bool"),
    )
    yield _f(
        "float",
        "values",
        "As a float, from a text or number.",
        "float('1.5') == 1.5",
        _any("to_float({0})", FLOAT),
        _sig("to_float({0})", FLOAT, "s: str"),
        _sig("to_float({0})", FLOAT, "x: number"),
    )
    yield _f(
        "bool",
        "values",
        "Of true/false, yes/no, on/off, 1/0.",
        "bool('yes')",
        _any("to_bool({0})", BOOL),
        _sig("to_bool({0})", BOOL, "s: str"),
        _sig("to_bool({0})", BOOL, "x: int"),
        _sig("to_bool({0})", BOOL, "b: bool"),
    )
    yield _f(
        "type_of",
        "values",
        "The name of a value's type.",
        "type_of(1) == 'int'",
        _sig("type_of({0})", STR, "value: any"),
    )


FUNCTIONS: Mapping[str, Function] = {
    function.name: function for function in chain(_math(), _text(), _time(), _lists(), _hashing(), _values())
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
