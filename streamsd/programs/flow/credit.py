"""How much is on the way between the processes of a flow.

Bytewax holds a source back only when an epoch ends: until then it takes in what the slowest sink has to write one day,
and keeps it in memory. And when an epoch has ended and another process is not done with it, Bytewax waits in a loop
that takes a whole core. So each process counts what it hands over and what it is done with: the sources wait while more
than a few megabytes are on the way, and an epoch does not end while others still have much to do.
"""

from __future__ import annotations

from typing import Any

from streamsd.flow.keyed import KeyedWork
from streamsd.flow.outputs import Batch
from streamsd.programs.flow.board import Column
from streamsd.programs.flow.member import Member

MOST = 16 * 1024 * 1024
"""Bytes, about, on the way: no more is taken in."""
MUCH = 256 * 1024
"""So much takes longer than the end of an epoch should."""
_STATE, _ROW = 200, 300
"""What a key's partial state, and a row, come to."""


class Credit:
    """Of one process."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._board = member.board
        self._taken = 0

    def give(self, to: int, size: int) -> None:
        """It is on its way to a shard or sink of that process."""
        self._board.send(self._member.number, to, size)

    def take(self, size: int) -> None:
        """It is done with."""
        self._taken += size
        self._member.tell(Column.TAKEN, self._taken)

    @property
    def used_up(self) -> bool:
        """Whether no more should be taken in now."""
        return sum(map(self._board.waiting, range(self._board.of))) > MOST

    @property
    def much(self) -> bool:
        """Whether anybody has much to do."""
        return any(self._board.waiting(process) > MUCH for process in range(self._board.of))

    @property
    def others_busy(self) -> bool:
        """Whether others have much to do, and this process nothing."""
        me = self._member.number
        if self._board.waiting(me):
            return False
        return any(self._board.waiting(process) > MUCH for process in range(self._board.of) if process != me)


def weight_of_work(work: Any) -> int:
    """Of what goes to a shard, or passes by them."""
    match work:
        case KeyedWork(rows=rows):
            return _ROW * (1 + len(rows))
        case rows, letters:
            return _ROW * (len(rows) + len(letters)) + sum(len(letter.raw) for letter in letters)
        case _:
            return _STATE * (1 + sum(len(states) for *_, states in work.adds))


def weight_of_batch(batch: Batch) -> int:
    """Of what goes to a sink."""
    if batch.block:
        return len(batch.block)
    first = batch.items[0] if batch.items else b""
    last = first[-1] if isinstance(first, tuple) and first else first
    return batch.count * (_ROW + (len(last) if isinstance(last, bytes | str) else 0))
