"""The profile's JSON Schema (2020-12), generated from the models: for editors, Ansible and whoever writes profiles.

`python -m streamsd.document.schema > schemas/profile.schema.json` writes it anew; a test holds the committed file to
it. What the schema cannot say is in EXPRESSED_BY_CODE; for everything else the parity tests hold it to pydantic.
"""

from __future__ import annotations

import copy
import importlib
import json
import re
import sys
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any, TypeAlias

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from streamsd.core.address import NAME_PATTERN
from streamsd.core.kind import Kind, Registry
from streamsd.document.compose import VARS, VERSION
from streamsd.document.derive import KEY as EXTENDS
from streamsd.document.derive import WITH
from streamsd.document.nodes import MapNode
from streamsd.document.parse import parse
from streamsd.document.shape import fields_of
from streamsd.document.templates import TEMPLATES
from streamsd.document.validate import plain

Schema: TypeAlias = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ID = "urn:streamsd:schema:profile:1"
EXPRESSED_BY_CODE = frozenset(
    {
        "value-invalid",  # validators of a kind that look at several fields at once
        "value-measure",  # ranges inside of units of measure: 0k, 99999x1
        "name-clash",
        "reference-unknown",
        "reference-cycle",
        "extends-unknown",
        "extends-cycle",
        "var-unknown",
        "var-cycle",
        "env-missing",
        "secret-misplaced",
        "secret-file",
    }
)
"""Codes of faults that only streamsd finds, beside what kinds say of a spec in code of their own: a profile with no
others may satisfy the schema."""

_EXPRESSION = {"$ref": "#/$defs/expression"}
_EXPRESSION_ITSELF = {
    "type": "string",
    "pattern": r"\$\{",
    "description": "An expression, such as ${var:x} or ${env:X}.",
}
_FILES = {"anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string", "minLength": 1}}]}


class _Generator(GenerateJsonSchema):
    """Without titles, which say what the key says; and a set's items may repeat, as pydantic lets them."""

    def generate(self, schema: Any, mode: Any = "validation") -> JsonSchemaValue:
        tidied: JsonSchemaValue = _walk(super().generate(schema, mode), _tidy)
        return tidied

    def encode_default(self, dft: Any) -> Any:
        """As a profile would write it: a measure as its text, of a model only what differs from its own defaults."""
        return TypeAdapter(type(dft)).dump_python(dft, mode="json", by_alias=True, exclude_defaults=True)


def kind_schema(kind: Kind[Any]) -> Schema:
    """The schema of a kind's spec as pydantic accepts it: expressions are resolved, nothing is inherited."""
    schema = kind.spec.model_json_schema(by_alias=True, schema_generator=_Generator)
    for name, info in fields_of(kind.spec).items():
        if info is not None and "x-on-change" not in schema.get("properties", {}).get(name, {}):
            schema["properties"][name]["x-on-change"] = "restart"
    return schema


def profile_schema(registry: Registry) -> Schema:
    """The schema of a profile. A resource that extends another, and an overlay, may leave out what is required; a
    single value may be an expression."""
    definitions: Schema = {}
    sections: Schema = {}
    overlay: Schema = {}
    for kind in registry:
        whole = kind_schema(kind)
        inner = whole.pop("$defs", {})
        for name, definition in {**inner, "": whole}.items():
            full = f"{kind.name}.{name}" if name else kind.name
            rename = _renamer(kind.name, "")
            definitions[full] = _walk(_walk(copy.deepcopy(definition), rename), _expressible)
            partial = _walk(_walk(copy.deepcopy(definition), _renamer(kind.name, ".partial")), _expressible)
            definitions[f"{full}.partial"] = _walk(partial, _optional)
        for full in [name for name in definitions if name == kind.name or name.startswith(f"{kind.name}.")]:
            if full in (kind.name, f"{kind.name}.partial"):
                _extends(definitions[full], f"A template, or another of the {kind.section}: its fields are taken over.")
            elif "properties" in definitions[full] and not full.endswith(".partial"):
                _extends(definitions[f"{full}.partial"], "A template, whose fields are taken over.")
                definitions[full] = _or_extended(definitions[full], f"{full}.partial")
        description = {
            "description": kind.summary,
            "type": ["object", "null"],
            "propertyNames": {"pattern": NAME_PATTERN},
        }
        examples = _examples(kind)
        sections[kind.section] = {
            **description,
            **({"examples": [examples]} if examples else {}),
            "additionalProperties": {
                "if": {"type": "object", "required": [EXTENDS]},
                "then": {"$ref": f"#/$defs/{kind.name}.partial"},
                "else": {
                    "anyOf": [
                        {"$ref": f"#/$defs/{kind.name}"},
                        *([] if definitions[kind.name].get("required") else [{"type": "null"}]),
                        dict(_EXPRESSION),
                    ]
                },
            },
        }
        overlay[kind.section] = {
            **description,
            "additionalProperties": {
                "anyOf": [{"$ref": f"#/$defs/{kind.name}.partial"}, {"type": "null"}, dict(_EXPRESSION)]
            },
        }
    template = {
        "description": "A fragment: the fields of whatever takes it over.",
        "type": "object",
        "properties": {
            VARS: {
                "description": "Its variables, each with its default; one without has to be given.",
                "type": ["object", "null"],
                "propertyNames": {"pattern": NAME_PATTERN},
            }
        },
    }
    templates = {
        "description": "Fragments with variables, taken over by `extends: NAME` and `with: {variable: value}`.",
        "type": ["object", "null"],
        "propertyNames": {"pattern": NAME_PATTERN},
        "additionalProperties": template,
    }
    variables = {
        "description": "Values used elsewhere as ${var:name}.",
        "type": ["object", "null"],
        "propertyNames": {"pattern": NAME_PATTERN},
    }
    return {
        "$schema": DIALECT,
        "$id": ID,
        "title": "streamsd profile",
        "description": "Everything a host streams, as streamsd keeps it.",
        "type": "object",
        "required": ["version"],
        "additionalProperties": False,
        "patternProperties": {"^x-": {"description": "Ignored: a place for YAML anchors."}},
        "properties": {
            "version": {"const": VERSION, "type": "integer", "description": "The version of the profile's form."},
            "include": {
                **_FILES,
                "description": "Files that stand beside this one; a wildcard may stand in the file name.",
            },
            "extends": {**_FILES, "description": "Profiles that lie below this one, which is merged over them."},
            VARS: variables,
            TEMPLATES: templates,
            "hosts": {
                "description": "By name of host: what is merged over everything on that host only.",
                "type": "object",
                "additionalProperties": {
                    "type": ["object", "null"],
                    "additionalProperties": False,
                    "properties": {VARS: variables, TEMPLATES: templates, **overlay},
                },
            },
            **sections,
        },
        "$defs": {"expression": _EXPRESSION_ITSELF, **dict(sorted(definitions.items()))},
    }


def _extends(schema: Schema, description: str) -> None:
    """Allow `extends` and `with` beside its fields, unless it has fields of these names."""
    if EXTENDS not in schema["properties"]:
        schema["properties"][EXTENDS] = {"type": "string", "description": description}
        schema["properties"].setdefault(
            WITH, {"type": ["object", "null"], "description": "Values of the template's variables."}
        )


def _or_extended(schema: Schema, partial: str) -> Schema:
    """With `extends`, what is required may come from the template."""
    return {
        "if": {"type": "object", "required": [EXTENDS]},
        "then": {"$ref": f"#/$defs/{partial}"},
        "else": schema,
    }


def example_of(kind: Kind[Any]) -> str:
    """The text of the kind's example.yaml, beside its module; empty where it has none."""
    package = type(kind).__module__.rpartition(".")[0]
    try:
        return resources.files(package).joinpath("example.yaml").read_text("utf-8")
    except (FileNotFoundError, ModuleNotFoundError, TypeError, ValueError):
        return ""


def _examples(kind: Kind[Any]) -> object:
    root = parse(example_of(kind).encode(), "example.yaml").root
    section = root.get(kind.section) if isinstance(root, MapNode) else None
    return plain(section) if section else None


def _walk(schema: Any, change: Callable[[Schema], Schema]) -> Any:
    """Change every subschema, innermost first. Values of `const`, `enum`, `default` and `examples` are no schemas."""
    if isinstance(schema, list):
        return [_walk(item, change) for item in schema]
    if not isinstance(schema, dict):
        return schema
    done: Schema = {}
    for key, value in schema.items():
        if key in ("const", "enum", "default", "examples", "discriminator", "required", "type"):
            done[key] = value
        elif key in ("properties", "patternProperties", "$defs"):
            done[key] = {name: _walk(item, change) for name, item in value.items()}
        else:
            done[key] = _walk(value, change)
    return change(done)


def _tidy(schema: Schema) -> Schema:
    schema.pop("title", None)
    schema.pop("uniqueItems", None)
    schema.pop("discriminator", None)
    if "patternProperties" in schema:
        schema.setdefault("additionalProperties", False)  # pydantic means it, and does not say it
    if isinstance(schema.get("description"), str):
        schema["description"] = re.sub(r"\s*\n\s*", " ", schema["description"])
    return schema


def _renamer(kind: str, suffix: str) -> Callable[[Schema], Schema]:
    def rename(schema: Schema) -> Schema:
        reference = schema.get("$ref")
        if isinstance(reference, str):
            schema["$ref"] = f"#/$defs/{kind}.{reference.rpartition('/')[2]}{suffix}"
        return schema

    return rename


_ABOUT = ("description", "default", "examples", "x-on-change", "x-ref", "writeOnly")


def _expressible(schema: Schema) -> Schema:
    """Every value may be an expression instead; texts of any form are already."""
    for key in ("properties", "patternProperties"):
        if key in schema:
            schema[key] = {name: _or_expression(value) for name, value in schema[key].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            schema[key] = _or_expression(schema[key])
    if "prefixItems" in schema:
        schema["prefixItems"] = [_or_expression(item) for item in schema["prefixItems"]]
    return schema


def _or_expression(schema: Schema) -> Schema:
    if _takes_any_text(schema):
        return schema
    about = {key: schema[key] for key in _ABOUT if key in schema}
    rest = {key: value for key, value in schema.items() if key not in _ABOUT}
    choices = rest["anyOf"] if set(rest) == {"anyOf"} else [rest]
    return {"anyOf": [*choices, dict(_EXPRESSION)], **about}


def _takes_any_text(schema: Mapping[str, Any]) -> bool:
    if "anyOf" in schema:
        return any(_takes_any_text(choice) for choice in schema["anyOf"])
    kinds = schema.get("type")
    free = not any(key in schema for key in ("pattern", "maxLength", "format", "enum", "const", "$ref", "oneOf"))
    return free and (kinds is None or kinds == "string" or (isinstance(kinds, list) and "string" in kinds))


def _optional(schema: Schema) -> Schema:
    for key in ("required", "minProperties", "dependentRequired"):
        schema.pop(key, None)
    for key in ("not", "if", "then", "else"):
        if schema.get(key) == {}:
            del schema[key]
    for key in ("oneOf", "anyOf", "allOf"):
        if any(choice == {} for choice in schema.get(key, ())):
            del schema[key]  # it only asked for fields
    return schema


def main() -> None:
    """Print the schema of the kinds that come with streamsd."""
    # By name: this room lies below the kinds and is given them; only this command has to find them itself.
    registry: Registry = importlib.import_module("streamsd.kinds").load_kinds()
    sys.stdout.write(json.dumps(profile_schema(registry), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
