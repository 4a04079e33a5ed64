"""Reading the files a profile consists of, and remembering which they were.

Every path that was read or looked for is kept, so that a watcher sees a missing file appear, and everything that was
read goes into the revision.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from streamsd.document.nodes import MAX_BYTES

MAX_FILES = 500
"""The most files one profile may consist of."""
MAX_SECRET_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a file could not be read, in words."""

    reason: str


@dataclass(frozen=True, slots=True)
class Content:
    """`mode`: the file's permission bits."""

    data: bytes
    mode: int


class Files:
    """One reading of a profile: each file is read once, whatever names it twice. `given`: what stands in the place of
    the profile's own files (absolute paths), as they were when they were last accepted."""

    def __init__(self, environ: Mapping[str, str], given: Mapping[Path, bytes] | None = None) -> None:
        self._environ = environ
        self._given = given
        self._read: dict[str, Content | Unreadable] = {}
        self._inputs: dict[tuple[str, str], str] = {}
        self.seen: set[Path] = set()
        self.documents: dict[Path, bytes] = {}

    def document(self, path: Path) -> Content | Unreadable:
        """As `read`, of a file of the profile itself (no secret): its text is kept, as it was read."""
        found = self.read(path)
        if isinstance(found, Content):
            self.documents[Path(absolute(path))] = found.data
        return found

    def read(self, path: Path, limit: int = MAX_BYTES) -> Content | Unreadable:
        """The file's bytes, at most one more than `limit`. Only regular files: a pipe would make us wait."""
        name = absolute(path)
        if name not in self._read:
            self.seen.add(Path(name))
            if self._given is not None and Path(name) in self._given:
                found: Content | Unreadable = Content(self._given[Path(name)], 0o600)
            else:
                found = (
                    read_regular(Path(name), limit)
                    if len(self._read) < MAX_FILES
                    else Unreadable(f"more than {MAX_FILES} files")
                )
            self._read[name] = found
            content = _digest(found.data) if isinstance(found, Content) else found.reason
            self._inputs["file", name] = content
        return self._read[name]

    def listing(self, directory: Path, pattern: str) -> list[Path]:
        """The files of a directory whose names match, in name order; hidden ones are left out. Empty when it cannot be
        read. The directory itself counts as looked at: a new file in it matters."""
        name = absolute(directory)
        self.seen.add(Path(name))
        try:
            if self._given is not None:
                found = sorted(p.name for p in self._given if p.parent == Path(name) and p.match(pattern))
            else:
                found = sorted(p.name for p in Path(name).glob(pattern) if not p.name.startswith("."))
        except (OSError, ValueError):
            found = []
        self._inputs["listing", f"{name}/{pattern}"] = "\0".join(found)
        return [directory / file for file in found]

    def env(self, variable: str) -> str | None:
        """A variable of the environment; it becomes an input of the revision."""
        value = self._environ.get(variable)
        self._inputs["env", variable] = "" if value is None else _digest(value.encode("utf-8", "surrogateescape"))
        return value

    def revision(self, host: str) -> str:
        """One name for all that was read: the same inputs, the same 32 hex digits."""
        whole = hashlib.blake2b(digest_size=16, person=b"streamsd-rev")
        for (kind, name), content in sorted({**self._inputs, ("host", ""): host}.items()):
            for part in (kind, name, content):
                data = part.encode("utf-8", "surrogateescape")
                whole.update(len(data).to_bytes(8, "big") + data)
        return whole.hexdigest()


def absolute(path: Path) -> str:
    """The path's one name. Links are not followed: a swapped link leads to another file of the same name."""
    return os.path.abspath(path)  # noqa: PTH100 - see above, and `..` is folded


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def is_directory(path: Path) -> bool:
    """Whether it is one that we can see: no error for a name too long or a place that is another user's."""
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises for these


def read_regular(path: Path, limit: int = MAX_BYTES) -> Content | Unreadable:
    """The file's bytes, at most one more than `limit`. Never waits: pipes and devices are not read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        return Unreadable(_words(error))
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            return Unreadable("it is a directory")
        if not stat.S_ISREG(mode):
            return Unreadable("it is not a regular file")
        with os.fdopen(os.dup(descriptor), "rb") as file:
            return Content(file.read(limit + 1), stat.S_IMODE(mode))
    except OSError as error:
        return Unreadable(_words(error))
    finally:
        os.close(descriptor)


def _words(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "this user may not read it"
    text = error.strerror if isinstance(error, OSError) else None
    return text.lower() if text else "it cannot be opened"
