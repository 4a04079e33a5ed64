"""Tables of millions of keys: they grow one after another, and the collector does not walk them."""

from __future__ import annotations

import gc
import sys

from streamsd.flow.big import Growth, uncollected
from streamsd.flow.panes import Pane


def test_dicts_that_are_filled_alike_grow_one_after_another() -> None:
    places, step = 64, 100
    dicts: list[dict[object, int]] = [{} for _ in range(places)]
    growths = [Growth() for _ in range(places)]
    most = 0
    for keys in range(step, 50_000, step):
        grown = 0
        for place, (index, growth) in enumerate(zip(dicts, growths, strict=True)):
            before = sys.getsizeof(index)
            index.update((f"{place}-{keys + i}", i) for i in range(step))
            grown += before > 200_000 and sys.getsizeof(index) > before
            if len(index) >= growth.at:
                growth.grow(index, place, places)
        most = max(most, grown)
    assert all(len(index) == keys for index in dicts)
    assert 1 <= most <= 4


def test_a_key_like_the_spare_one_is_kept() -> None:
    index: dict[object, int] = {"\0": 1, "\0\0": 2} | {str(i): i for i in range(5_000)}
    before = dict(index)
    Growth(len(index)).grow(index, 63, 64)
    assert index == before
    assert list(index) == list(before)


def test_cells_are_nothing_to_the_collector() -> None:
    cells = uncollected([])
    cells += range(1000)
    del cells[10:]
    assert not gc.is_tracked(cells)
    made = Pane.of(["a"], [1, 2], 2)
    assert not gc.is_tracked(made.cells)
    assert not gc.is_tracked(Pane().cells)
