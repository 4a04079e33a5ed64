"""Texts for an OBS, by its director: the daemon may be away, and the websocket's password stays where it is.

The director keeps the text as it keeps everything else: an OBS that crashed shows it again, and nobody's repair of a
drift undoes it.
"""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

from streamsd.core.diagnostics import Problem, ProblemsError
from streamsd.core.report import JsonValue
from streamsd.core.unix_socket import within_reach
from streamsd.flow.outputs import Batch
from streamsd.flow.spec.sinks import ObsSink
from streamsd.programs.flow.ends import Place
from streamsd.programs.flow.life import Backoff
from streamsd.programs.flow.outlet import Outlet

_TIMEOUT = 30.0
"""Seconds for an answer: while the director brings OBS to a new document it does nothing else."""
_AGAIN = 3.0
"""Seconds after which a text is tried again whose source there was not."""
_LAST = 3.0
"""Seconds that the newest text is given to be drawn when the flow ends."""


class ObsOutlet(Outlet):
    """`write` never waits: a flow is not held up by a picture. A thread of its own draws the newest text of each
    source, at the rate that is asked for or, if that is slower, as OBS takes them."""

    def __init__(self, spec: ObsSink, place: Place) -> None:
        control = place.around.directors.get(spec.instance)
        if control is None:
            raise ProblemsError([Problem("flow-sink", f"nothing is known of the OBS {spec.instance!r}")])
        self._spec = spec
        self._control = control
        self._lock = threading.Lock()
        self._waiting: dict[str, str] = {}
        self._shown: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        self._some = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._connection: socket.socket | None = None
        self._drawn = 0
        self._passed = 0

    def start(self, position: Any) -> None:
        self._thread = threading.Thread(target=self._draw_on, name="obs", daemon=True)
        self._thread.start()

    def write(self, batch: Batch) -> None:
        newest = {source: text for source, text, _ in batch.items}
        with self._lock:
            self._passed += batch.count - len(newest) + sum(source in self._waiting for source in newest)
            self._waiting.update(newest)
        self._some.set()

    def flush(self) -> Any:
        return None

    def _draw_on(self) -> None:
        backoff = Backoff(0.2, 2.0)
        due = again = 0.0
        while not (self._closing.is_set() and not self._waiting):
            self._some.wait(1.0)
            self._closing.wait(max(0.0, due - time.monotonic()))
            self._some.clear()
            with self._lock:
                texts, self._waiting = self._waiting, {}
            if not self._connected():
                # A director that starts anew knows nothing of what was shown before.
                texts = {**self._shown, **self._refused, **texts}
            elif self._refused and time.monotonic() >= again:
                texts = {**self._refused, **texts}
            elif not texts:
                continue
            due, again = time.monotonic() + 1 / self._spec.rate, time.monotonic() + _AGAIN
            try:
                refused = self._tell(texts)
            except (OSError, ValueError) as fault:
                self.fault = f"{self._spec.instance}: {getattr(fault, 'strerror', None) or fault}"
                with self._lock:
                    self._waiting = {**texts, **self._waiting}
                self._disconnect()
                if self._closing.wait(backoff.next() or 0.2):
                    return
                self._some.set()
                continue
            backoff.reset()
            self._note(texts, refused)

    def _note(self, texts: Mapping[str, str], refused: Mapping[str, str]) -> None:
        shown = {source: text for source, text in texts.items() if source not in refused}
        self._drawn += len(shown)
        self._shown.update(shown)
        self._refused = {s: text for s, text in {**self._refused, **texts}.items() if s in refused or s not in texts}
        self.fault = f"{self._spec.instance}: {'; '.join(refused.values())}" if refused else self.fault
        if not self._refused:
            self.fault = ""

    def _connected(self) -> bool:
        """Whether the director that was told is still there: it never speaks first, so what can be read is an end."""
        if self._connection is None:
            return False
        if select.select([self._connection], [], [], 0)[0]:
            self._disconnect()
            return False
        return True

    def _tell(self, texts: Mapping[str, str]) -> Mapping[str, str]:
        """Which were refused, and why. OSError or ValueError (with the director's words) when it does not work."""
        if self._connection is None:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            self._connection = made
            made.settimeout(_TIMEOUT)
            with within_reach(self._control) as near:
                made.connect(near)
        if not texts:
            return {}
        self._connection.sendall(json.dumps({"do": "text", "texts": texts}).encode() + b"\n")
        data = b""
        while not data.endswith(b"\n"):
            more = self._connection.recv(65536)
            if not more:
                raise ConnectionError("the director ended")
            data += more
        answer = json.loads(data)
        if not answer.get("ok"):
            raise ValueError(answer.get("message") or answer.get("reason") or "the director refuses")
        refused: dict[str, str] = answer.get("refused", {})
        return refused

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def figures(self) -> Mapping[str, JsonValue]:
        return {"drawn": self._drawn, "passed_over": self._passed}

    def close(self) -> None:
        self._closing.set()
        self._some.set()
        if self._thread is not None:
            self._thread.join(_LAST)
        self._disconnect()
