"""Flows that are ended after each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.flow.processes import Flow


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
