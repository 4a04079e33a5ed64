"""/proc, read: who runs, whose child it is, and what its environment says it belongs to. Standard library only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Process:
    """One line of /proc/PID/stat (proc(5)). `state`: R S D Z T …; `started`: seconds on the boot clock."""

    pid: int
    parent: int
    group: int
    session: int
    state: str
    started: float


def all_pids() -> Iterator[int]:
    for name in os.listdir("/proc"):  # noqa: PTH208  (a Path for each of thousands costs more than reading it)
        if name.isdigit():
            yield int(name)


def read_process(pid: int) -> Process | None:
    """None when there is no such process (any more)."""
    try:
        text = _read(f"/proc/{pid}/stat")
    except OSError:
        return None
    # The command's name may hold spaces and brackets: the fields begin after the last bracket.
    fields = text[text.rindex(b")") + 2 :].split()
    return Process(
        pid=pid,
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        state=fields[0].decode(),
        started=int(fields[19]) / _TICKS,
    )


def read_environment(pid: int) -> dict[str, str]:
    """The environment a process was started with; empty when it is another user's, or gone."""
    try:
        text = _read(f"/proc/{pid}/environ")
    except OSError:
        return {}
    pairs = (entry.partition(b"=") for entry in text.split(b"\0") if entry)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def read_command(pid: int) -> tuple[str, ...]:
    """A process's argv; empty when it is gone or a zombie."""
    try:
        text = _read(f"/proc/{pid}/cmdline")
    except OSError:
        return ()
    return tuple(os.fsdecode(part) for part in text.split(b"\0")[:-1])


def ancestors(pid: int) -> frozenset[int]:
    """A process and whoever started it, up to the first."""
    found: set[int] = set()
    while pid > 0 and pid not in found:
        found.add(pid)
        process = read_process(pid)
        pid = process.parent if process else 0
    return frozenset(found)


def is_alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    process = read_process(pid)
    return process is not None and process.state not in "ZX"


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(fd, 65536):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)
