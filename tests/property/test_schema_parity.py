"""What pydantic refuses the published schema refuses, and the other way round; what a schema cannot say is listed.

STREAMSD_EXAMPLES=5000 looks at more of them, and at others each time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from streamsd.core.diagnostics import Severity
from streamsd.core.kind import Kind, Registry
from streamsd.document.load import load
from streamsd.document.nodes import MapNode
from streamsd.document.parse import parse
from streamsd.document.schema import EXPRESSED_BY_CODE, example_of, kind_schema, profile_schema
from streamsd.document.validate import plain
from streamsd.kinds import load_kinds
from tests.property.spec_values import Draw, make, spoil
from tests.unit.document.kinds import REGISTRY as TESTED


def without_code(kinds: Iterable[Kind[Any]]) -> Registry:
    """The kinds without their `check_spec`: what a kind says in code of its own no schema can say."""
    return Registry(_silent(type(kind))() for kind in kinds)


def _silent(kind: type[Kind[Any]]) -> type[Kind[Any]]:
    # of the same module: the kind's example lies beside it
    return type(kind.__name__, (kind,), {"check_spec": lambda self, name, spec: (), "__module__": kind.__module__})


KINDS, TEST_KINDS = without_code(load_kinds()), without_code(TESTED)
ALL = [(TEST_KINDS, kind) for kind in TEST_KINDS] + [(KINDS, kind) for kind in KINDS]
EXAMPLES = int(os.environ.get("STREAMSD_EXAMPLES", "60"))
SCHEMAS = {kind.name: kind_schema(kind) for _, kind in ALL}
PROFILES = {id(registry): Draft202012Validator(profile_schema(registry)) for registry in (TEST_KINDS, KINDS)}


def examples(kind: Kind[Any]) -> list[Any]:
    """The specs in the kind's example.yaml."""
    root = parse(example_of(kind).encode(), "example.yaml").root
    section = root.get(kind.section) if isinstance(root, MapNode) else None
    found = plain(section) if section is not None else {}
    return list(found.values()) if isinstance(found, dict) else []


def refused(registry: Registry, profile: Mapping[str, Any], directory: Path) -> set[str]:
    """The codes of what streamsd says against a profile. JSON is YAML."""
    path = directory / "profile.yaml"
    path.write_text(json.dumps(profile))
    loaded = load(path, registry, host="h", environ={})
    return {d.code for d in loaded.diagnostics if d.severity is Severity.ERROR}


def agree(registry: Registry, kind: Kind[Any], spec: Any, directory: Path) -> None:
    profile = {"version": 1, kind.section: {"x": spec}}
    codes = refused(registry, profile, directory)
    validator = PROFILES[id(registry)]
    told = [e.message[:300] for e in validator.iter_errors(profile)]
    if told:
        assert codes, f"the schema alone refuses it: {told}"
    else:
        assert codes <= EXPRESSED_BY_CODE, f"the schema accepts it, streamsd says {sorted(codes - EXPRESSED_BY_CODE)}"
    if isinstance(spec, dict):
        assert Draft202012Validator(SCHEMAS[kind.name]).is_valid(spec) <= (not told), "the two schemas differ"


@pytest.mark.parametrize(("registry", "kind"), ALL, ids=[k.section for _, k in ALL])
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="STREAMSD_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_schema_and_models_agree(
    registry: Registry, kind: Kind[Any], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    draw = Draw(data.draw)
    schema = SCHEMAS[kind.name]
    known = examples(kind)
    spec = draw.of(known) if known and draw.chance(30) else make(draw, schema, schema)
    if draw.chance(70):
        spec = spoil(draw, spec)
    agree(registry, kind, spec, Path(tmp_path_factory.getbasetemp()))


@pytest.mark.parametrize(("registry", "kind"), ALL, ids=[k.section for _, k in ALL])
def test_the_example_is_valid_for_both(registry: Registry, kind: Kind[Any], tmp_path: Path) -> None:
    text = example_of(kind)
    if registry is TEST_KINDS:
        assert text == ""
        return
    (tmp_path / "example.yaml").write_text(text)
    loaded = load(tmp_path / "example.yaml", registry, host="h", environ={"USER": "u"})
    assert [str(d) for d in loaded.diagnostics if d.code != "secret-file"] == []
    root = parse(text.encode(), "example.yaml").root
    assert root is not None
    assert [e.message for e in PROFILES[id(registry)].iter_errors(plain(root))] == []
