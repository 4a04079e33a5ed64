"""Flows that are ended after each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.flow.processes import Flow
from tests.programs_needed import need_bytewax


@pytest.fixture(params=["bytewax", "own-loop"])
def each_driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once on Bytewax, and once without."""
    if request.param == "bytewax":
        need_bytewax()
    monkeypatch.setattr(Flow, "own_loop", request.param == "own-loop")


@pytest.fixture
def flow(tmp_path: Path) -> Iterator[Callable[..., Flow]]:
    """Make a flow: `flow(spec)`, `flow(spec, "another")`."""
    made: list[Flow] = []

    def make(spec: dict[str, Any], name: str = "flow") -> Flow:
        made.append(Flow(tmp_path / name, spec))
        return made[-1]

    yield make
    for one in made:
        one.close()
