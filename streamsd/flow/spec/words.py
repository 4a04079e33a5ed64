"""Small types that the models share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema

from streamsd.core.change import OnChange
from streamsd.core.kind import Spec
from streamsd.core.secret import Secret
from streamsd.flow.types import Type, list_of, map_of, object_of, parse_type


def _expression(value: object) -> object:
    """YAML reads `true`, `1` and `null` as values; in the language they are the same words."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    return value


# Whether it is one is checked with the whole flow, so that all that is wrong is told at once, each with its place.
Expression = Annotated[
    str,
    BeforeValidator(_expression),
    Field(max_length=2000),
    WithJsonSchema(
        {
            "type": ["string", "number", "boolean", "null"],
            "maxLength": 2000,
            "description": "An expression of the flow language.",
        }
    ),
]

Template = Annotated[str, Field(min_length=1, max_length=2000, examples=["rooms/{room}"])]
"""A text with expressions in braces."""

FieldName = Annotated[str, Field(min_length=1, max_length=200)]

_MAX_FIELDS = 1000


def read_type(value: object, depth: int = 0) -> Type:
    """A type as a profile writes it: a text, a mapping of fields (an object), or a list of one type."""
    if isinstance(value, Type):
        return value
    if isinstance(value, str):
        return parse_type(value)
    if depth > 8:
        raise ValueError("types nest at most 8 deep")
    if isinstance(value, dict) and value and len(value) <= _MAX_FIELDS:
        return object_of({str(name): read_type(kind, depth + 1) for name, kind in value.items()})
    if isinstance(value, list) and len(value) == 1:
        return list_of(read_type(value[0], depth + 1))
    raise ValueError("a type is a word such as int or list[str], or a mapping of fields to types")


def write_type(kind: Type) -> Any:
    """The inverse of `read_type`."""
    if kind.fields:
        return {name: write_type(inner) for name, inner in kind.fields}
    if kind.item is not None and kind.item.fields and kind.base == list_of(kind.item).base:
        return [write_type(kind.item)]
    return str(kind)


def _checked(value: object) -> object:
    read_type(value)
    return value


FieldType = Annotated[
    str | dict[str, Any] | list[Any],
    BeforeValidator(_checked),
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "type": "string",
                    "examples": ["int", "float?", "str", "bool", "time", "time_ms", "list[str]", "map[any]"],
                },
                {"type": "object", "minProperties": 1},
                {"type": "array", "minItems": 1, "maxItems": 1},
            ],
            "description": "The type of a field; `?` at its end where it may be missing or null.",
        }
    ),
]


class Part(Spec):
    """The base of a flow's models: each is built only when it is used by itself, which few are."""

    model_config = ConfigDict(defer_build=True)


class Tls(Part):
    """How a connection is encrypted. An empty mapping means: with the host's certificates."""

    ca: str | None = None
    """A file of certificates that are trusted instead of the host's."""
    cert: str | None = None
    """Our certificate (PEM): for a client that proves who it is, or for a server."""
    key: str | None = None
    """The certificate's key (PEM), where it is not in the same file."""
    verify: bool = True
    """Whether the other side's certificate is checked. Turn it off on a test bench only."""


class Login(Part):
    """Who we are to a broker or server."""

    user: str
    """The account."""
    password: Secret
    """Its password."""


class ShareLimit(Part):
    """What each sender may send at most. It cannot be held back without holding back the others, so what is more is
    left out, and counted (`limited`). A second's worth may come at once."""

    by: Literal["peer", "topic", "key", "partition"] = "peer"
    """What tells senders apart: the address they connect from, an MQTT topic or NATS subject, a Kafka key or
    partition."""
    messages: Annotated[float | None, Field(gt=0), OnChange.PATCH] = None
    """Messages a second."""
    bytes: Annotated[float | None, Field(gt=0), OnChange.PATCH] = None
    """Bytes a second."""
    excess: Annotated[Literal["drop", "dead_letter"], OnChange.PATCH] = "drop"
    """Where it goes."""


class RateLimit(Part):
    """What a source takes in at most; more waits in the connection, which is slowed down (nothing is dropped)."""

    messages: Annotated[float | None, Field(gt=0), OnChange.PATCH] = None
    """Messages a second."""
    bytes: Annotated[float | None, Field(gt=0), OnChange.PATCH] = None
    """Bytes a second."""
    each: Annotated[ShareLimit | None, OnChange.PATCH] = None
    """And what each sender may send at most."""

    def part(self, of: int) -> RateLimit:
        """What one of so many may take in."""
        messages = self.messages / of if self.messages is not None else None
        octets = self.bytes / of if self.bytes is not None else None
        return RateLimit(messages=messages, bytes=octets, each=self.each)


__all__ = [
    "Expression",
    "FieldName",
    "FieldType",
    "Login",
    "RateLimit",
    "ShareLimit",
    "Tls",
    "list_of",
    "map_of",
    "read_type",
    "write_type",
]
