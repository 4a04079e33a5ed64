"""A stream's processes by hand: a relay, encoders and readers in a directory of a test's own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from streamsd.core.report import Report, read_report
from streamsd.core.units import Bitrate, Resolution
from streamsd.drivers.ffmpeg.capabilities import bundled
from streamsd.drivers.ffmpeg.media import AudioEncoding, Latency, TestPattern, ToneSource, VideoEncoding
from streamsd.drivers.ffmpeg.render import RelayPorts, encoder
from streamsd.programs.relay.nut import Frame
from streamsd.programs.relay.reader import NutReader

PATIENCE = 60.0
"""Seconds a fact may take on a loaded machine."""

PORTS = RelayPorts("video.in", "audio.in", "progress.sock")


def until(fact: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < deadline, f"not within {PATIENCE:g}s: {what}"
        time.sleep(0.02)


def ffmpeg() -> Path:
    found = bundled()
    assert found is not None, "imageio-ffmpeg has no ffmpeg for this platform"
    return found


def encoder_command(
    size: str = "160x120",
    *,
    fps: float = 15,
    sound: bool = True,
    gop: float = 1.0,
    bitrate: str = "200k",
    latency: Latency = Latency.LOW,
) -> tuple[str, ...]:
    """A small, quick encoder, as the kind Stream would have it."""
    encoding = VideoEncoding(Bitrate.parse(bitrate), "ultrafast", "high", latency, gop, fps, None)
    tone = (ToneSource(440), AudioEncoding(Bitrate(64_000), 48_000, 1)) if sound else None
    pattern = TestPattern("testsrc2", Resolution.parse(size), fps)
    return encoder(ffmpeg(), pattern, encoding, tone, PORTS)


class Reader(threading.Thread):
    """Reads the relay's output until its end. `frames` grows as they come; `data` is all that came."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.nut = NutReader()
        self.frames: list[Frame] = []
        self.data = bytearray()
        self.ended = False
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self.start()

    def run(self) -> None:
        with self._socket:
            while chunk := self._socket.recv(1 << 18):
                self.data += chunk
                self.frames += self.nut.feed(chunk)
        self.ended = True

    def leave(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self.join(PATIENCE)

    def times(self, stream: int = 0) -> list[float]:
        """Seconds of each frame of the stream."""
        header = self.nut.streams[stream] if self.nut.streams else None
        return [f.pts * header.num / header.den for f in list(self.frames) if f.stream == stream] if header else []


class Room:
    """`directory` is short enough for unix sockets."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.processes: list[subprocess.Popen[bytes]] = []
        self.readers: list[Reader] = []
        self.relay = self.start_relay()

    def start(self, argv: Sequence[str], *, log: str = "log") -> subprocess.Popen[bytes]:
        with (self.directory / log).open("ab") as out:
            process = subprocess.Popen(
                argv, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        self.processes.append(process)
        return process

    def start_relay(self) -> subprocess.Popen[bytes]:
        (self.directory / "relay.json").unlink(missing_ok=True)
        relay = self.start(
            [
                *(sys.executable, "-m", "streamsd.programs.relay"),
                *("--input", PORTS.video, "--input", PORTS.audio, "--output", "out.sock"),
                *("--progress", PORTS.progress, "--progress-file", "progress", "--report", "relay.json"),
            ]
        )
        until(lambda: self._listens(relay), "the relay listens")
        return relay

    def _listens(self, relay: subprocess.Popen[bytes]) -> bool:
        assert relay.poll() is None, self.log()
        return self.report() is not None

    def encode(self, **options: object) -> subprocess.Popen[bytes]:
        return self.start(encoder_command(**options))  # type: ignore[arg-type]

    def send(self, data: bytes, port: str = PORTS.video) -> socket.socket:
        """Be an encoder."""
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(self.directory / port))
        sock.sendall(data)
        return sock

    def read(self) -> Reader:
        reader = Reader(self.directory / "out.sock")
        self.readers.append(reader)
        return reader

    def report(self) -> Report | None:
        return read_report(self.directory / "relay.json")

    def observed(self, key: str) -> object:
        report = self.report()
        return report.observed.get(key) if report else None

    def log(self, name: str = "log") -> str:
        return (self.directory / name).read_text(errors="replace")

    def close(self) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for reader in self.readers:
            reader.leave()


@contextlib.contextmanager
def media_room() -> Iterator[Room]:
    with tempfile.TemporaryDirectory(prefix="sd-") as directory:
        room = Room(Path(directory))
        try:
            yield room
        finally:
            room.close()
