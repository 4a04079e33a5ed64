"""From a resource's nodes to its frozen model, each resource by itself so that all errors come in one pass.

Types are strict, as JSON Schema has them: `"5"` is no number and `yes` no boolean. pydantic is that strict and still
takes lists for tuples when it reads JSON, so JSON is what it is given; secrets are put in by a second, plain pass.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from streamsd.core.diagnostics import Diagnostic, FieldPath, Problem
from streamsd.core.kind import Kind, Reference, Spec, references_of
from streamsd.core.secret import MASK, Secret
from streamsd.document.cache import CostCache
from streamsd.document.findings import Findings
from streamsd.document.interpolate import EnvNode
from streamsd.document.nodes import BrokenNode, Entry, ListNode, MapNode, Node, ScalarNode, locate, map_of
from streamsd.document.shape import expected_at, holds_secrets, is_no_choice
from streamsd.document.words import explain, misplaced_secret, mistaken_boolean

Plain: TypeAlias = "bool | int | float | str | Secret | list[Plain] | dict[str, Plain] | None"


@dataclass(frozen=True, slots=True)
class Checked:
    """A spec (None when it has errors), what it refers to, where secrets stand in it that the file spells out, and what
    its kind says against it."""

    spec: Spec | None
    references: tuple[Reference, ...]
    inline: tuple[FieldPath, ...] = ()
    problems: tuple[Problem, ...] = ()


_CHECKED: CostCache[Checked] = CostCache(16 * 1024 * 1024)


def check(kind: Kind[Any], name: str, entry: Entry, findings: Findings) -> Checked:
    """Validate the resource `name`, whose nodes hold no expressions any more."""
    prefix = (kind.section, name)
    key = (kind, entry.key.column, entry.raw) if entry.raw is not None and not entry.value.dynamic else None
    checked = _CHECKED.get(key) if key else None
    if checked is None:
        checked = _check(kind.spec, entry.placed, findings, prefix)
        if checked.spec is not None:
            checked = replace(checked, problems=tuple(kind.check_spec(name, checked.spec)))
        if checked.spec is not None and key is not None and entry.raw is not None:
            _CHECKED.put(key, checked, 8 * len(entry.raw))
    for path in checked.inline:
        findings.warning(
            "secret-inline",
            f"the secret {path[-1]} stands in the profile itself",
            locate(entry.key, entry.placed.value, path),
            hint="put it in a file of mode 600 and write ${secret:file:PATH}",
            path=(*prefix, *path),
        )
    return checked


def _check(model: type[Spec], entry: Entry, findings: Findings, prefix: FieldPath) -> Checked:
    value = entry.value
    if isinstance(value, ScalarNode) and value.value is None:
        value = MapNode({}, 1, 0, False, False, value.file, value.line, value.column, value.end_line, value.end_column)
    try:
        spec = _validate(model, value)
    except ValidationError as error:
        if findings.full:
            findings.leave_out(error.error_count())
            return Checked(None, ())
        texts = {_node_path(value, e["loc"]) for e in error.errors() if e["type"] == "string_type"}
        retyped = _as_text(value, texts, ()) if texts else value
        try:
            if retyped is value:
                raise
            spec = _validate(model, retyped)
        except ValidationError as last:
            errors = last.errors(include_url=False, include_input=False)
            told, more = explain(errors, model, Entry(entry.key, retyped), prefix, findings.room)
            findings.extend(told)
            findings.leave_out(more)
            return Checked(None, _references_despite(model, retyped, errors))
        value = retyped
    overlooked = list(_overlooked(model, value))
    if overlooked:
        named = Entry(entry.key, value)
        findings.extend(say(path, named, prefix) for say, path in overlooked)
        return Checked(None, tuple(references_of(spec)))
    inline = tuple(_inline_secrets(spec, value, ())) if holds_secrets(model) else ()
    return Checked(spec, tuple(references_of(spec)), inline)


def _validate(model: type[Spec], value: Node) -> Spec:
    spec = model.model_validate_json(json.dumps(plain(value, masked=True)), strict=True)
    if holds_secrets(model) or _has_secret(value):
        # The first pass saw `***`: it was for types. This one carries the secrets and refuses them where none belongs;
        # and from JSON, pydantic would take every text for a secret in `str | Secret`.
        spec = model.model_validate(plain(value))
    return spec


def _references_despite(model: type[Spec], value: Node, errors: list[ErrorDetails]) -> tuple[Reference, ...]:
    """What a faulty resource refers to, as far as the rest of it is valid: so that a wrong name is told as well."""
    if not isinstance(value, MapNode):
        return ()
    faulty = {error["loc"][0] for error in errors if error["loc"]}
    rest = map_of({name: entry for name, entry in value.entries.items() if name not in faulty}, value)
    try:
        return tuple(references_of(_validate(model, rest)))
    except ValidationError:
        return ()


def plain(node: Node, *, masked: bool = False) -> Plain:
    """A node as Python data. Numbers without a fraction are whole, as in JSON Schema."""
    if isinstance(node, ScalarNode):
        value = node.value
        if isinstance(value, float) and value.is_integer():
            return int(value)
        return MASK if masked and isinstance(value, Secret) else value
    if isinstance(node, ListNode):
        return [plain(item, masked=masked) for item in node.items]
    return {name: plain(entry.value, masked=masked) for name, entry in node.entries.items()}


def _leaves(node: Node, path: FieldPath) -> Iterator[tuple[FieldPath, ScalarNode]]:
    if isinstance(node, ScalarNode):
        yield path, node
    elif isinstance(node, ListNode):
        for index, item in enumerate(node.items):
            yield from _leaves(item, (*path, index))
    else:
        for name, entry in node.entries.items():
            yield from _leaves(entry.value, (*path, name))


def _has_secret(node: Node) -> bool:
    return any(isinstance(leaf.value, Secret) for _, leaf in _leaves(node, ()))


def _overlooked(model: type[Spec], value: Node) -> Iterator[tuple[Callable[..., Diagnostic], FieldPath]]:
    """What pydantic lets pass: a secret in a field that takes anything, and true for a 1 among allowed values."""
    for path, leaf in _leaves(value, ()):
        if isinstance(leaf.value, Secret):
            if Secret not in expected_at(model, path):
                yield misplaced_secret, path
        elif isinstance(leaf.value, bool) and is_no_choice(leaf.value, expected_at(model, path)):
            yield mistaken_boolean, path


def _node_path(node: Node, loc: FieldPath) -> FieldPath:
    path: FieldPath = ()
    for part in loc:
        if isinstance(node, MapNode) and isinstance(part, str) and part in node.entries:
            node, path = node.entries[part].value, (*path, part)
        elif isinstance(node, ListNode) and isinstance(part, int) and part < len(node.items):
            node, path = node.items[part], (*path, part)
    return path


def _as_text(node: Node, paths: set[FieldPath], here: FieldPath) -> Node:
    """The same tree with values of the environment as texts where a text is wanted; the same node if there are none."""
    if isinstance(node, EnvNode):
        return node._replace(value=node.text) if here in paths and not isinstance(node.value, str) else node
    if isinstance(node, ListNode):
        items = tuple(_as_text(item, paths, (*here, index)) for index, item in enumerate(node.items))
        return node._replace(items=items) if any(a is not b for a, b in zip(items, node.items, strict=True)) else node
    if isinstance(node, MapNode):
        entries = {
            name: Entry(entry.key, _as_text(entry.value, paths, (*here, name))) for name, entry in node.entries.items()
        }
        changed = any(entries[name].value is not entry.value for name, entry in node.entries.items())
        return node._replace(entries=entries) if changed else node
    return node


def _inline_secrets(value: object, node: Node | None, path: FieldPath) -> Iterator[FieldPath]:
    if isinstance(value, Secret):
        # What stands for an expression at fault is none that the file spells out.
        if isinstance(node, ScalarNode) and isinstance(node.value, str) and not isinstance(node, EnvNode | BrokenNode):
            yield path
    elif isinstance(value, BaseModel) and isinstance(node, MapNode):
        for name, info in type(value).model_fields.items():
            key = info.alias or name
            yield from _inline_secrets(getattr(value, name), node.get(key), (*path, key))
    elif isinstance(value, Mapping) and isinstance(node, MapNode):
        for key, item in value.items():
            yield from _inline_secrets(item, node.get(str(key)), (*path, str(key)))
    elif isinstance(value, list | tuple) and isinstance(node, ListNode):
        for index, item in enumerate(value):
            yield from _inline_secrets(item, node.items[index], (*path, index))
