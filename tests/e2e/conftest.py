"""A host for each test that asks for one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import host as hosts


@pytest.fixture
def host() -> Iterator[hosts.Host]:
    # unix sockets have short names: pytest's own directories are too deep
    with tempfile.TemporaryDirectory(prefix="sd-") as directory, hosts.host(Path(directory)) as made:
        yield made
