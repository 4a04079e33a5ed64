"""Values that must not be seen: they print as `***`, and only `reveal` gives them."""

from __future__ import annotations

import hashlib
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, SerializationInfo
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

MASK = "***"

REFERENCES = "secrets-as-references"
"""In the context of a model's dump: a secret is written as the reference that it came by, or as UNREFERENCED."""

UNREFERENCED = "${secret:}"
"""A secret that stands in the profile itself: no text there can read so."""


class Secret:
    """A secret text. Never in argv: units take it in environment and files only. `reference`: what the profile says
    instead of it, such as `${secret:env:KEY}`; empty where it was put together, or stands there in the open."""

    __slots__ = ("_value", "reference")

    def __init__(self, value: str, reference: str = "") -> None:
        self._value = value
        self.reference = reference

    def reveal(self) -> str:
        """The text itself. Every caller writes it to a private file or a child's environment, nowhere else."""
        return self._value

    def digest(self, key: bytes) -> str:
        """A keyed digest, so that a change is seen and a short secret cannot be guessed from it."""
        return hashlib.blake2b(self._value.encode(), key=key, digest_size=16).hexdigest()

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _secret, serialization=core_schema.plain_serializer_function_ser_schema(_shown, info_arg=True)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "writeOnly": True, "description": "A secret: write ${secret:file:PATH}."}


def _shown(secret: Secret, info: SerializationInfo) -> str:
    return (secret.reference or UNREFERENCED) if info.context and info.context.get(REFERENCES) else MASK


def _secret(value: object) -> Secret:
    if isinstance(value, Secret):
        return value
    if isinstance(value, str):
        return Secret(value)
    raise PydanticKnownError("string_type")
