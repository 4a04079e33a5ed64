"""pydantic's errors as diagnostics: plain words, the place in the text, and what to write instead."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from streamsd.core.diagnostics import Diagnostic, FieldPath, Source, name_hint, nearest
from streamsd.core.secret import Secret
from streamsd.document.findings import bare, shown
from streamsd.document.nodes import BrokenNode, Entry, ListNode, MapNode, Node, ScalarNode, locate, source_of
from streamsd.document.shape import expected_at, fields_of, models_at

_TYPES = {
    "string_type": "a text",
    "string_sub_type": "a text",
    "string_unicode": "a text",
    "path_type": "a path",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "iterable_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dataclass_type": "a mapping",
    "none_required": "nothing",
}
_CHOICES = ("measure", "literal_error", "enum")
_RANGES = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
    "multiple_of": ("multiple_of", "a multiple of"),
}
_QUOTED = re.compile(r"'([^']*)'")
_YES_NO = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


@dataclass(frozen=True, slots=True)
class _Error:
    """`path`: where, without union tags. `tags`: each union member's name with the path it stands at. `tagged`: the
    indexes of those names in `loc`. `node`: what stands there, None for what is missing."""

    type: str
    loc: FieldPath
    tagged: tuple[int, ...]
    path: FieldPath
    tags: tuple[tuple[FieldPath, str], ...]
    node: Node | None
    context: dict[str, Any]
    message: str


def explain(
    errors: Iterable[ErrorDetails], model: type[BaseModel], entry: Entry, prefix: FieldPath, most: int
) -> tuple[list[Diagnostic], int]:
    """Diagnostics for one resource's validation errors, `most` of them, and how many more there are; of a union's
    members, the one that was meant speaks."""
    meant = _reduce([_error(e, entry.value) for e in errors], 0)
    told = [e for e in meant if not isinstance(e.node, BrokenNode) and not _is_misspelt(e, meant)]
    return [_diagnostic(error, model, entry, prefix) for error in told[:most]], len(told[most:])


def misplaced_secret(path: FieldPath, entry: Entry, prefix: FieldPath) -> Diagnostic:
    """A secret in a field that is not made for one."""
    return Diagnostic(
        "secret-misplaced",
        f"{_name((*prefix, *path))} takes no secret: its value would be seen",
        "secrets go into fields made for them; the reference marks those",
        locate(entry.key, entry.value, path),
        (*prefix, *path),
    )


def mistaken_boolean(path: FieldPath, entry: Entry, prefix: FieldPath) -> Diagnostic:
    """True or false where only certain numbers or texts may stand."""
    message = f"{_name((*prefix, *path))} cannot be true or false"
    return Diagnostic("value-choice", message, "", locate(entry.key, entry.value, path), (*prefix, *path))


def _error(error: ErrorDetails, root: Node) -> _Error:
    loc, kind = error["loc"], error["type"]
    tagged = _tags_of(loc, 0, root, kind)
    if tagged is None:  # pydantic names something that the text does not have: its own word stands for the place
        tagged = tuple(range(len(loc)))
    node: Node | None = root
    path: FieldPath = ()
    tags: list[tuple[FieldPath, str]] = []
    for index, part in enumerate(loc):
        if index in tagged:
            if part != "[key]":
                tags.append((path, str(part)))
            continue
        node, path = _below(node, part), (*path, part)
    return _Error(kind, loc, tagged, path, tuple(tags), node, error.get("ctx", {}), error["msg"])


def _tags_of(loc: FieldPath, index: int, node: Node, kind: str) -> tuple[int, ...] | None:
    """The indexes of the parts of a location that name members of unions, not places in the text. A part that could
    be either is a place, unless what follows says otherwise."""
    if index == len(loc):
        return None if kind in ("missing", "extra_forbidden") else ()
    part, last = loc[index], index == len(loc) - 1
    below = _below(node, part)
    if last and kind == "missing":
        return () if isinstance(node, MapNode) and below is None else None
    if last and kind == "extra_forbidden":
        return () if below is not None else None
    found = _tags_of(loc, index + 1, below, kind) if below is not None else None
    if found is not None:
        return found
    rest = _tags_of(loc, index + 1, node, kind)
    return None if rest is None else (index, *rest)


def _below(node: Node | None, part: str | int) -> Node | None:
    if isinstance(node, MapNode) and isinstance(part, str):
        return node.get(part)
    if isinstance(node, ListNode) and isinstance(part, int) and part < len(node.items):
        return node.items[part]
    return None


def _is_misspelt(error: _Error, errors: Sequence[_Error]) -> bool:
    """Whether a missing field stands there under a name much like its own: that one error says it."""
    if error.type != "missing":
        return False
    beside = (e for e in errors if e.type == "extra_forbidden" and e.path[:-1] == error.path[:-1])
    return any(nearest(str(e.path[-1]), [str(error.path[-1])]) for e in beside)


def _reduce(errors: Sequence[_Error], level: int) -> list[_Error]:
    """Where several members of a union complain, keep the complaints of the one that was meant."""
    kept: list[_Error] = [e for e in errors if len(e.tags) <= level]
    by_place: dict[FieldPath, dict[str, list[_Error]]] = {}
    for error in errors:
        if len(error.tags) > level:
            place, tag = error.tags[level]
            by_place.setdefault(place, {}).setdefault(tag, []).append(error)
    for place, members in by_place.items():
        kept.extend(_reduce(_meant(place, list(members.values())), level + 1))
    return kept


def _meant(place: FieldPath, members: list[list[_Error]]) -> list[_Error]:
    if len(members) == 1:
        return members[0]
    fitting = [m for m in members if not all(e.path == place for e in m)]
    if not fitting:
        # One that takes values of this type, and says more than that, was meant.
        said = [m for m in members if not all(e.type in _TYPES or e.type in _CHOICES for e in m)]
        return said[0] if said else [_either([e for m in members for e in m])]

    def strangeness(member: list[_Error]) -> tuple[int, int]:
        here = [e for e in member if len(e.path) <= len(place) + 1 and e.type in ("missing", "extra_forbidden")]
        return len(here), len(member)

    best = min(strangeness(m) for m in fitting)
    closest = [m for m in fitting if strangeness(m) == best]
    if len(closest) > 1:
        unknown = [e for e in closest[0] if e.type == "extra_forbidden"]
        if unknown:
            # No member knows the key: say so once, with the keys that any of them knows.
            shared = unknown[0]
            above = shared.tagged[-1]
            loc = (*shared.loc[:above], shared.path[-1])
            return [_Error(shared.type, loc, shared.tagged[:-1], shared.path, (), shared.node, {}, "")]
    return closest[0]


def _either(errors: list[_Error]) -> _Error:
    first = next((e for e in errors if e.type == "measure"), errors[0])
    wanted = dict.fromkeys(w for w in (_expected(e) for e in errors) if w and w != "nothing")
    if len(wanted) < 2:
        return first
    hint = _after_colon(first) if first.type == "measure" else ""
    context = {"wanted": " or ".join(wanted), "hint": hint}
    return _Error("either", first.loc, first.tagged, first.path, first.tags, first.node, context, "")


def _expected(error: _Error) -> str:
    if error.type == "measure":
        return str(error.context["says"]).partition(":")[0]
    if error.type in ("literal_error", "enum"):
        return str(error.context["expected"])
    return _TYPES.get(error.type, "")


def _after_colon(error: _Error) -> str:
    return str(error.context.get("says", "")).partition(": ")[2]


def _diagnostic(error: _Error, model: type[BaseModel], entry: Entry, prefix: FieldPath) -> Diagnostic:
    path = (*prefix, *error.path)
    name = _name(path)
    node = error.node

    def say(code: str, message: str, hint: str = "", at: Source | None = None) -> Diagnostic:
        return Diagnostic(code, message, hint, at or locate(entry.key, entry.value, error.path), path)

    if isinstance(node, ScalarNode) and isinstance(node.value, Secret) and error.type != "extra_forbidden":
        return misplaced_secret(error.path, entry, prefix)
    # A secret that the profile spells out is not repeated; nothing, true and false are none.
    harmless = isinstance(node, ScalarNode) and (node.value is None or isinstance(node.value, bool))
    hidden = not harmless and Secret in expected_at(model, error.loc, error.tagged)
    found = "" if hidden or node is None else f", not {_found(node)}"
    echo = "the value" if hidden or not isinstance(node, ScalarNode) else shown(node.text)
    match error.type:
        case "missing":
            return say("field-missing", f"{name} is missing", _about(model, error))
        case "extra_forbidden":
            known = {f for m in models_at(model, error.loc[:-1], error.tagged) for f in fields_of(m)}
            key = _key_of(entry, error.path)
            return say(
                "field-unknown",
                f"unknown field {shown(error.path[-1])}",
                name_hint(str(error.path[-1]), known, "fields"),
                key,
            )
        case "literal_error" | "enum":
            choices = _QUOTED.findall(str(error.context["expected"]))
            hint = (
                name_hint(echo.strip("'"), choices, "allowed") if choices else f"allowed: {error.context['expected']}"
            )
            return say("value-choice", f"{name} cannot be {echo}", hint)
        case "union_tag_invalid":
            tags = _QUOTED.findall(str(error.context["expected_tags"]))
            tag = str(error.context["tag"])
            return say("value-choice", f"{name} cannot be of the sort {shown(tag)}", name_hint(tag, tags, "allowed"))
        case "union_tag_not_found":
            tags = sorted({tag for m in models_at(model, error.loc, error.tagged) for tag in fields_of(m)})
            return say("value-choice", f"{name} does not say what it is", f"fields: {', '.join(tags)}" if tags else "")
        case "measure":
            what, hint = _expected(error), _after_colon(error)
            return say(
                "value-measure",
                f"{name} is not {what}{'' if hidden else f': {_found(node)}' if node else ''}",
                f"{hint}",
            )
        case "either":
            wanted = str(error.context["wanted"])
            hint = error.context["hint"] or (_type_hint("a text", node, name, hidden) if "a text" in wanted else "")
            return say("value-type", f"{name} must be {wanted}{found}", hint)
        case "value_error" | "assertion_error":
            return say("value-invalid", f"{name}: {error.context.get('error', error.message)}")
        case "string_pattern_mismatch" if error.loc[-1] == "[key]":
            what = f"{shown(error.path[-1])} cannot be a name in {_name(path[:-1])}"
            return say("value-format", what, f"it must match {error.context['pattern']}", _key_of(entry, error.path))
        case "string_pattern_mismatch":
            return say("value-format", f"{name} cannot be {echo}", f"it must match {error.context['pattern']}")
        case "string_too_short" | "too_short":
            return say("value-length", f"{name} is too short", f"at least {_count(error, 'min_length')}")
        case "string_too_long" | "too_long":
            return say("value-length", f"{name} is too long", f"at most {_count(error, 'max_length')}")
        case kind if kind in _RANGES:
            key_, words = _RANGES[kind]
            return say("value-range", f"{name} must be {words} {error.context[key_]:g}{found}")
        case kind if kind in _TYPES:
            return say(
                "value-type", f"{name} must be {_TYPES[kind]}{found}", _type_hint(_TYPES[kind], node, name, hidden)
            )
        case _:
            return say("value-invalid", f"{name}: {error.message[:1].lower()}{error.message[1:]}")


def _count(error: _Error, limit: str) -> str:
    number = error.context[limit]
    what = "character" if error.type.startswith("string_") else "item"
    return f"{number} {what}{'' if number == 1 else 's'}"


def _name(path: FieldPath) -> str:
    """The last name of a path with its indexes: `steps[2]`."""
    text = ""
    for part in reversed(path):
        if isinstance(part, str):
            return bare(part, 80) + text
        text = f"[{part}]{text}"
    return text


def _found(node: Node) -> str:
    match node:
        case MapNode():
            return "a mapping"
        case ListNode():
            return "a list"
        case ScalarNode(value=None):
            return "nothing"
        case ScalarNode(value=str()):
            return f"the text {shown(node.text)}"
        case ScalarNode(value=bool()):
            return node.text
        case _:
            return f"the number {shown(node.text).strip(chr(39))}"


def _type_hint(wanted: str, node: Node | None, name: str, hidden: bool) -> str:
    if wanted == "a mapping":
        return f"write {name}: {{...}} or its fields on the lines below"
    if not isinstance(node, ScalarNode):
        return ""
    if hidden:
        return "put it in quotes" if wanted == "a text" else ""
    text = shown(node.text).strip("'")
    if node.value is None:
        return "leave the key out, or write a value"
    match wanted:
        case "a text" | "a path" if not isinstance(node.value, str):
            return f'put it in quotes: "{text}"'
        case "true or false":
            return f"write {_YES_NO.get(node.text.lower(), 'true or false')}"
        case "a whole number" | "a number" if isinstance(node.value, str) and re.fullmatch(r"-?\d+(\.\d+)?", node.text):
            return f"write it without quotes: {text}"
        case "a whole number" | "a number" if isinstance(node.value, str) and len(re.findall(r"[0-9]+", text)) == 1:
            return f"write the number alone: {re.findall(r'[0-9]+', text)[0]}"
        case "a list":
            return f"write {json.dumps(node.text.split())}" if " " in text and text == node.text else f"write [{text}]"
        case _:
            return ""


def _about(model: type[BaseModel], error: _Error) -> str:
    """What a missing field is, in its own words."""
    for found in models_at(model, error.loc[:-1], error.tagged):
        info = fields_of(found).get(str(error.loc[-1]))
        if info is not None and info.description:
            return info.description.replace("\n", " ").split(". ")[0].strip().removesuffix(".")
    return ""


def _key_of(entry: Entry, path: FieldPath) -> Source:
    for part in path:
        if isinstance(entry.value, MapNode) and isinstance(part, str) and part in entry.value.entries:
            entry = entry.value.entries[part]
        elif isinstance(entry.value, ListNode) and isinstance(part, int):
            entry = Entry(entry.key, entry.value.items[part])
    return source_of(entry.key)
