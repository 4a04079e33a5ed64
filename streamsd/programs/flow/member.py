"""One process of a flow, among the others: its number, the shared board, and what is handed over at a start."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from streamsd.flow.inherit import Held
from streamsd.programs.flow.board import Board, Column

_LONGEST = 4000
"""Characters of a message: a pipe takes 64 KiB at least."""


class Words:
    """A pipe for a process' last words, made before it is forked. They are there after it has ended."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def leave(self, reason: str, message: str) -> None:
        """What comes first counts, and nothing waits for it to be read."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._in, json.dumps([reason, message[:_LONGEST]]).encode() + b"\n")

    def read(self) -> tuple[str, str] | None:
        """(reason, message), or nothing."""
        with contextlib.suppress(BlockingIOError):
            line, end, _ = os.read(self._out, 1 << 16).partition(b"\n")
            if end:
                reason, message = json.loads(line)
                return reason, message
        return None


@dataclass
class Member:
    """`run`: counts the starts. `ever`: how many processes this state has known at most. `addresses`: of the cluster,
    empty for a process alone. `handover`: a private directory of this run, through which the stored states, that
    Bytewax gives each process, come to all; None: alone. `words`: where it says what went wrong, for the parent: no
    file, since it may be the disk that did."""

    number: int
    of: int
    run: int
    ever: int
    board: Board
    addresses: Sequence[str] = ()
    handover: Path | None = None
    words: Words | None = None
    _states: dict[int, Held | None] = field(default_factory=dict)

    @classmethod
    def alone(cls, run: int, ever: int) -> Member:
        return cls(0, 1, run, ever, Board(1))

    def parts(self) -> list[int]:
        """The numbers of the processes, of now and before, whose states come here."""
        return [number for number in range(self.ever) if number % self.of == self.number]

    def tell(self, column: Column, value: int) -> None:
        self.board.put(self.number, column, value)

    def fail(self, reason: str, message: str) -> None:
        """Leave word of what went wrong here."""
        if self.words is not None:
            self.words.leave(reason, message)

    def give(self, number: int, state: Held | None) -> None:
        """A state that came here, for all."""
        self._states[number] = state
        if self.handover is not None:
            path = self.handover / str(number)
            part = path.with_suffix(".part")
            part.write_bytes(pickle.dumps(state, 5))
            os.replace(part, path)

    def states(self) -> list[Held | None] | None:
        """All states, once all are there."""
        for number in range(self.ever):
            if number in self._states:
                continue
            if self.handover is None:
                return None
            try:
                # Only ever what `give` wrote, into a private directory of this run.
                self._states[number] = pickle.loads((self.handover / str(number)).read_bytes())  # noqa: S301
            except FileNotFoundError:
                return None
        return [self._states[number] for number in range(self.ever)]
