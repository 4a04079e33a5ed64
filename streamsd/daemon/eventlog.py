"""The event log: kept in the store, told to whoever follows, printed one JSON object a line."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, TextIO

from streamsd.core.address import Address
from streamsd.core.events import Event
from streamsd.engine.store import Store

_QUEUE = 2000


class EventLog:
    """A follower that does not keep up loses the newest events it has no room for: the gap in the numbers shows it."""

    def __init__(self, store: Store, out: TextIO | None) -> None:
        self._store = store
        self._out = out
        self._followers: set[asyncio.Queue[tuple[int, dict[str, Any]]]] = set()
        self._count = 0

    def emit(self, event: Event) -> None:
        """Keep and tell."""
        number = self._store.append(event)
        # without a store (a full disk) the followers still get theirs, numbered on
        self._count = number or self._count + 1
        if self._out is not None:
            with contextlib.suppress(OSError):  # a full disk, a reader that went: no reason to end what runs
                print(event.line(), file=self._out, flush=True)
        told = event.to_json() if self._followers else {}
        for queue in self._followers:
            if not queue.full():
                queue.put_nowait((self._count, told))

    async def events(
        self, *, since: int, follow: bool, address: Address | None
    ) -> AsyncIterator[tuple[int, dict[str, Any]]]:
        """See Service.events."""
        wanted = str(address) if address else None
        queue: asyncio.Queue[tuple[int, dict[str, Any]]] = asyncio.Queue(_QUEUE)
        if follow:
            self._followers.add(queue)
        try:
            last = since
            while kept := self._store.events(last, wanted):  # a page at a time
                for number, fields in kept:
                    last = max(last, number)
                    yield number, fields
            while follow:
                number, fields = await queue.get()
                if number > last and (wanted is None or fields["address"] == wanted):
                    yield number, fields
        finally:
            self._followers.discard(queue)
