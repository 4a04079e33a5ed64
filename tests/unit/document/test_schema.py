"""The published schema and the reference pages, on kinds made for it."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from streamsd.document.reference import page, pages
from streamsd.document.schema import DIALECT, profile_schema
from tests.unit.document.kinds import REGISTRY, CastKind

SCHEMA = profile_schema(REGISTRY)
VALIDATOR = Draft202012Validator(SCHEMA)


def test_it_is_a_schema_of_2020_12_that_says_what_editors_show() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == DIALECT
    fields: dict[str, Any] = SCHEMA["$defs"]["Screen"]["properties"]
    assert fields["resolution"]["x-on-change"] == "patch"
    assert fields["resolution"]["default"] == "1280x720"
    assert fields["resolution"]["description"] == "How large it is."
    assert fields["beside"]["x-ref"] == "Screen"
    assert fields["fps"]["x-on-change"] == "restart"


@pytest.mark.parametrize(
    "profile",
    [
        {"version": 1},
        {"version": 1, "include": ["a.yaml"], "extends": "b.yaml", "vars": {"a": [1]}, "x-a": {"b": 1}},
        {"version": 1, "screens": {"a": None, "b": {"fps": "${var:fps}", "resolution": "${env:R}"}}},
        {"version": 1, "casts": {"a": {"extends": "b", "codec": "av1"}, "b": "${var:whole}"}},
        {"version": 1, "casts": {"a": {"screen": "s", "effects": "${var:e}", "sinks": {"x": "${var:s}"}}}},
        {"version": 1, "hosts": {"studio": {"vars": {"a": 1}, "casts": {"a": {"codec": "av1"}}}, "other": None}},
    ],
)
def test_accepted(profile: dict[str, Any]) -> None:
    assert [e.message for e in VALIDATOR.iter_errors(profile)] == []


@pytest.mark.parametrize(
    "profile",
    [
        {},
        {"version": 2},
        {"version": "1"},
        {"version": 1, "cameras": {}},
        {"version": 1, "screens": []},
        {"version": 1, "screens": {"a b": {}}},
        {"version": 1, "screens": {"a": {"fsp": 1}}},
        {"version": 1, "screens": {"a": {"fps": "30"}}},
        {"version": 1, "screens": {"a": {"extends": "b", "fps": "x"}}},
        {"version": 1, "casts": {"a": {}}},
        {"version": 1, "casts": {"a": None}},
        {"version": 1, "hosts": {"studio": {"casts": {"a": {"codec": "h265"}}}}},
        {"version": 1, "hosts": {"studio": {"include": "a"}}},
    ],
)
def test_refused(profile: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(profile)


def test_a_page_has_every_field_with_what_it_takes() -> None:
    text = page(CastKind())
    assert "| `screen` | name of a Screen | required | restart | The screen to capture. |" in text
    assert "| `codec` | `h264`, `hevc`, `av1` | `h264` | restart |  |" in text
    assert "| `token` | secret |  | restart |  |" in text
    assert "| `also` | list of: name of a Screen |" in text
    assert "### sinks.NAME.file" in text
    assert "| `radius` | whole number, from 0 |" in text
    assert set(pages(REGISTRY)) == {"README.md", "screens.md", "casts.md"}
