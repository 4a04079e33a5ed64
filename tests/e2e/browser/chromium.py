"""A headless Chromium, driven over its DevTools protocol."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import websocket

from tests.programs_needed import need

PATIENCE = 90.0

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
)


class Chromium:
    """One page. `said` is what it wrote to its console, and the exceptions that nobody caught."""

    def __init__(self, address: str) -> None:
        self.said: list[str] = []
        self._socket = websocket.create_connection(address, timeout=PATIENCE)
        self._number = 0
        for domain in ("Runtime", "Page", "Log"):
            self._call(f"{domain}.enable")

    def open(self, url: str) -> None:
        self._call("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, or of the promise that it is. AssertionError when it throws."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression: str, what: str) -> Any:
        """Wait until an expression is true, and give its value."""
        deadline = time.monotonic() + PATIENCE
        while not (found := self.evaluate(expression)):
            assert time.monotonic() < deadline, f"not within {PATIENCE:g}s: {what}; the page said {self.said[-10:]}"
            time.sleep(0.1)
        return found

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]  # type: ignore[no-any-return]
            if message.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
                self.said.append(json.dumps(message["params"])[:500])

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def chromium() -> Iterator[Chromium]:
    """A browser with nothing in it; gone afterwards, with all its processes."""
    program = need("chromium")
    with tempfile.TemporaryDirectory(prefix="sd-browser-", ignore_cleanup_errors=True) as directory:
        process = subprocess.Popen(
            [program, *_FLAGS, f"--user-data-dir={directory}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            page = Chromium(_page(process, Path(directory) / "DevToolsActivePort"))
            try:
                yield page
            finally:
                page.close()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _page(process: subprocess.Popen[bytes], port_file: Path) -> str:
    deadline = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None, f"chromium ended with {process.returncode}"
        assert time.monotonic() < deadline, "chromium opened no DevTools port"
        with contextlib.suppress(OSError, IndexError, StopIteration, ValueError):
            port = int(port_file.read_text().split()[0])
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
                pages = json.load(answer)
            return str(next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page"))
        time.sleep(0.1)
