"""Requests to a flow of several processes: each is asked, and they are answered as if there were one.

A live change is made by all or by none (`changes`): the coordinator asks all to get ready, counts their votes on the
board, and writes the verdict there. When one refuses, ends, or is not ready in time, nobody changes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from pathlib import Path
from typing import Any

from streamsd.flow.asking import ask
from streamsd.flow.spec.flow import FlowSpec
from streamsd.flow.split import digest, joined, split
from streamsd.flow.taps import summed
from streamsd.programs.flow.board import Board, Column
from streamsd.programs.flow.letters import Cabinet
from streamsd.programs.flow.telling import log

Answer = Mapping[str, Any]
_READY = 12.0
"""Seconds in which all must be ready for a change: each has ten to come to the end of a batch."""
_TAKEN = 2.0
"""Seconds in which the answer waits for all to have taken it. Then it says so anyhow: they will."""
_LISTENS = 10.0
"""Seconds in which a process that was just started listens for requests."""


class _Silent(dict[str, Any]):
    """In the place of the answer of a process that gave none: why."""

    def __init__(self, process: int, fault: Exception) -> None:
        super().__init__(error=f"process {process} does not answer: {fault}")


class Coordinator:
    """`spec`: what all of them run; `live`: the digest of what of it is live. `sockets`: the directory with that of
    each process. `ended`: whether a process has ended."""

    def __init__(self, spec: FlowSpec, board: Board, sockets: Path, ended: Callable[[int], bool]) -> None:
        self.spec = spec
        self.live = digest(split(spec)[1])
        self._board = board
        self._sockets = sockets
        self._ended = ended
        # As many at once as people may ask: taps take a while.
        self._pool = ThreadPoolExecutor(max_workers=8 * board.of, thread_name_prefix="ask")
        self._changing = threading.Lock()
        self._number = 0

    def socket(self, number: int) -> Path:
        """Where a process is asked."""
        return self._sockets / str(number)

    def ask_all(self, request: Mapping[str, Any], timeout: float) -> list[Answer]:
        """Every process's answer; one that gives none is an error in words."""
        return [future.result() for future in self._asked(request, timeout)]

    def _asked(self, request: Mapping[str, Any], timeout: float) -> list[Future[Answer]]:
        return [self._pool.submit(self._ask, number, request, timeout) for number in range(self._board.of)]

    def _ask(self, number: int, request: Mapping[str, Any], timeout: float) -> Answer:
        end = time.monotonic() + min(timeout, _LISTENS)
        while True:
            try:
                return ask(self.socket(number), request, timeout)
            except (FileNotFoundError, ConnectionRefusedError) as fault:
                # Just forked, it does not listen yet.
                if self._ended(number) or time.monotonic() > end:
                    return _Silent(number, fault)
                time.sleep(0.02)
            except (OSError, ValueError) as fault:
                return _Silent(number, fault)

    # --- live changes

    def patch(self, live: Any) -> Answer:
        """All take it, each between two batches of its own, or nobody does and it is told why."""
        with self._changing:
            busy = self._busy()
            if busy:
                return {"error": f"process {busy[0]} has not taken the change before this one yet"}
            self._number = number = self._number + 1
            accepted = False
            asked: list[Future[Answer]] = []
            try:
                asked = self._asked({"do": "patch", "live": live, "number": number}, 60.0)
                accepted = self._agreed(number, asked)
            finally:
                self._board.decide(number if accepted else -number)
            wait_for(asked, _TAKEN)
            if not accepted:
                return self._why(number, asked)
            self.spec = joined(split(self.spec)[0], live)
            self.live = digest(live)
        log("flow-patched", live=self.live)
        return {"ok": True, "live": self.live}

    def _busy(self) -> Sequence[int]:
        """The processes that have not taken yet what was decided last."""
        last = self._board.verdict
        changed = self._board.column(Column.CHANGED)
        return [number for number, taken in enumerate(changed) if last > 0 and taken != last]

    def _agreed(self, number: int, asked: Sequence[Future[Answer]]) -> bool:
        """Whether all are ready for it. One that has answered already has refused, or is gone."""
        end = time.monotonic() + _READY
        while time.monotonic() < end:
            votes = self._board.column(Column.VOTE)
            if any(map(Future.done, asked)) or -number in votes or any(map(self._ended, range(self._board.of))):
                return False
            if all(vote == number for vote in votes):
                return True
            time.sleep(0.002)
        return False

    def _why(self, number: int, asked: Sequence[Future[Answer]]) -> Answer:
        """The words of who refused, or of who is gone or late."""
        votes = self._board.column(Column.VOTE)
        answers = {process: future.result() for process, future in enumerate(asked) if future.done()}
        for process, answer in answers.items():
            if votes[process] == -number or isinstance(answer, _Silent):
                return answer
        gone = next(filter(self._ended, range(self._board.of)), None)
        if gone is not None:
            return {"error": f"process {gone} has ended"}
        late = next((process for process, vote in enumerate(votes) if abs(vote) != number), 0)
        return {"error": f"process {late} did not get ready for the change in time"}

    # --- the others

    def tap(self, request: Mapping[str, Any]) -> Answer:
        """What all of them see at a place; an error only where none of them can look there."""
        answers = self.ask_all(request, 100.0)
        seen = [answer for answer in answers if answer.get("ok")]
        return summed(seen, int(request.get("count", 10))) if seen else answers[0]

    def replay(self, cabinet: Cabinet) -> Answer:
        """Each process takes the letters of its own sources."""
        last = None
        for place, _, _ in cabinet.open_letters():
            last = place
        if last is None:
            return {"ok": True, "replayed": 0, "left": 0}
        answers = self.ask_all({"do": "replay", "until": list(last)}, 100.0)
        wrong = next((answer for answer in answers if not answer.get("ok")), None)
        if wrong is not None:
            return wrong
        cabinet.set_mark(last)
        return {"ok": True, "replayed": sum(a["replayed"] for a in answers), "left": answers[0]["left"]}
