"""What outlives the daemon: kept, found again, and no obstacle when it is damaged."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streamsd.core.events import Event
from streamsd.engine.store import Store, digest_key

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def event(number: int, address: str = "Thing/a") -> Event:
    return Event(NOW, "something", address, {"number": number})


def test_events_are_numbered_and_found_again_by_the_next_daemon(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert [store.append(event(n)) for n in range(3)] == [1, 2, 3]
    store.append(event(9, "Thing/b"))
    store.close()
    again = Store(tmp_path)
    assert [fields["number"] for _, fields in again.events(0, "Thing/a")] == [0, 1, 2]
    assert [number for number, _ in again.events(2, None)] == [3, 4]
    assert [number for number, _ in again.events(0, None, limit=2)] == [3, 4], "the newest"
    assert again.append(event(5)) == 5
    again.close()


def test_the_newest_accepted_profile_is_kept_and_only_some_before_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.last_good() is None
    for number in range(1, 31):
        store.remember(number, f"r{number}", {"/p.yaml": f"n: {number} ü\n".encode()})
    assert store.last_good() == (30, "r30", {"/p.yaml": "n: 30 ü\n".encode()})
    store.close()
    with sqlite3.connect(tmp_path / "streamsd.db") as db:
        assert db.execute("SELECT count(*) FROM revisions").fetchone() == (20,)
        db.execute("UPDATE revisions SET files = x'00' WHERE generation = 30")
    db.close()
    again = Store(tmp_path)
    assert again.last_good() == (29, "r29", {"/p.yaml": "n: 29 ü\n".encode()})
    again.close()


@pytest.mark.parametrize("damage", ["all of it", "a page"])
def test_a_damaged_file_is_put_aside_and_begun_anew(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path)
    for number in range(2000):
        store.append(event(number))
    store.close()
    path = tmp_path / "streamsd.db"
    content = bytearray(path.read_bytes())
    content[slice(0, None) if damage == "all of it" else slice(8192, 40960)] = b"\xa5" * 32768
    path.write_bytes(content)
    again = Store(tmp_path)
    assert again.set_aside is not None
    assert again.set_aside.exists()
    assert again.append(event(1)) == 1
    assert again.last_good() is None
    again.close()


def test_a_file_that_somebody_locks_is_left_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.remember(1, "r", {})
    store.close()
    holder = sqlite3.connect(tmp_path / "streamsd.db", isolation_level=None)
    holder.execute("PRAGMA locking_mode=EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    locked = Store(tmp_path, patience=0.01)
    assert locked.in_memory
    assert locked.set_aside is None
    assert locked.append(event(1)) == 1
    locked.close()
    holder.close()
    again = Store(tmp_path)
    assert again.last_good() == (1, "r", {})
    again.close()


def test_what_is_private_is_private(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    Store(directory).close()
    key = digest_key(directory)
    assert digest_key(directory) == key
    assert len(key) == 32
    assert directory.stat().st_mode & 0o077 == 0
    for name in ("streamsd.db", "digest.key"):
        assert (directory / name).stat().st_mode & 0o777 == 0o600
    (directory / "digest.key").write_bytes(b"short")
    assert len(digest_key(directory)) == 32
