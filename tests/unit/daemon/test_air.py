"""What is on the air is interrupted by nobody unasked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streamsd.core.service import Refused
from streamsd.daemon.air import Air
from streamsd.testing import Scenario, things


@pytest.fixture
async def s(tmp_path: Path) -> AsyncIterator[Scenario]:
    async with Scenario(tmp_path) as scenario:
        yield scenario


async def on_air(s: Scenario) -> Air:
    s.thing.on_air["a"] = "streaming"
    await s.apply(things(a={"level": 1}, b={}), 5)
    return Air(s.reconciler.world)


async def test_what_would_interrupt_it_is_refused_and_nothing_else(s: Scenario) -> None:
    air = await on_air(s)
    air.guard(s.preview(things(a={"level": 2}, b={"size": "large"})))
    with pytest.raises(Refused, match=r"Thing/a \(streaming\): restart because size small -> large") as refused:
        air.guard(s.preview(things(a={"level": 1, "size": "large"}, b={})))
    assert (refused.value.status, refused.value.answer["error"]) == (409, "would-interrupt")


async def test_what_was_refused_is_due_when_it_is_over(s: Scenario) -> None:
    air = await on_air(s)
    assert not air.is_over()
    with pytest.raises(Refused):
        air.guard(s.preview(things(b={})))
    assert not air.is_over(), "nobody said that it is to wait"
    air.wait()
    assert not air.is_over()
    s.thing.on_air.clear()
    await s.advance(5)
    assert air.is_over()
    air.wait_no_more()
    assert not air.is_over()
