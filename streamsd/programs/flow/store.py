"""A flow's state directory: the recovery store of its generation, and what is known of the runs before."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from streamsd.flow.checks import SHAPE_FILE, changed_words, fits, may_reset
from streamsd.flow.spec.flow import FlowSpec
from streamsd.programs.flow.durable import StateDamaged, replace_file
from streamsd.programs.flow.snapshots import open_store


class Mismatch(Exception):
    """The stored state is of another shape of the flow."""


class InUse(Exception):
    """Another run of the flow has not ended yet."""


_LOCK_WITHIN = 20.0
_RUNS = "runs.json"
"""How many runs there were; written once the recovery store is there."""
_LETTERS = "dead.ndjson"


class Store:
    """`state`: outlives restarts; None: nothing does. `recovery`: what belongs to one generation. `run`: counts the
    starts; `ever`: how many processes there were at most."""

    def __init__(self, spec: FlowSpec, state: Path | None, shape: str, reset: bool, stopping: threading.Event) -> None:
        """Find the store, or begin one. Mismatch when it does not fit, InUse when somebody else has it, and has it
        still after a while or when the flow is to stop, StateDamaged when files of it are not what they were."""
        recovery = spec.recovery
        self._temporary: str | None = None
        self._held = -1
        if state is None or not recovery.enabled:
            self._temporary = tempfile.mkdtemp(prefix="streamsd-flow-")
        self.state = state or Path(self._temporary or "")
        root = Path(self._temporary) if self._temporary else self.state
        self.recovery = root / f"generation-{recovery.generation}"
        try:
            self._lock(self.state, stopping)
            self._open(reset, shape, recovery.generation)
        except BaseException:
            self.close()
            raise
        known = self._read(_RUNS, {"run": 0, "ever": 1})
        self.run, self.ever = known["run"] + 1, max(known["ever"], spec.processes)
        self._write(_RUNS, {"run": self.run, "ever": self.ever})

    def _lock(self, state: Path, stopping: threading.Event) -> None:
        """Two runs of one state would each write over what the other stored. The lock is held as long as this process
        and those that are forked from it live. InUse when it does not become free."""
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._held = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        end = time.monotonic() + _LOCK_WITHIN
        while True:
            try:
                fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if stopping.is_set() or time.monotonic() > end:
                    raise InUse(f"another process holds the state in {state}") from None
                time.sleep(0.02)

    def _open(self, reset: bool, shape: str, generation: int) -> None:
        if reset:
            shutil.rmtree(self.recovery, ignore_errors=True)
        self.recovery.mkdir(parents=True, exist_ok=True, mode=0o700)
        written = self.recovery / SHAPE_FILE
        if written.exists() and not fits(written.read_text(), shape) and may_reset(self.recovery):
            shutil.rmtree(self.recovery)
            self.recovery.mkdir(mode=0o700)
        if written.exists() and not fits(written.read_text(), shape):
            words = changed_words(written.read_text(), shape)
            raise Mismatch(
                f"{words}: the state that is stored does not fit; "
                f"to begin with an empty state: --reset-state, or recovery.generation {generation + 1}"
            )
        replace_file(written, shape.encode())
        open_store(self.recovery, begun=(self.recovery / _RUNS).exists())

    def sink_parts(self, now: Iterable[str]) -> list[str]:
        """The parts of sinks that this generation has known: Bytewax refuses a state of one that there is not."""
        ever = set(self._read("sinks.json", []))
        if not ever >= set(now):
            ever |= set(now)
            self._write("sinks.json", sorted(ever))
        return sorted(ever)

    def handover(self) -> Path:
        """A new, empty, private directory for this run."""
        for old in self.recovery.glob("run-*"):
            shutil.rmtree(old, ignore_errors=True)
        made = self.recovery / f"run-{self.run}"
        made.mkdir(mode=0o700)
        return made

    @property
    def letters(self) -> Path:
        """Where dead letters go that the flow names no file for."""
        return self.state / _LETTERS

    def close(self) -> None:
        """Remove what was to last no longer than the run, and give the rest back. Dead letters are nobody's to throw
        away: where there are some, their files stay."""
        if self._held >= 0:
            os.close(self._held)
            self._held = -1
        if not self._temporary:
            return
        root = Path(self._temporary)
        for entry in root.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            elif not entry.name.startswith(_LETTERS) or entry.stat().st_size == 0:
                entry.unlink()
        with contextlib.suppress(OSError):  # letters are in it
            root.rmdir()

    def _read(self, name: str, without: Any) -> Any:
        try:
            return json.loads((self.recovery / name).read_text())
        except FileNotFoundError:
            return without
        except ValueError as fault:
            raise StateDamaged(f"{self.recovery / name}: {fault}") from fault

    def _write(self, name: str, value: Any) -> None:
        replace_file(self.recovery / name, json.dumps(value).encode())
