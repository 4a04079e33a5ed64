"""The end of sources and sinks."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Protocol

from streamsd.programs.flow.telling import log


class Closes(Protocol):
    """`closes_within`: seconds that `close` may take. Whom it waits for longer may be gone, and everything that has to
    be kept was stored before."""

    closes_within: float

    def close(self) -> None: ...


def close_all(ends: Mapping[str, Closes]) -> None:
    """Close them side by side. One that fails or takes too long is told by its name, and left alone."""
    began = time.monotonic()
    threads = {name: threading.Thread(target=_close, args=(name, end), daemon=True) for name, end in ends.items()}
    for thread in threads.values():
        thread.start()
    for name, thread in threads.items():
        thread.join(max(0.0, began + ends[name].closes_within - time.monotonic()))
        if thread.is_alive():
            log("close-abandoned", end=name)


def _close(name: str, end: Closes) -> None:
    try:
        end.close()
    except Exception as fault:  # noqa: BLE001  # a client library's: the others are closed all the same
        log("close-failed", end=name, error=type(fault).__name__, message=str(fault))
