"""The dead-letter sink: JSON lines of what could not be processed, with reason and original bytes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from streamsd.core.clock import rfc3339
from streamsd.flow.faults import Dead
from streamsd.flow.outputs import Batch

MAX_RAW = 256 * 1024
"""Bytes of a message that are kept."""


def as_batch(letters: Sequence[Dead]) -> Batch:
    """The lines of these letters. `raw` is text where the message is UTF-8, else `raw_base64`; a long one is cut."""
    at = rfc3339(datetime.now(UTC))
    return Batch(len(letters), msgspec.json.Encoder().encode_lines([entry(letter, at) for letter in letters]))


def entry(letter: Dead, at: str) -> dict[str, object]:
    made: dict[str, object] = {"at": at, "source": letter.source, "reason": letter.reason, "message": letter.message}
    raw = letter.raw
    if len(raw) > MAX_RAW:
        made["cut_from"] = len(raw)
        raw = raw[:MAX_RAW]
    try:
        made["raw"] = raw.decode()
    except UnicodeDecodeError:
        made["raw_base64"] = base64.b64encode(raw).decode()
    return made


def raw_of(line: bytes) -> tuple[dict[str, object], bytes]:
    """An entry and its original bytes. ValueError when the line is none."""
    found = msgspec.json.decode(line)
    if not isinstance(found, dict):
        raise ValueError("not a dead letter")
    if "raw_base64" in found:
        return found, base64.b64decode(found["raw_base64"])
    return found, str(found.get("raw", "")).encode()
