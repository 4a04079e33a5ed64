"""When an OBS counts as hanging, and saying so: in a file, which the runtime's watch over OBS looks at.

It must not be this director that is slow. So silence counts only when two questions in a row were given their whole
time, each by a wait of its own; and a director that hangs itself writes nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_QUESTIONS = 2


class Patience:
    """`complaint`: the file; None for an OBS of somebody else's, which nobody of ours can start anew. `monotonic`: the
    clock."""

    def __init__(self, complaint: Path | None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._complaint = complaint
        self._since: float | None = None
        self._unanswered = 0
        self._said = ""
        self._retract()  # what an earlier director said

    def answered(self) -> None:
        """OBS answers, or has ended: what was said of it no longer holds."""
        self._since, self._unanswered = None, 0
        if self._said:
            self._retract()

    def silent(self, since: float, within: float) -> None:
        """A question asked at `since` (monotonic) got no answer in the time that it was given. `within`: seconds of
        silence after which OBS hangs."""
        self._since = since if self._since is None else min(self._since, since)
        self._unanswered += 1
        silence = self._monotonic() - self._since
        if self._unanswered >= _QUESTIONS and silence >= within:
            self.complain(f"OBS has not answered for {silence:.0f} s")

    def complain(self, words: str) -> None:
        """OBS is to be started anew."""
        if self._complaint is None or self._said == words:
            return
        self._said = words
        part = self._complaint.with_name(f".{self._complaint.name}.part")
        with suppress(OSError):  # said again the next time
            part.write_text(words + "\n")
            os.replace(part, self._complaint)

    def _retract(self) -> None:
        self._said = ""
        if self._complaint is not None:
            with suppress(OSError):
                self._complaint.unlink(missing_ok=True)
