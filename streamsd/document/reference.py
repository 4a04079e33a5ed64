"""The reference page of a kind, written from its models: `python -m streamsd.document.reference docs/reference`.

A page holds the kind's own kind.md, its example, and every field with what it takes, its default and what changing it
costs. A test holds the committed pages to the models.
"""

from __future__ import annotations

import importlib
import json
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import annotated_types
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from streamsd.core.change import OnChange
from streamsd.core.kind import Kind, RefTo, Registry
from streamsd.core.secret import Secret
from streamsd.document.schema import example_of
from streamsd.document.shape import alternatives, fields_of, is_model

_COSTS = {
    OnChange.NONE: "nothing",
    OnChange.PATCH: "in place",
    OnChange.RESTART: "restart",
    OnChange.REPLACE: "replace",
}
_WORDS: Mapping[object, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Secret: "secret",
    Path: "path",
    Any: "anything",
}


def page(kind: Kind[Any]) -> str:
    """The kind's page in Markdown."""
    parts = [
        f"# {kind.name}",
        f"Declared under `{kind.section}`. {kind.summary}",
        _beside(kind, "kind.md").strip(),
        "## Example",
        f"```yaml\n{example_of(kind).strip()}\n```",
        "## Fields",
        (
            "*Change* says what changing the field of a running resource costs: nothing, a change *in place* (every "
            "process stays), a *restart* of the processes that use it, or a *replace* of the resource and of what "
            "stands on it."
        ),
    ]
    for path, model in _models(kind.spec):
        if path:
            parts.append(f"### {path}")
            if model.__doc__:
                parts.append(" ".join(model.__doc__.split()))
        parts.append(_table(model, path))
    return "\n\n".join(part for part in parts if part) + "\n"


def index(registry: Registry) -> str:
    """The page that leads to the others."""
    rows = [f"| [`{k.section}`]({k.section}.md) | {k.name} | {k.summary} |" for k in registry]
    return "\n".join(
        [
            "# Reference",
            "",
            "How a profile is put together: [the profile](profile.md). What it can declare:",
            "",
            "| Section | Kind | |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def pages(registry: Registry) -> dict[str, str]:
    """Every generated page by its file name."""
    return {"README.md": index(registry), **{f"{kind.section}.md": page(kind) for kind in registry}}


def _beside(kind: Kind[Any], name: str) -> str:
    package = type(kind).__module__.rpartition(".")[0]
    try:
        return resources.files(package).joinpath(name).read_text("utf-8")
    except (FileNotFoundError, ModuleNotFoundError, TypeError, ValueError):
        return ""


def _models(root: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Every model of a spec once, at the first place where it stands, outermost first."""
    seen: set[type[BaseModel]] = {root}
    waiting: list[tuple[str, type[BaseModel]]] = [("", root)]
    while waiting:
        path, model = waiting.pop(0)
        yield path, model
        found: list[tuple[str, type[BaseModel]]] = []
        for name, info in fields_of(model).items():
            place = f"{path}.{name}" if path else name
            found += [(where, inner) for where, inner in _inner(info.annotation, place) if inner not in seen]
            seen.update(inner for _, inner in found)
        waiting = found + waiting


def _inner(annotation: object, place: str) -> Iterator[tuple[str, type[BaseModel]]]:
    members = list(alternatives(annotation))
    several = sum(is_model(member) for _, member in members) > 1
    for tag, member in members:
        if is_model(member):
            yield (f"{place} ({tag or member.__name__})" if several else place), member
        else:
            inside = f"{place}.NAME" if _is_mapping(member) else f"{place}[]"
            for argument in typing.get_args(member):
                yield from _inner(argument, inside)


def _is_mapping(member: object) -> bool:
    origin = typing.get_origin(member)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _table(model: type[BaseModel], path: str) -> str:
    rows = ["| Field | Takes | Default | Change | |", "|---|---|---|---|---|"]
    for name, info in fields_of(model).items():
        policy = next((m for m in info.metadata if isinstance(m, OnChange)), None)
        # Below the top, a field without a policy of its own has that of the field it stands in.
        cost = _COSTS[policy or OnChange.RESTART] if policy or not path else ""
        about = " ".join((info.description or "").split())
        cells = [f"`{name}`", _takes(info), _default(info), cost, about]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows) if len(rows) > 2 else "It has no fields."


def _takes(info: FieldInfo) -> str:
    reference = next((m for m in info.metadata if isinstance(m, RefTo)), None)
    words = _named(reference) if reference else _words(info.annotation)
    return f"{words}{_limits(info.metadata)}"


def _named(reference: RefTo) -> str:
    return f"name of {'an' if reference.kind[0] in 'AEIO' else 'a'} {reference.kind}"


def _words(annotation: object) -> str:
    if typing.get_origin(annotation) is typing.Annotated:
        inner, *metadata = typing.get_args(annotation)
        reference = next((m for m in metadata if isinstance(m, RefTo)), None)
        return _named(reference) if reference else _words(inner) + _limits(metadata)
    if typing.get_origin(annotation) is typing.Union or isinstance(annotation, types.UnionType):
        members = [m for m in typing.get_args(annotation) if m is not types.NoneType]
        return " or ".join(dict.fromkeys(_words(member) for member in members))
    if hasattr(annotation, "__value__"):
        return _words(annotation.__value__)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return ", ".join(f"`{json.dumps(a) if not isinstance(a, str) else a}`" for a in arguments)
    if _is_mapping(annotation):
        return f"mapping of names to: {_words(arguments[1])}" if len(arguments) == 2 else "mapping"
    if origin is not None and isinstance(origin, type):
        inner = ", ".join(dict.fromkeys(_words(a) for a in arguments if a is not Ellipsis))
        return f"list of: {inner}" if inner else "list"
    if is_model(annotation):
        return "mapping, see below"
    if annotation in _WORDS:
        return _WORDS[annotation]
    says = getattr(annotation, "_says", "")
    return str(says).partition(":")[0].removeprefix("a ") or getattr(annotation, "__name__", str(annotation)).lower()


def _limits(metadata: list[Any]) -> str:
    low = next((m for m in metadata if isinstance(m, annotated_types.Ge | annotated_types.Gt)), None)
    high = next((m for m in metadata if isinstance(m, annotated_types.Le | annotated_types.Lt)), None)
    parts = []
    if isinstance(low, annotated_types.Ge):
        parts.append(f"from {low.ge}")
    elif low is not None:
        parts.append(f"above {low.gt}")
    if isinstance(high, annotated_types.Le):
        parts.append(f"to {high.le}")
    elif high is not None:
        parts.append(f"below {high.lt}")
    return f", {' '.join(parts)}" if parts else ""


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    if info.default_factory_takes_validated_data:
        return ""
    value = info.get_default(call_default_factory=True, validated_data={})
    if value is None or value is PydanticUndefined:
        return ""
    plain = TypeAdapter(type(value)).dump_python(value, mode="json", by_alias=True, exclude_defaults=True)
    if plain in ("", {}, []):
        return ""
    return f"`{plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)}`"


def main(directory: str) -> None:
    """Write every page into a directory. Pages of kinds that are gone are not removed."""
    # By name: this room lies below the kinds and is given them; only this command has to find them itself.
    registry: Registry = importlib.import_module("streamsd.kinds").load_kinds()
    target = Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    for name, text in pages(registry).items():
        (target / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
