"""An RTMP server, and pictures of what is on air."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import pytest

from tests.contract.obs_rig import free_port
from tests.programs_needed import need


class RtmpServer:
    """ffmpeg as a server, one stream after the other, each into a file of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.url = f"rtmp://127.0.0.1:{self.port}/live"
        self.process: subprocess.Popen[bytes] | None = None
        self._wanted = False
        self._thread: threading.Thread | None = None
        self.served = 0

    def up(self) -> None:
        self._wanted = True
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def down(self) -> None:
        self._wanted = False
        if self.process is not None:
            self.process.kill()
        if self._thread is not None:
            self._thread.join(60)

    def bytes(self) -> int:
        """Received in all."""
        return sum(path.stat().st_size for path in self.directory.glob("*.flv"))

    def streams(self) -> list[Path]:
        """What was received, a file for each stream, in their order."""
        found = [path for path in self.directory.glob("*.flv") if path.stat().st_size > 0]
        return sorted(found, key=lambda path: int(path.stem))

    def key(self, stream: Path) -> str:
        """The key that a stream came with."""
        said = re.search(
            "Unexpected stream (.*), expecting any", stream.with_suffix(".log").read_text(errors="replace")
        )
        return said[1] if said else "any"

    def _serve(self) -> None:
        while self._wanted:
            self.served += 1
            target = str(self.directory / f"{self.served}.flv")
            argv = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-loglevel", "warning", "-listen", "1"]
            argv += ["-i", f"{self.url}/any", "-c", "copy", "-flush_packets", "1", "-y", target]
            with Path(target).with_suffix(".log").open("wb") as log:
                self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=log)
            self.process.wait()


@pytest.fixture
def rtmp(tmp_path: Path) -> Iterator[RtmpServer]:
    server = RtmpServer(tmp_path)
    yield server
    server.down()


@pytest.fixture(autouse=True, scope="package")
def _needed() -> None:
    """What every test here needs."""
    need("obs")
    need("Xvfb")
