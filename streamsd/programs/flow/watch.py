"""Whether the processes of a flow still get on with each other.

Bytewax notices a process that ends. It does not notice one that is stopped, or a connection over which nothing comes:
the others wait, without a word.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from streamsd.programs.flow.board import Board, Column

STALL = 4.0
"""Seconds in which nothing happens at all."""
START = 30.0
"""The same while they start."""
_GAP = 0.5
"""Seconds between two looks, at most, as long as the parent runs."""


class Watch:
    """`look` is called a few times a second."""

    def __init__(self, board: Board, pids: Sequence[int], now: float) -> None:
        self._board = board
        self._pids = pids
        self._turns = list(board.column(Column.TURNS))
        self._moved = now
        self._ticks = [0] * len(pids)
        self._alive = [now] * len(pids)
        self._looked = now
        self._ready = False

    def look(self, now: float, ended: Collection[int]) -> str:
        """What is wrong, in words, or nothing. `now`: monotonic seconds. `ended`: processes at their end."""
        # Time in which nobody looked, the whole group being paused (a frozen container, a host that stands still), says
        # nothing of anybody.
        missed = max(0.0, now - self._looked - _GAP)
        self._looked = now
        self._moved += missed
        self._alive = [seen + missed for seen in self._alive]
        return self._frozen(now, ended) or self._waiting(now)

    def _frozen(self, now: float, ended: Collection[int]) -> str:
        """A process whose threads do not run at all: it is stopped, or hangs in the kernel."""
        for process, pid in enumerate(self._pids):
            pulse = self._board.get(process, Column.PULSE) / 1000
            if now - pulse < STALL or process in ended:
                self._alive[process] = now
                continue
            state, ticks = _state_of(pid)
            if ticks != self._ticks[process] and state not in "Tt":
                # Somebody's code holds the interpreter: it works, and it is not for us to say for how long.
                self._ticks[process], self._alive[process] = ticks, now
            elif now - self._alive[process] > (STALL if self._board.get(process, Column.READY) else START):
                return f"process {process} {'is stopped' if state in 'Tt' else 'does not run'}"
        return ""

    def _waiting(self, now: float) -> str:
        """All wait in Bytewax, each for another: what one has sent does not come to the other."""
        turns = self._board.column(Column.TURNS)
        inside = any(self._board.column(Column.INSIDE))
        if inside or turns != self._turns or self._board.all(Column.DONE):
            self._turns, self._moved = turns, now
        if self._board.all(Column.READY) and not self._ready:
            self._ready, self._moved = True, now  # what a start took is over
        patience = STALL if self._ready else START
        if now - self._moved > patience:
            stopped = [process for process, pid in enumerate(self._pids) if _state_of(pid)[0] in "Tt"]
            if stopped:
                return f"process {stopped[0]} is stopped"
            if any(map(_in_disk, self._pids)):
                # An epoch is stored on a disk that is slow, or stands still for a while: a single process waits too.
                self._moved = now - patience / 2  # and it has time for what is then left of the epoch
                return ""
            return f"the processes wait for each other since {patience:.0f} s: a connection between them is cut"
        return ""


def _state_of(pid: int) -> tuple[str, int]:
    """(the kernel's letter for the process' state, ticks of processor time)."""
    try:
        parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "X", 0
    return parts[0], int(parts[11]) + int(parts[12])


def _in_disk(pid: int) -> bool:
    """Whether a thread of the process waits for a disk."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return any((thread / "stat").read_text().rpartition(")")[2].split()[0] == "D" for thread in threads)
    except OSError:
        return False
