"""The event log: whoever asks for what came after a number gets all of it, however much that is."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path

from streamsd.core.events import Event
from streamsd.daemon.eventlog import EventLog
from streamsd.engine.store import Store

MANY = 2_500


async def test_more_events_than_a_page_are_all_told(tmp_path: Path) -> None:
    store = Store(tmp_path)
    log = EventLog(store, None)
    for number in range(MANY):
        log.emit(Event(datetime(2026, 1, 1, tzinfo=UTC), "something", "Thing/a", {"number": number}))
    after = [number async for number, _ in log.events(since=10, follow=False, address=None)]
    assert after == list(range(11, MANY + 1))
    newest = [number async for number, _ in log.events(since=0, follow=False, address=None)]
    assert newest == list(range(MANY - 999, MANY + 1))
    store.close()


async def test_a_full_disk_under_the_log_ends_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    out = Path("/dev/full").open("w")  # noqa: SIM115 - its closing fails too
    log = EventLog(store, out)
    for _ in range(100):  # also when more waits to be written than the buffer holds
        log.emit(Event(datetime(2026, 1, 1, tzinfo=UTC), "something", "Thing/a", {"text": "x" * 500}))
    assert len([number async for number, _ in log.events(since=0, follow=False, address=None)]) == 100
    store.close()
    with contextlib.suppress(OSError):
        out.close()


async def test_a_new_controller_knows_what_was_told(tmp_path: Path) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    store = Store(tmp_path)
    assert store.newest_happening("Obs/a") == 0
    for number in (5, 7):
        store.append(Event(at, "obs-exits", "Obs/a", {"happening": number}))
    store.append(Event(at, "obs-exits", "Obs/b", {"happening": 9}))
    store.append(Event(at, "process-exited", "Obs/a", {"role": "obs"}))
    assert store.newest_happening("Obs/a") == 7
    store.close()
