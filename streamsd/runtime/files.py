"""A unit's files and directories, as they must be before it starts.

Root writes into directories that belong to other users here, so nothing below a directory that somebody else owns is
reached through a symbolic link, and files are made under a name of their own and moved into place.
"""

from __future__ import annotations

import os
import pwd
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from streamsd.core.runtime import RuntimeFault
from streamsd.core.secret import Secret
from streamsd.core.unit import File, Text, Unit

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class _Owner:
    uid: int
    gid: int


def revealed(value: Text) -> str:
    """The text of an environment value or a file, for the child and its private files only."""
    return value.reveal() if isinstance(value, Secret) else value


def prepare(unit: Unit, run_dir: Path) -> None:
    """Make the unit's directories (0700) and write its files (0600, or 0700), owned by its user.

    A directory outside `run_dir` that exists keeps its owner and mode: it may be anyone's. RuntimeFault: FilesFailed,
    UserMissing.
    """
    owner = _owner(unit.user)
    at: Path = run_dir
    try:
        for at in unit.directories:
            os.close(_open_directory(at, owner, enforce=at.is_relative_to(run_dir)))
        for file in unit.files:
            at = file.path
            _write(file, owner)
    except OSError as fault:
        raise RuntimeFault("FilesFailed", f"cannot make {at}: {fault.strerror}") from None


def make_private(directory: Path) -> None:
    """Make a directory for us alone (0700), and its parents."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)


def make_passable(directory: Path) -> None:
    """Make a directory that others may pass through but not list (0711): their own lie within."""
    directory.mkdir(mode=0o711, parents=True, exist_ok=True)
    if directory.stat().st_uid == os.geteuid():
        directory.chmod(0o711)


def _owner(user: str | None) -> _Owner:
    if user is None or os.geteuid() != 0:
        return _Owner(os.geteuid(), os.getegid())
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise RuntimeFault("UserMissing", f"there is no user {user!r}") from None
    return _Owner(entry.pw_uid, entry.pw_gid)


def _open_directory(path: Path, owner: _Owner, *, enforce: bool) -> int:
    """A descriptor of the directory, made if need be; the caller closes it.

    Parents that are missing are made 0711 and ours; the last one 0700 and the owner's. `enforce`: also if it existed.
    """
    *parents, last = path.parts[1:]
    fd = os.open("/", _DIRECTORY)
    try:
        for name in parents:
            fd, _ = _step(fd, name, 0o711)
        fd, made = _step(fd, last, 0o700)
        if made or enforce:
            if os.fstat(fd).st_uid != owner.uid:
                os.fchown(fd, owner.uid, owner.gid)
            os.fchmod(fd, 0o700)
    except OSError:
        os.close(fd)
        raise
    return fd


def _step(fd: int, name: str, mode: int) -> tuple[int, bool]:
    """From an open directory into one of its own, making it if missing. Takes `fd` over, unless it raises."""
    made = False
    about = os.fstat(fd)
    trusted = about.st_uid in (0, os.geteuid()) and (not about.st_mode & stat.S_IWOTH or about.st_mode & stat.S_ISVTX)
    follow = 0 if trusted else os.O_NOFOLLOW
    try:
        inner = os.open(name, _DIRECTORY | follow, dir_fd=fd)
    except FileNotFoundError:
        try:
            os.mkdir(name, mode, dir_fd=fd)
            made = True
        except FileExistsError:
            pass  # another unit's start made it just now
        inner = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
        if made:
            os.fchmod(inner, mode)  # whatever our umask is
    os.close(fd)
    return inner, made


def _write(file: File, owner: _Owner) -> None:
    directory = _open_directory(file.path.parent, owner, enforce=False)
    part = f".{file.path.name}.{secrets.token_hex(4)}"
    try:
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=directory)
        try:
            with os.fdopen(fd, "wb") as out:
                os.fchmod(fd, 0o700 if file.executable else 0o600)
                if owner.uid != os.geteuid():
                    os.fchown(fd, owner.uid, owner.gid)
                out.write(file.data())
            os.replace(part, file.path.name, src_dir_fd=directory, dst_dir_fd=directory)
        except OSError:
            os.unlink(part, dir_fd=directory)
            raise
    finally:
        os.close(directory)
