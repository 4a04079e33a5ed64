"""The dead-letter sink: JSON lines of what could not be processed, with reason and original bytes."""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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


class Cabinet:
    """The dead letters of a flow as they lie in its files: the older one first. What was replayed is remembered by its
    place, and stays in the file."""

    def __init__(self, path: Path, replayed: Path) -> None:
        self._path = path
        self._replayed = replayed

    @classmethod
    def of(cls, letters: Path, state: Path) -> Cabinet:
        """The cabinet of a flow with this state directory."""
        return cls(letters, state / "replayed.json")

    def open_letters(
        self, after: tuple[int, int] | None = None
    ) -> Iterator[tuple[tuple[int, int], dict[str, Any], bytes]]:
        """(place, entry, original bytes) of each letter after a place; None: of those that were not replayed."""
        done = after or self.mark()
        for file in (self._path.with_name(self._path.name + ".1"), self._path):
            try:
                inode = file.stat().st_ino
                with file.open("rb") as lines:
                    passed = done is not None and inode != done[0] and self._holds(done[0], file)
                    at = 0
                    for line in lines:
                        at += len(line)
                        if (
                            passed
                            or (done is not None and inode == done[0] and at <= done[1])
                            or not line.endswith(b"\n")
                        ):
                            continue
                        found, raw = raw_of(line)
                        yield (inode, at), found, raw
            except (OSError, ValueError):
                continue

    def _holds(self, inode: int, than: Path) -> bool:
        """Whether the mark lies in the newer file, so that all of the older one was replayed."""
        return than != self._path and self._path.exists() and self._path.stat().st_ino == inode

    def mark(self) -> tuple[int, int] | None:
        """Up to where letters were replayed."""
        try:
            inode, offset = json.loads(self._replayed.read_text())
            return int(inode), int(offset)
        except (OSError, ValueError, TypeError):
            return None

    def set_mark(self, place: tuple[int, int]) -> None:
        part = self._replayed.with_suffix(".part")
        part.write_text(json.dumps(place))
        os.replace(part, self._replayed)

    def summary(self, count: int) -> dict[str, Any]:
        """How many there are by reason, and the newest ones."""
        reasons: Counter[str] = Counter()
        newest: list[dict[str, Any]] = []
        for _, found, _ in self.open_letters():
            reasons[str(found.get("reason"))] += 1
            newest = [*newest[-(count - 1) :], found] if count > 1 else [found]
        return {"reasons": dict(reasons), "newest": newest}
