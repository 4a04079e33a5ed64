"""ffmpeg's `-progress`, taken in over a socket and kept as its newest block.

Written to a file by ffmpeg itself it would only ever grow: 40 MB a day and stream, in memory.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from streamsd.core.report import JsonValue
from streamsd.programs.relay.sockets import listen

_END = b"progress="
_FIGURES = {"speed": "speed", "drop_frames": "dropped_frames", "dup_frames": "duplicated_frames", "frame": "frames"}


class Progress:
    """Listens at `path`; `file` always holds the newest whole block, in ffmpeg's own form, and no other."""

    def __init__(self, path: Path, file: Path) -> None:
        self.path = path
        self.listener = listen(path)
        self._file = file
        self._inputs: dict[int, tuple[socket.socket, bytearray]] = {}
        self._block: dict[str, str] = {}
        file.unlink(missing_ok=True)

    def fileno(self) -> int:
        return self.listener.fileno()

    def add(self, sock: socket.socket) -> None:
        """A new encoder: what the last one said no longer holds."""
        self._inputs[sock.fileno()] = (sock, bytearray())
        self._block = {}
        self._file.unlink(missing_ok=True)

    def read(self, fd: int) -> bool:
        """Take in what came. False at the end."""
        sock, buffer = self._inputs[fd]
        try:
            data = sock.recv(65536)
        except BlockingIOError:
            return True
        except OSError:
            return False
        buffer += data
        end = buffer.rfind(_END)
        line = buffer.find(b"\n", end)
        if end >= 0 and line >= 0:
            begin = buffer.rfind(_END, 0, end)
            begin = buffer.find(b"\n", begin) + 1 if begin >= 0 else 0
            self._keep(bytes(buffer[begin : line + 1]))
            del buffer[: line + 1]
        return bool(data)

    def remove(self, fd: int) -> None:
        self._inputs.pop(fd)[0].close()

    def figures(self) -> dict[str, JsonValue]:
        """Counts and speed of the encoder now, as numbers; what it does not say is left out."""
        found: dict[str, JsonValue] = {}
        for key, name in _FIGURES.items():
            with contextlib.suppress(KeyError, ValueError):
                text = self._block[key].rstrip("x")
                found[name] = float(text) if key == "speed" else int(text)
        return found

    def _keep(self, block: bytes) -> None:
        pairs = (line.split("=", 1) for line in block.decode("utf-8", "replace").splitlines() if "=" in line)
        self._block = {key.strip(): value.strip() for key, value in pairs}
        part = self._file.with_name(f".{self._file.name}.part")
        with contextlib.suppress(OSError):
            part.write_bytes(block)
            os.replace(part, self._file)
