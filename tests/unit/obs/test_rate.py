"""Bits a second of an output, over its last seconds."""

from __future__ import annotations

from streamsd.programs.director.rate import OVER, Rate


def test_it_is_the_last_seconds_and_begins_anew_with_another_start() -> None:
    rate = Rate()
    assert rate.bits_per_second is None
    rate.read(0, 0.0)
    assert rate.bits_per_second is None, "one reading says nothing"
    for second in range(1, 11):
        rate.read(second * 1000, float(second))
    assert rate.bits_per_second == 8000
    for second in range(11, 11 + round(OVER) + 1):
        rate.read(10_000 + (second - 10) * 3000, float(second))
    assert rate.bits_per_second == 24_000, "what was before does not count for ever"
    rate.read(500, 20.0)
    assert rate.bits_per_second is None
    rate.read(1500, 21.0)
    assert rate.bits_per_second == 8000
    rate.end()
    assert rate.bits_per_second is None
