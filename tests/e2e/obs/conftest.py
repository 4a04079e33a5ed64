"""An RTMP server, and pictures of what is on air."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import pytest

from tests.contract.obs_rig import free_port


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

    def _serve(self) -> None:
        while self._wanted:
            self.served += 1
            target = str(self.directory / f"{self.served}.flv")
            argv = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-loglevel", "error", "-listen", "1"]
            argv += ["-i", f"{self.url}/any", "-c", "copy", "-flush_packets", "1", "-y", target]
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.process.wait()


@pytest.fixture
def rtmp(tmp_path: Path) -> Iterator[RtmpServer]:
    server = RtmpServer(tmp_path)
    yield server
    server.down()
