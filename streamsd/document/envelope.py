"""A resource as an envelope: what `export` prints and other tools read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from streamsd.core.kind import Resource
from streamsd.core.secret import REFERENCES

API_VERSION = "streamsd/v1"


class Envelope(TypedDict):
    """`spec` in JSON types with every default written out and secrets as `***`; `status` as `status --json` has it."""

    apiVersion: str
    kind: str
    name: str
    spec: dict[str, Any]
    status: dict[str, Any]


def envelope(resource: Resource[Any], status: Mapping[str, Any] | None = None) -> Envelope:
    """The envelope of a resource; without a status (no daemon) that part is empty."""
    return {
        "apiVersion": API_VERSION,
        "kind": resource.address.kind,
        "name": resource.address.name,
        "spec": resource.spec.model_dump(mode="json", by_alias=True),
        "status": dict(status or {}),
    }


def declared(resource: Resource[Any]) -> dict[str, Any]:
    """The spec as a profile says it once it is composed: without what is left out. A secret is the reference that it
    came by, `${secret:file:/…}`; one that stands in the profile itself is `${secret:}`."""
    spec: dict[str, Any] = resource.spec.model_dump(
        mode="json", by_alias=True, exclude_unset=True, context={REFERENCES: True}
    )
    return spec
