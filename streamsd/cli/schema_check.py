"""Checking a profile against the published JSON Schema alone, as an editor or another tool does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from streamsd.cli.failure import Failure
from streamsd.core.diagnostics import Diagnostic, FieldPath, Source
from streamsd.core.kind import Registry
from streamsd.document.nodes import MapNode, ScalarNode, locate
from streamsd.document.parse import parse
from streamsd.document.schema import profile_schema
from streamsd.document.validate import plain


def check_against_schema(profile: Path, registry: Registry) -> list[Diagnostic]:
    """What is wrong with a file, or with each *.yaml of a directory. What they include is not read."""
    files = sorted(profile.glob("*.yaml")) if profile.is_dir() else [profile]
    validator = Draft202012Validator(profile_schema(registry))
    return [diagnostic for file in files for diagnostic in _check(file, validator)]


def _check(file: Path, validator: Draft202012Validator) -> Iterator[Diagnostic]:
    try:
        data = file.read_bytes()
    except OSError as fault:
        raise Failure(f"{file}: {fault.strerror}", "name a profile that can be read", code="no-profile") from None
    parsed = parse(data, str(file))
    yield from parsed.diagnostics
    if parsed.root is None:
        return
    start = ScalarNode(None, "", True, str(file), 1, 1, 1, 2)
    for found in validator.iter_errors(plain(parsed.root)):
        error = best_match([found]) or found  # of several alternatives, what was wrong with the likeliest
        path: FieldPath = tuple(error.absolute_path)
        at: Source | None = locate(start, parsed.root, path) if isinstance(parsed.root, MapNode) else None
        yield Diagnostic("schema", _message(error), at=at, path=path)


def _message(error: ValidationError) -> str:
    return error.message if len(error.message) <= 200 else f"{error.message[:197]}..."
