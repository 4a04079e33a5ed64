"""How messages are protected on their way: signed, or encrypted."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from streamsd.core.secret import Secret
from streamsd.flow.spec.words import Part

KeyId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,63}$")]
Method = Literal["blake2b", "hmac-sha256", "aes-gcm"]


class Sealed(Part):
    """What messages must be sealed with. One that is not, or that somebody changed, is a dead letter."""

    method: Method
    """`blake2b`, `hmac-sha256`: signed with a key. `aes-gcm`: encrypted with AES-256, and so signed too."""
    keys: Annotated[dict[KeyId, Secret], Field(min_length=1, max_length=16)]
    """Keys by their ids, all of them accepted: to change one, add the new one here, then give it to those who send,
    then take the old one away. Each is 32 bytes as 64 hex digits: `openssl rand -hex 32`."""


class Seal(Part):
    """What results are sealed with."""

    method: Method
    """`blake2b`, `hmac-sha256`: signed with a key. `aes-gcm`: encrypted with AES-256, and so signed too."""
    key_id: KeyId
    """What the receiver knows the key by."""
    key: Secret
    """32 bytes as 64 hex digits: `openssl rand -hex 32`."""
    batch: Annotated[int, Field(ge=1, le=10_000)] = 1
    """How many results are sealed together at most, as one message: quicker and shorter by far, where the receiver is a
    flow too."""
