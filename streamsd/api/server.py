"""Serving the application on the unix socket, inside the daemon's own loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn

from streamsd.api.app import create_app
from streamsd.api.peer import PeerProtocol
from streamsd.core import unix_socket
from streamsd.core.service import Service
from streamsd.core.settings import Settings

_QUEUE = 2048
"""Connections that may wait to be accepted: one more is refused at once, whoever comes."""
_AT_ONCE = 64
"""Those that asyncio accepts in one go, which it takes from the same figure when it begins to listen: a whole queue
would have all of the daemon's descriptors before anyone has counted them."""


class _Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers, which are the daemon's, and without its ten wake-ups a second."""

    def __init__(self, config: uvicorn.Config, closing: asyncio.Event) -> None:
        super().__init__(config)
        self._closing = closing
        self.listening = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        self.listening.set()
        await self._closing.wait()


class Server:
    """The API's server. `stop` ends following streams, waits a moment for answers under way, removes the socket."""

    def __init__(self, service: Service, settings: Settings) -> None:
        self._settings = settings
        self._closing = asyncio.Event()
        config = uvicorn.Config(
            create_app(service, self._closing),
            http=PeerProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=2,
            backlog=_AT_ONCE,
        )
        self._uvicorn = _Uvicorn(config, self._closing)
        self._task: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None
        self._inode = 0

    async def start(self) -> None:
        """Returns once it listens. OSError: another daemon listens there, or the directory cannot be written."""
        path = self._settings.api_socket
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._socket = unix_socket.listen(path)
        self._inode = path.stat().st_ino
        self._task = asyncio.create_task(self._uvicorn.serve([self._socket]), name="api")
        listening = asyncio.create_task(self._uvicorn.listening.wait())
        await asyncio.wait({self._task, listening}, return_when=asyncio.FIRST_COMPLETED)
        self._socket.listen(_QUEUE)
        if self._task.done():
            listening.cancel()
            self._task.result()

    async def stop(self) -> None:
        """Safe to call twice, and before `start`."""
        self._closing.set()
        if self._task is None:
            return
        await self._task
        self._task = None
        with contextlib.suppress(FileNotFoundError):
            if self._settings.api_socket.stat().st_ino == self._inode:  # else it is another daemon's by now
                self._settings.api_socket.unlink()


async def serve(service: Service, settings: Settings) -> Server:
    """A started server."""
    server = Server(service, settings)
    await server.start()
    return server
