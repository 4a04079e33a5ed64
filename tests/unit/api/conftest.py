"""The API over a real socket, with a stand-in for the daemon behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streamsd.api.server import Server, serve
from streamsd.core.settings import Settings
from tests.unit.api.fake_service import FakeService


@pytest.fixture
def service(tmp_path: Path) -> FakeService:
    return FakeService(Settings.resolve(profile=str(tmp_path / "p.yaml"), run_dir=str(tmp_path / "run")))


@pytest.fixture
async def server(service: FakeService) -> AsyncIterator[Server]:
    running = await serve(service, service.settings)
    yield running
    await running.stop()
