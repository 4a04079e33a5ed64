"""What must outlive the daemon: the last good profile and the event log. Not what runs: the runtime knows that."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
import zlib
from collections.abc import Mapping
from pathlib import Path

from streamsd.core.events import Event

_KEPT_EVENTS = 20_000
_KEPT_REVISIONS = 20


class Store:
    """An SQLite file in the state directory (0600). A damaged one is put aside (`set_aside`) and begun anew: it holds
    nothing that running processes depend on. One that cannot be opened now (a full disk, a lock) stays as it is,
    and this daemon remembers in memory only (`in_memory` says why)."""

    def __init__(self, directory: Path, *, patience: float = 5.0) -> None:
        """`patience`: seconds to wait for another program's lock."""
        self._patience = patience
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = directory / "streamsd.db"
        self.set_aside: Path | None = None
        self.in_memory = ""
        self._writes = 0
        try:
            try:
                self._open(self._path)
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:
                self._put_aside()
                self._open(self._path)
        except (OSError, sqlite3.DatabaseError) as error:
            self.in_memory = str(error)
            self._open(None)

    def _put_aside(self) -> None:
        self.set_aside = self._path.with_suffix(".damaged")
        os.replace(self._path, self.set_aside)
        for rest in ("-wal", "-shm"):
            self._path.with_name(self._path.name + rest).unlink(missing_ok=True)

    def _open(self, path: Path | None) -> None:
        if path is not None:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=self._patience)
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY AUTOINCREMENT, address TEXT, line TEXT)"
            )
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS revisions (generation INTEGER PRIMARY KEY, revision TEXT, files BLOB)"
            )
            found = self._db.execute("PRAGMA quick_check(1)").fetchone()
            if found != ("ok",):
                raise sqlite3.DatabaseError(f"damaged: {found}")
        except sqlite3.DatabaseError:
            self._db.close()
            raise

    def close(self) -> None:
        self._db.close()

    def append(self, event: Event) -> int:
        """Keep an event; returns its sequence number. A full disk loses the event, not the daemon: 0."""
        try:
            cursor = self._db.execute("INSERT INTO events (address, line) VALUES (?, ?)", (event.address, event.line()))
            self._writes += 1
            if self._writes % 1000 == 0:
                self._db.execute("DELETE FROM events WHERE seq <= ?", ((cursor.lastrowid or 0) - _KEPT_EVENTS,))
        except sqlite3.Error:
            return 0
        return cursor.lastrowid or 0

    def events(self, since: int, address: str | None, limit: int = 1000) -> list[tuple[int, dict[str, object]]]:
        """Events after `since`, oldest first; the newest `limit` of them when `since` is 0."""
        where = "seq > ?" + (" AND address = ?" if address else "")
        values = (since, address) if address else (since,)
        order = "DESC" if since == 0 else "ASC"
        query = f"SELECT seq, line FROM events WHERE {where} ORDER BY seq {order} LIMIT {limit}"  # noqa: S608  # no outside text
        rows = self._db.execute(query, values).fetchall()
        found = [(int(seq), json.loads(line)) for seq, line in rows]
        return found[::-1] if since == 0 else found

    def newest_happening(self, address: str) -> int:
        """The number of the newest event that a process of the resource told of; 0 when none is kept."""
        query = "SELECT line FROM events WHERE address = ? AND line LIKE ? ORDER BY seq DESC LIMIT 1"
        with contextlib.suppress(sqlite3.DatabaseError, ValueError, KeyError, TypeError):
            for (line,) in self._db.execute(query, (address, '%"happening": %')):
                return int(json.loads(line)["happening"])
        return 0

    def remember(self, generation: int, revision: str, files: Mapping[str, bytes]) -> None:
        """Keep the text of an accepted profile, to fall back on when the file is unreadable at the next start."""
        text = json.dumps({name: content.decode("utf-8", "replace") for name, content in files.items()})
        with contextlib.suppress(sqlite3.DatabaseError):  # a full disk must not refuse an apply
            self._db.execute(
                "INSERT OR REPLACE INTO revisions VALUES (?, ?, ?)",
                (generation, revision, zlib.compress(text.encode())),
            )
            self._db.execute("DELETE FROM revisions WHERE generation <= ?", (generation - _KEPT_REVISIONS,))

    def last_good(self) -> tuple[int, str, dict[str, bytes]] | None:
        """(generation, revision, file name to content) of the newest accepted profile."""
        rows = self._db.execute("SELECT generation, revision, files FROM revisions ORDER BY generation DESC")
        with contextlib.suppress(sqlite3.DatabaseError):
            for generation, revision, packed in rows:
                with contextlib.suppress(zlib.error, ValueError):  # a damaged one: the one before it will do
                    files = json.loads(zlib.decompress(packed))
                    return int(generation), str(revision), {name: text.encode() for name, text in files.items()}
        return None


def digest_key(directory: Path) -> bytes:
    """The key of the digests of secrets, made once for a state directory. Losing it restarts what uses secrets."""
    path = directory / "digest.key"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        key = path.read_bytes()
        if len(key) == 32:
            return key
    except OSError:
        pass
    key = secrets.token_bytes(32)
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as out:
        out.write(key)
    return key
