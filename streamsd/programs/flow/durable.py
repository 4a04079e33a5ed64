"""Files that are there after the host's sudden death: a file's bytes are on the disk, and so is its name."""

from __future__ import annotations

import os
from pathlib import Path


class StateDamaged(Exception):
    """What is stored is not what was stored: files of it were removed or changed by somebody else."""


def damaged(fault: StateDamaged, generation: int) -> tuple[str, str]:
    """(reason, message) of a flow whose state, of that generation, is."""
    return "StateDamaged", f"{fault}; set recovery.generation to {generation + 1} to begin with an empty state"


def sync_directory(directory: Path) -> None:
    """The names in it are on the disk. OSError when the disk failed."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace_file(path: Path, data: bytes) -> None:
    """Put a file in the place of the one that is there, or of none: at any moment it is one of them, and whole. It is
    on the disk afterwards. OSError when it cannot be written."""
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fdatasync(file.fileno())
    part.replace(path)
    sync_directory(path.parent)
