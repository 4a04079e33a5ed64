"""Units of measure at their ends."""

from __future__ import annotations

import pytest

from streamsd.core.units import Seconds


@pytest.mark.parametrize("text", ["9" * 400 + "d", "99999999999w", "1000000000000s"])
def test_a_span_beyond_all_clocks_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^[0-9.e+inf]+$"):
        Seconds.parse(text)


def test_a_span_is_read_back_as_written() -> None:
    assert [str(Seconds.parse(text)) for text in ("500ms", "90s", "7d", "1h30m")] == ["500ms", "90s", "1w", "90m"]
