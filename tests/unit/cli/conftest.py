"""A daemon's API on a real socket, with a stand-in behind it, in a thread beside the command."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from streamsd.api.server import serve
from streamsd.cli.main import run
from streamsd.core.settings import Settings
from tests.unit.api.fake_service import FakeService


@dataclass
class Said:
    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, place in (("PROFILE", "p.yaml"), ("STATE_DIR", "state"), ("RUN_DIR", "run"), ("CONFIG", "c.yaml")):
        monkeypatch.setenv(f"STREAMSD_{name}", str(tmp_path / place))
    monkeypatch.setenv("TZ", "UTC")
    return Settings.resolve()


@pytest.fixture
def streamsd(settings: Settings, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run one command line in this process."""

    def command(*arguments: str) -> Said:
        capsys.readouterr()
        code = run(arguments)
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return command


@pytest.fixture
def service(settings: Settings) -> Iterator[FakeService]:
    """The stand-in, being served."""
    fake = FakeService(settings)
    ready = threading.Event()
    ending: list[Callable[[], object]] = []

    async def main() -> None:
        end = asyncio.Event()
        loop = asyncio.get_running_loop()
        ending.append(lambda: loop.call_soon_threadsafe(end.set))
        server = await serve(fake, settings)
        fake.on_down = end.set
        ready.set()
        await end.wait()
        await server.stop()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert ready.wait(60)
    yield fake
    if thread.is_alive():
        ending[0]()
    thread.join(60)
    assert not thread.is_alive()
