"""Specs made from a kind's JSON Schema, and spoilt: what the parity and the fuzz tests feed on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")
TEXTS = (
    "",
    "a",
    "x y",
    "desk",
    "h264",
    "5",
    "-1",
    "true",
    "no",
    "1920x1080",
    "0x0",
    "4500k",
    "10s",
    "1h30m",
    "512M",
    "/dev/x",
)
TEXTS += (
    "rtmp://h/a",
    "http://h/",
    "127.0.0.1:80",
    "A_B",
    "ü",
    "日本",
    "a" * 70,
    ".",
    "..",
    "%Y",
    "#ffffff",
    "a: b",
    "- a",
)
SCALARS: tuple[Any, ...] = (None, True, False, 0, 1, -1, 2, 30, 70000, 10**12, 0.5, 30.0, -0.0, 1e300, *TEXTS)
KEYS = ("", "a", "type", "fps", "display", "A", "a-b", "1", "x.y", "ü", "path", "url")
_MAX_DEPTH = 8


class Draw:
    """Hypothesis's choices, with the handful of forms that making a spec needs."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self._draw = draw

    def of(self, choices: Sequence[T]) -> T:
        chosen: T = self._draw(st.sampled_from(choices))
        return chosen

    def number(self, low: int, high: int) -> int:
        found: int = self._draw(st.integers(low, high))
        return found

    def chance(self, percent: int) -> bool:
        return self.number(1, 100) <= percent


def make(draw: Draw, schema: dict[str, Any], root: dict[str, Any], depth: int = 0) -> Any:
    """A value that a schema most likely accepts."""
    if "$ref" in schema:
        return make(draw, root["$defs"][schema["$ref"].rpartition("/")[2]], root, depth)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return draw.of(schema["enum"])
    if "properties" in schema or schema.get("type") == "object":
        return _object(draw, schema, root, depth)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            simple = [s for s in schema[key] if depth < _MAX_DEPTH or "type" in s]
            return make(draw, draw.of(simple or schema[key]), root, depth)
    match schema.get("type"):
        case "string":
            return draw.of(schema["examples"]) if "examples" in schema and draw.chance(90) else draw.of(TEXTS)
        case "integer":
            low = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
            high = schema.get("maximum", schema.get("exclusiveMaximum", 1001) - 1)
            return draw.number(int(low), max(int(low), int(high)))
        case "number":
            low, high = schema.get("minimum", 0), schema.get("maximum", schema.get("exclusiveMaximum", 100))
            return draw.of([low, high, (low + high) / 2, 1, 29.97])
        case "boolean":
            return draw.chance(50)
        case "null":
            return None
        case "array":
            if "prefixItems" in schema:
                return [make(draw, item, root, depth + 1) for item in schema["prefixItems"]]
            least = schema.get("minItems", 0)
            count = least if depth >= _MAX_DEPTH else draw.number(least, min(least + 2, schema.get("maxItems", 99)))
            return [make(draw, schema.get("items", {}), root, depth + 1) for _ in range(count)]
        case _:
            return draw.of(SCALARS)


def _object(draw: Draw, schema: dict[str, Any], root: dict[str, Any], depth: int) -> dict[str, Any]:
    properties: dict[str, Any] = schema.get("properties", {})
    wanted = set(schema.get("required", ()))
    choices = [set(c["required"]) for key in ("oneOf", "anyOf") for c in schema.get(key, ()) if "required" in c]
    chosen = draw.of(choices) if choices else set()
    kept_out = set().union(*choices) - chosen if choices else set()
    optional = 0 if depth >= _MAX_DEPTH else 35
    made = {}
    for name, inner in properties.items():
        if name in wanted or name in chosen or (name not in kept_out and draw.chance(optional)):
            made[name] = make(draw, inner, root, depth + 1)
    more = schema.get("additionalProperties")
    for pattern_schema in [*schema.get("patternProperties", {}).values(), *([more] if isinstance(more, dict) else [])]:
        if draw.chance(60):
            made[draw.of(("a", "A_1", "main"))] = make(draw, pattern_schema, root, depth + 1)
    if more is True and not properties and draw.chance(30):
        made[draw.of(KEYS)] = draw.of(SCALARS)
    return made


def spoil(draw: Draw, value: Any) -> Any:
    """The value with one or two things about it changed."""
    value = copy.deepcopy(value)
    for _ in range(draw.number(1, 2)):
        places = list(_places(value))
        if not places:
            return draw.of(SCALARS)
        holder, key = draw.of(places)
        match draw.number(0, 7):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[f"{key}x"] = holder.pop(key)
            case 2 if isinstance(holder, dict):
                holder[draw.of(KEYS)] = draw.of(SCALARS)
            case 3:
                holder[key] = [holder[key]]
            case 4:
                holder[key] = {draw.of(KEYS): holder[key]}
            case 5:
                other, name = draw.of(places)
                holder[key] = copy.deepcopy(other[name])
            case _:
                holder[key] = draw.of(SCALARS)
    return value


def _places(value: Any) -> Any:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield value, key
            yield from _places(inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield value, index
            yield from _places(inner)
