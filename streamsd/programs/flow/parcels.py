"""Results that wait to be sent together, bounded in bytes too: five thousand short ones are little, five thousand of a
megabyte are more than a host has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from streamsd.flow.types import Base, Type

_PIECE = 64 * 1024
"""Bytes of a piece, but for a single message that is longer."""
_SHORT = (Base.BOOL, Base.INT, Base.FLOAT, Base.NUMBER, Base.TIME)


class Parcels:
    """Makes parcels of at most so many messages, and of about so many bytes: one message that is longer goes alone.
    Messages are bytes, or tuples that end with them."""

    def __init__(self, messages: int, size: int) -> None:
        self._most, self._most_bytes = messages, size
        self._items: list[Any] = []
        self._bytes = 0

    def __len__(self) -> int:
        """Messages that wait."""
        return len(self._items)

    def put(self, items: Sequence[Any]) -> Iterator[list[Any]]:
        """Take messages in, in order; the parcels that are complete come out."""
        size = size_of(items)
        if self._bytes + size <= self._most_bytes:
            self._items += items
            self._bytes += size
            while len(self._items) >= self._most:
                parcel, self._items = self._items[: self._most], self._items[self._most :]
                self._bytes -= size_of(parcel)
                yield parcel
            return
        for item in items:
            size = size_of((item,))
            if self._items and (self._bytes + size > self._most_bytes or len(self._items) >= self._most):
                yield self.rest()
            self._items.append(item)
            self._bytes += size

    def rest(self) -> list[Any]:
        """What waits, as a last parcel; empty when nothing does."""
        parcel, self._items, self._bytes = self._items, [], 0
        return parcel


def pieces(items: Sequence[bytes]) -> Iterator[tuple[int, Sequence[bytes]]]:
    """(place, messages): parts of some 64 KiB, between which to look whether a connection takes more."""
    begin = size = 0
    for place, item in enumerate(items):
        if size and size + len(item) > _PIECE:
            yield begin, items[begin:place]
            begin, size = place, 0
        size += len(item)
    if items:
        yield begin, items[begin:]


def size_of(items: Sequence[Any]) -> int:
    """Bytes of messages, or of tuples that end with them."""
    if items and isinstance(items[0], tuple):
        return sum(len(item[-1]) for item in items)
    return sum(map(len, items))


def long_columns(fields: Mapping[str, Type]) -> list[int]:
    """The places of columns whose values may be long."""
    return [place for place, kind in enumerate(fields.values()) if kind.base not in _SHORT]


def size_of_rows(rows: Sequence[tuple[Any, ...]], columns: Iterable[int]) -> int:
    """Bytes, about, of the values in these columns."""
    return sum(len(value) for place in columns for row in rows if type(value := row[place]) in (str, bytes))
