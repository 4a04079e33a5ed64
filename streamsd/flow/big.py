"""What lists and dicts of millions of items need so that nobody waits for them: the collector must not walk them, and
those that are filled alike must not grow at the same moment. Both rest on how CPython does it; where it does otherwise,
there are longer pauses and nothing else.
"""

from __future__ import annotations

import ctypes
from collections.abc import Hashable
from typing import Any

_untrack = ctypes.pythonapi.PyObject_GC_UnTrack
_untrack.argtypes = [ctypes.py_object]
_untrack.restype = None

_SMALLEST = 8192
"""Of the tables of dicts whose growth is spread: that of 64 smaller ones takes a few milliseconds."""
_EARLIEST = 0.75
"""Of what a dict has room for. Below a half it would only be written anew."""


def uncollected(values: list[Any]) -> list[Any]:
    """The same list, which the collector of cycles leaves alone from now on; nothing in it may lead back to it.

    A collection of the youngest generation walks every list that was made since the one before, whatever that has grown
    to: for twenty million cells it took 0.9 s.
    """
    _untrack(values)
    return values


class Growth:
    """When a dict grows that is one of several which are filled alike: one after another. Those of 64 shards with
    170,000 keys each would take half a second together.

    A dict has room for two thirds of a power of two. It grows when it was given as many keys, and those that were taken
    out again count.
    """

    __slots__ = ("_size", "at")

    def __init__(self, keys: int = 0) -> None:
        """`keys`: how many the dict has."""
        self._size = _SMALLEST
        while self._size * 2 // 3 < keys:
            self._size *= 2
        self.at = round(self._size * 2 // 3 * _EARLIEST)
        """With as many keys `grow` is to be called."""

    def grow(self, index: dict[Hashable, Any], place: int, places: int) -> None:
        """Have a dict grow with the next key that it is given, if it is the turn of the one in this place."""
        room = self._size * 2 // 3
        turn = round(room * (1 - (1 - _EARLIEST) * place / places))
        if len(index) < turn:
            self.at = turn
            return
        spare = "\0"
        while spare in index:
            spare += "\0"
        for _ in range(room - len(index)):
            index[spare] = 0
            del index[spare]
        while self._size * 2 // 3 <= max(room, len(index)):
            self._size *= 2
        self.at = round(self._size * 2 // 3 * _EARLIEST)
