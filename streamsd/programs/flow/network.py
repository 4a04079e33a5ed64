"""The event loop that all network ends of a flow share, in a thread of its own; TLS; addresses."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Coroutine, Mapping
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any, TypeVar

from streamsd.flow.spec.words import Tls
from streamsd.programs.flow.telling import log

T = TypeVar("T")


def connect_words(fault: BaseException) -> str:
    """Why a connection was not made, without the number that the system gives it."""
    if isinstance(fault, ConnectionRefusedError):
        return "the connection was refused"
    return (fault.strerror if isinstance(fault, OSError) else None) or str(fault)


class Network:
    """Starts the loop at its first use. `call` and `run` may be used from any other thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                loop.set_exception_handler(_told)
                threading.Thread(target=loop.run_forever, name="network", daemon=True).start()
                self._loop = loop
            return self._loop

    def spawn(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run it beside everything else."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def run(self, work: Coroutine[Any, Any, T], timeout: float = 30.0) -> T:
        """Run it, and wait for its result. TimeoutError when that takes too long."""
        return self.spawn(work).result(timeout)

    def settle(self, work: Coroutine[Any, Any, object], timeout: float = 5.0) -> None:
        """Run what tidies up at the end: it may take that long, and it may fail."""
        future = self.spawn(work)
        wait([future], timeout)
        future.cancel()

    def soon(self, function: Any, *arguments: Any) -> None:
        """Call a function in the loop's thread."""
        self.loop.call_soon_threadsafe(function, *arguments)


def _told(loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """One line of what asyncio would print a traceback of: handshakes that failed, such as those of a port scan."""
    fault = context.get("exception")
    if isinstance(fault, type):
        fault = fault()  # picows gives the class alone
    log("network-fault", message=str(context.get("message", "")), error=f"{type(fault).__name__}: {fault}".rstrip(": "))


def address(listen: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:9000`, `[::1]:9000` or `:9000`."""
    host, _, port = listen.rpartition(":")
    return host.strip("[]") or "0.0.0.0", int(port)


def client_context(tls: Tls | None, base: Path) -> ssl.SSLContext | None:
    """OSError or ssl.SSLError when a file cannot be used."""
    if tls is None:
        return None
    context = ssl.create_default_context(cafile=str(base / tls.ca) if tls.ca else None)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert:
        context.load_cert_chain(base / tls.cert, base / tls.key if tls.key else None)
    return context


def server_context(tls: Tls | None, base: Path) -> ssl.SSLContext | None:
    """A server needs a certificate; with `ca`, clients must show one of that authority."""
    if tls is None:
        return None
    if not tls.cert:
        raise OSError("a server's tls needs a cert")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(base / tls.ca) if tls.ca else None)
    context.load_cert_chain(base / tls.cert, base / tls.key if tls.key else None)
    if tls.ca:
        context.verify_mode = ssl.CERT_REQUIRED
    return context
