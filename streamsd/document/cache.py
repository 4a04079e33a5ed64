"""A least-recently-used cache bounded by what its entries cost."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

ValueT = TypeVar("ValueT")


class CostCache(Generic[ValueT]):
    """`get` and `put` may be called from several threads. An entry dearer than `limit` is not kept."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._cost = 0
        self._entries: OrderedDict[Hashable, tuple[ValueT, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> ValueT | None:
        with self._lock:
            found = self._entries.get(key)
            if found is None:
                return None
            self._entries.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, value: ValueT, cost: int) -> None:
        if cost > self._limit:
            return
        with self._lock:
            old = self._entries.pop(key, None)
            self._cost += cost - (old[1] if old else 0)
            self._entries[key] = (value, cost)
            while self._cost > self._limit:
                _, (_, gone) = self._entries.popitem(last=False)
                self._cost -= gone
