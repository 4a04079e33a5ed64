"""When the processes of a flow are taken as hung, and when not."""

from __future__ import annotations

from streamsd.programs.flow.board import Board, Column
from streamsd.programs.flow.watch import STALL, Watch

NOBODY = (2**22 + 1, 2**22 + 2)
"""Pids that there are none of."""


def watched() -> tuple[Board, Watch]:
    board = Board(2)
    for process in (0, 1):
        board.put(process, Column.READY, 1)
    return board, Watch(board, NOBODY, 0.0)


def pulse(board: Board, now: float, *processes: int) -> None:
    for process in processes:
        board.put(process, Column.PULSE, int(now * 1000))


def looks(board: Board, watch: Watch, begin: float, seconds: float, *living: int, turns: bool = True) -> str:
    """What is told while the parent looks as often as it does, and these processes live."""
    for step in range(1, int(seconds * 10) + 1):
        now = begin + step / 10
        pulse(board, now, *living)
        if turns:
            board.put(0, Column.TURNS, board.get(0, Column.TURNS) + 1)
        told = watch.look(now, {})
        if told:
            return told
    return ""


def test_processes_that_take_turns_are_well_and_one_without_a_pulse_is_not() -> None:
    board, watch = watched()
    assert looks(board, watch, 0, 3 * STALL, 0, 1) == ""
    assert looks(board, watch, 3 * STALL, 2 * STALL, 0) == "process 1 does not run"


def test_processes_that_wait_for_each_other_are_told() -> None:
    board, watch = watched()
    assert "wait for each other" in looks(board, watch, 0, 2 * STALL, 0, 1, turns=False)


def test_time_in_which_the_whole_group_stood_still_says_nothing_of_it() -> None:
    board, watch = watched()
    assert looks(board, watch, 0, 1, 0, 1) == ""
    # A frozen container goes on: the parent looks before anybody else gets to run.
    for later in (100.0, 100.1, 100.2):
        assert watch.look(later, {}) == ""
    assert looks(board, watch, 100.2, 3 * STALL, 0, 1) == ""
    assert looks(board, watch, 100.2 + 3 * STALL, 2 * STALL, 1) == "process 0 does not run"


def test_a_start_that_took_its_time_does_not_count_once_all_are_ready() -> None:
    board = Board(2)
    watch = Watch(board, NOBODY, 0.0)
    assert looks(board, watch, 0, 3 * STALL, 0, 1, turns=False) == ""
    for process in (0, 1):
        board.put(process, Column.READY, 1)
    assert looks(board, watch, 3 * STALL, STALL / 2, 0, 1, turns=False) == ""
    assert "wait for each other" in looks(board, watch, 3.5 * STALL, 2 * STALL, 0, 1, turns=False)
