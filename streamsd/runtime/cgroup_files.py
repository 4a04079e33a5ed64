"""The files of control groups: small, made by the kernel, read and written whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def depth_first(directory: Path) -> Iterator[Path]:
    """The directory's inner groups, then itself."""
    try:
        with os.scandir(directory) as entries:
            inner = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for child in inner:
        yield from depth_first(child)
    yield directory


def remove_tree(directory: Path) -> bool:
    """Remove an empty group (files in it are the kernel's and need no removing)."""
    try:
        directory.rmdir()
        return True
    except FileNotFoundError:
        return True
    except OSError:
        pass
    for inner in depth_first(directory):
        try:
            inner.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def field_of(path: Path, name: str) -> int:
    """A number from a flat-keyed file; 0 when it has no such key."""
    for line in read(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def read(path: Path) -> str:
    """All of it. OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(fd, 65536):
            parts.append(part)
        return b"".join(parts).decode()
    finally:
        os.close(fd)


def write(path: Path, text: str) -> None:
    """In one call, as the kernel wants it. OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def write_if_there(path: Path, text: str) -> None:
    """Write where the kernel offers it; limits that must hold are written with `write`."""
    try:
        write(path, text)
    except OSError:
        return
