"""What the processes of a flow take over from those that ran before, when they are as many or of another number.

Each process stores, with the same epoch as all others: the positions of what it read, the greatest times, memories, and
its front. A start takes place in the processes one after the other, and a crash may come in between: then some states
are of the newest run and some of an older one, and states of processes that are no more stay in the store for ever.
Therefore each entry carries the number of the run that wrote it, and the newest wins; entries that belong to another
process are kept until it has written its own; and each state names the fronts whose content it has taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from streamsd.flow.watermark import UNKNOWN

Slice = tuple[str, str]
"""A source, and the part of it; `""` for all of it."""
Owner = Callable[[str, str], int]
"""(source, part) to the number of the process that reads it."""


@dataclass(slots=True)
class Held:
    """What a process stores. `run`: of the start that wrote it; `of`: how many processes there were.

    The values of `positions`, `times` and `memories` are (run, value); `times` has the source and partition by name.
    """

    number: int
    run: int
    of: int
    positions: dict[Slice, tuple[int, Any]] = field(default_factory=dict)
    times: dict[str, tuple[int, int]] = field(default_factory=dict)
    memories: dict[str, tuple[int, Any]] = field(default_factory=dict)
    front: bytes = b""
    mark: int = UNKNOWN
    """What the front has promised: it takes nothing before that."""
    floor: int = UNKNOWN
    """What all had promised when this run began: the same in every state of a run."""
    until: int = UNKNOWN
    """The farthest that any had promised when this run began."""
    taken: frozenset[tuple[int, int]] = frozenset()
    """(number, run) of the states whose front lives on elsewhere."""


@dataclass(slots=True)
class Inheritance:
    """What one process begins with. `own`: the state of its front. `fronts`: those of processes that are no more, to be
    taken over. `moved`: the number of processes changed. `floor`, `until`: see Held. `foreign`: entries that belong to
    others, to be stored until they do it."""

    own: bytes = b""
    fronts: list[bytes] = field(default_factory=list)
    moved: bool = False
    floor: int = UNKNOWN
    until: int = UNKNOWN
    positions: dict[Slice, Any] = field(default_factory=dict)
    times: dict[str, int] = field(default_factory=dict)
    memories: dict[str, Any] = field(default_factory=dict)
    foreign: Held | None = None
    taken: frozenset[tuple[int, int]] = frozenset()


def inherit(states: Iterable[Held | None], number: int, of: int, run: int, owner: Owner) -> Inheritance:
    """What process `number` of `of` begins with. `states`: those of all processes that there ever were."""
    found = [state for state in states if state is not None]
    void = frozenset(mark for state in found for mark in state.taken)
    alive = [state for state in found if (state.number, state.run) not in void]
    made = Inheritance()
    made.moved = any(state.of != of for state in alive)
    made.taken = void & {(state.number, state.run) for state in found}
    made.floor = _floor(alive)
    made.until = max((max(state.mark, state.until) for state in alive), default=UNKNOWN)
    for state in alive:
        if state.number % of != number:
            continue
        made.taken |= {(state.number, state.run)}
        if state.number == number:
            made.own = state.front
        elif state.front:
            made.fronts.append(state.front)
    made.foreign = Held(number, run, of)
    for key, (wrote, value) in _newest(found, lambda state: state.positions).items():
        if owner(*key) == number:
            made.positions[key] = value
        else:
            made.foreign.positions[key] = (wrote, value)
    for name, (wrote, ticks) in _newest(found, lambda state: state.times, least=True).items():
        source, _, part = name.partition("/")
        if owner(source, part) == number:
            made.times[name] = ticks
        else:
            made.foreign.times[name] = (wrote, ticks)
    for name, (wrote, value) in _newest(found, lambda state: state.memories).items():
        if number == 0:
            made.memories[name] = value
        else:
            made.foreign.memories[name] = (wrote, value)
    return made


def _floor(alive: Sequence[Held]) -> int:
    """What every shard knows to be promised. As long as not all processes of a run have begun, nothing closes."""
    last = [state for state in alive if state.run == max(state.run for state in alive)]
    if not last:
        return UNKNOWN
    if len(last) == last[0].of:
        return min(state.mark for state in last)
    return last[0].floor


def _newest(states: Sequence[Held], entries: Callable[[Held], Any], least: bool = False) -> dict[Any, tuple[int, Any]]:
    """The newest of each entry. `least`: of those of one run, the least; what has the same name in two processes is
    a source that both read from."""
    made: dict[Any, tuple[int, Any]] = {}
    for state in states:
        for key, (wrote, value) in entries(state).items():
            known = made.get(key)
            if known is None or wrote > known[0] or (least and wrote == known[0] and value < known[1]):
                made[key] = (wrote, value)
    return made
