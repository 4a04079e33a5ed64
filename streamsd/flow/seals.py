"""Sealed messages: signed or encrypted, alone or many at once. docs/flows.md describes the format for others.

    method (1 byte; + 128: a batch) | length of the key's id (1 byte) | the key's id | body
    signed:    body = payload | 32 bytes of BLAKE2b or HMAC-SHA256 over everything before
    encrypted: body = nonce (12 bytes) | AES-256-GCM of the payload, with everything before the nonce as associated data
    a batch's payload: each message with its length before it (4 bytes, big-endian)

Where messages are lines, the whole is written as base64; a reader takes either.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from streamsd.flow.faults import RowFault
from streamsd.flow.spec.seals import Method, Seal, Sealed

_CODES: dict[Method, int] = {"blake2b": 1, "hmac-sha256": 2, "aes-gcm": 3}
_BATCH = 0x80
_TAG = 32
_NONCE = 12
_LENGTH = struct.Struct(">I")
_COUNTED = 1 << 32


class KeyFault(ValueError):
    """A key that is none; the words do not hold it."""


class Missing(Exception):
    """The package that AES needs is not installed."""


def key_bytes(text: str) -> bytes:
    """The 32 bytes of 64 hex digits, or of base64. KeyFault."""
    try:
        made = bytes.fromhex(text) if len(text) == 64 else base64.b64decode(text, validate=True)
    except ValueError:
        made = b""
    if len(made) != 32:
        raise KeyFault("a key has 32 bytes, as 64 hex digits or as base64")
    return made


class Cipher(Protocol):
    """One key at work. `head`: what stands before the body."""

    def close(self, head: bytes, payload: bytes) -> bytes:
        """The whole message."""
        ...

    def open(self, head: bytes, message: bytes) -> bytes:
        """The payload. RowFault when somebody changed it, or when the key is another."""
        ...


class _Signature:
    def __init__(self, digest: Callable[[bytes], bytes]) -> None:
        self._digest = digest

    def close(self, head: bytes, payload: bytes) -> bytes:
        signed = head + payload
        return signed + self._digest(signed)

    def open(self, head: bytes, message: bytes) -> bytes:
        signed = message[:-_TAG]
        if len(signed) < len(head) or not hmac.compare_digest(self._digest(signed), message[-_TAG:]):
            raise RowFault("bad-signature", "the signature is not that of the message")
        return signed[len(head) :]


class _Encryption:
    """Nonces are a random start, new in each process and after 2^32 messages, and a number: none comes twice."""

    def __init__(self, key: bytes) -> None:
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError:
            raise Missing from None
        self._aes = AESGCM(key)
        self._invalid = InvalidTag
        self._number = _COUNTED
        self._start = b""

    def close(self, head: bytes, payload: bytes) -> bytes:
        if self._number >= _COUNTED:
            self._number, self._start = 0, os.urandom(_NONCE - 4)
        nonce = self._start + _LENGTH.pack(self._number)
        self._number += 1
        return head + nonce + self._aes.encrypt(nonce, payload, head)

    def open(self, head: bytes, message: bytes) -> bytes:
        at = len(head) + _NONCE
        try:
            return self._aes.decrypt(message[len(head) : at], message[at:], head)
        except (self._invalid, ValueError):
            raise RowFault(
                "bad-ciphertext", "the message cannot be decrypted: another key, or it was changed"
            ) from None


def _cipher(method: Method, key: bytes) -> Cipher:
    match method:
        case "blake2b":
            return _Signature(lambda data: hashlib.blake2b(data, key=key, digest_size=_TAG).digest())
        case "hmac-sha256":
            return _Signature(lambda data: hmac.digest(key, data, "sha256"))
        case "aes-gcm":
            return _Encryption(key)


def _head(method: Method, key_id: str, batch: bool) -> bytes:
    return bytes((_CODES[method] | (_BATCH if batch else 0), len(key_id))) + key_id.encode()


class Opener:
    """Opens what a source gives. KeyFault, Missing."""

    def __init__(self, spec: Sealed) -> None:
        self._method = spec.method
        # The newest message's key is that of the next one, nearly always: it is tried first.
        self._known: list[tuple[bytes, bool, Cipher]] = []
        for key_id, key in spec.keys.items():
            cipher = _cipher(spec.method, key_bytes(key.reveal()))
            self._known += [(_head(spec.method, key_id, batch), batch, cipher) for batch in (False, True)]
        self._again = next((head, cipher) for head, batch, cipher in self._known if not batch)

    def open(self, message: bytes) -> Sequence[bytes]:
        """The messages in it. RowFault."""
        if message[:1].isalnum() or message[:1] in b"+/":
            try:
                message = base64.b64decode(message, validate=True)
            except ValueError:
                raise RowFault("not-sealed", "the message is not sealed") from None
        for place, (head, batch, cipher) in enumerate(self._known):
            if message.startswith(head):
                if place:
                    self._known.insert(0, self._known.pop(place))
                payload = cipher.open(head, message)
                return _taken_apart(payload) if batch else (payload,)
        raise self._unknown(message)

    def _unknown(self, message: bytes) -> RowFault:
        if len(message) > 2 and message[0] & ~_BATCH == _CODES[self._method]:
            shown = message[2 : 2 + message[1]].decode(errors="replace")
            return RowFault("unknown-key", f"no key {shown!r} is accepted")
        return RowFault("not-sealed", f"the message is not sealed by {self._method}")

    def close(self, message: bytes) -> bytes:
        """Sealed again: for a dead letter, so that it is kept as protected as it came, and can be replayed."""
        head, cipher = self._again
        return cipher.close(head, message)


def _taken_apart(payload: bytes) -> list[bytes]:
    made: list[bytes] = []
    at, end = 0, len(payload)
    while at < end:
        if at + 4 > end:
            raise RowFault("malformed", "a batch that is cut")
        (size,) = _LENGTH.unpack_from(payload, at)
        at += 4 + size
        if at > end:
            raise RowFault("malformed", "a batch that is cut")
        made.append(payload[at - size : at])
    return made


class Sealer:
    """Seals what a sink sends. `text`: as base64. `most`: bytes that are sealed together at most, where the sink has a
    limit. KeyFault, Missing."""

    def __init__(self, spec: Seal, text: bool, most: int | None = None) -> None:
        self.batch = spec.batch
        self._most = most
        self._text = text
        self._cipher = _cipher(spec.method, key_bytes(spec.key.reveal()))
        self._alone = _head(spec.method, spec.key_id, False)
        self._together = _head(spec.method, spec.key_id, True)

    def close(self, messages: Sequence[bytes], beside: int = 0) -> list[bytes]:
        """The sealed messages: one each, or one for every `batch`. `beside`: bytes that go with each of them."""
        if self.batch == 1:
            made = [self._cipher.close(self._alone, message) for message in messages]
        else:
            made = [
                self._cipher.close(self._together, _put_together(group)) for group in self._groups(messages, beside)
            ]
        return [base64.b64encode(one) for one in made] if self._text else made

    def _groups(self, messages: Sequence[bytes], beside: int) -> Iterator[Sequence[bytes]]:
        """What is sealed together."""
        if self._most is None:
            for at in range(0, len(messages), self.batch):
                yield messages[at : at + self.batch]
            return
        group: list[bytes] = []
        size = beside
        for message in messages:
            more = len(message) + _LENGTH.size
            if group and (len(group) == self.batch or size + more > self._most):
                yield group
                group, size = [], beside
            group.append(message)
            size += more
        if group:
            yield group

    def close_addressed(self, items: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """(address…, message): only those of one address are sealed together."""
        by_address: dict[tuple[Any, ...], list[bytes]] = {}
        for item in items:
            by_address.setdefault(item[:-1], []).append(item[-1])
        return [
            (*address, one)
            for address, messages in by_address.items()
            for one in self.close(messages, len((address[-1] or "").encode()))
        ]


def _put_together(messages: Sequence[bytes]) -> bytes:
    return b"".join(part for message in messages for part in (_LENGTH.pack(len(message)), message))
