"""A shard and where its state is kept: whole in Bytewax's store while it is small, in a journal beside it when not."""

from __future__ import annotations

from typing import Any

from streamsd.flow.pipeline import PIECE
from streamsd.flow.plan import Shard
from streamsd.flow.stored import dump, load
from streamsd.programs.flow.durable import StateDamaged
from streamsd.programs.flow.journal import Journal, JournalRoom

_JOURNAL_FROM = 1024
"""States from which on the first shard is journalled: 64 such shards are written whole in some 20 ms."""
_APART = 16
"""States more from which on the next shard is: to begin 64 journals at once takes longer."""
_JOURNAL_TO = 256
_SLACK = 1 << 20
"""Bytes that a journal may have beyond some times what its shard's state would take."""


class KeptShard:
    """`place`: the shard's number, among those of the flow. Calls come from the flow's thread."""

    def __init__(self, shard: Shard, room: JournalRoom, place: int) -> None:
        self._shard = shard
        self._room = room
        self._place = place
        self._from = _JOURNAL_FROM + _APART * place
        self._journal: Journal | None = None
        self._number = -1
        self._each = 0.0
        """Bytes that one state took when the journal began."""
        self._old: list[tuple[int, Journal]] = []
        """Journals that were left, and at which snapshot: an older epoch may still need them."""
        self._snapshots = 0

    @property
    def journalled(self) -> bool:
        """Whether its state is in a journal now."""
        return self._journal is not None

    @property
    def due(self) -> bool:
        return self._shard.due

    def apply(self, work: Any) -> list[Any]:
        """Take work in, and the first piece of what it comes to."""
        if self._journal is not None:
            # Before it takes effect: partial states become part of ours, and change.
            self._journal.add(dump((True, work.plain())))
        said = self._shard.apply(work)
        if self._journal is None and self._shard.size() >= self._from:
            # Not with the next snapshot: then all shards would begin theirs at once.
            self._begin()
        return [*said, *self.drain()] if self._shard.due else said

    def drain(self) -> list[Any]:
        """The next piece of the windows that are closed."""
        if self._journal is not None:
            self._journal.add(dump((False, PIECE)))
        return list(self._shard.drain(PIECE))

    def snapshot(self) -> Any:
        self._snapshots += 1
        self._let_go()
        size = self._shard.size()
        journal = self._journal
        if journal is None:
            return self._shard.state()
        if size < _JOURNAL_TO:
            self._leave(journal)
            self._journal = None
            return self._shard.state()
        # Not by what it began with: it then was small, and would be written anew though nothing in it is superseded.
        # What is being said is soon gone, and need not be written first.
        most = (4 if self._shard.due else 2) * size * self._each + _SLACK
        if journal.length > most and self._room.may_compact():
            self._leave(journal)
            journal = self._begin()
        length = journal.write()
        self._room.sync(journal)
        return journal.path.name, length

    def restore(self, state: Any) -> None:
        """StateDamaged when the state cannot be had any more."""
        if isinstance(state, bytes):
            self._shard.restore(state)
            return
        name, length = state
        self._journal, (base, *changes) = self._room.resume(name, length)
        try:
            self._shard.restore(base)
            self._each = len(base) / max(1, self._shard.size())
            for change in changes:
                work, plain = load(change)
                if work:
                    self._shard.redo(plain)
                else:
                    self._shard.drain(plain)
        except (ValueError, EOFError, TypeError) as fault:
            raise StateDamaged(f"{name}: {fault}") from fault
        self._number = self._room.sweep(self._place, name)

    def _begin(self) -> Journal:
        if self._number < 0:
            self._number = self._room.sweep(self._place, None)
        state = self._shard.state()
        self._each = len(state) / max(1, self._shard.size())
        self._journal = self._room.begin(self._place, self._number, state)
        self._number += 1
        return self._journal

    def _leave(self, journal: Journal) -> None:
        # What waits was applied after the newest epoch, and is part of the state that takes the journal's place.
        self._old.append((self._snapshots, journal))

    def _let_go(self) -> None:
        """An epoch that comes after one has come means that that one is stored."""
        while self._old and self._old[0][0] < self._snapshots - 1:
            journal = self._old.pop(0)[1]
            journal.close()
            journal.path.unlink(missing_ok=True)
