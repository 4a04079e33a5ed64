"""Control groups: one a unit, so that its whole tree can be limited and ended at once.

Three worlds are met (cgroups(7)): v2 everywhere; hybrid, where v1 holds the memory and cpu controllers and a v2 tree
without controllers offers `cgroup.kill`; and none, where we may not make groups. Standard library only: it runs
inside supervisord. Where a controller is missing, its limit is not enforced, and measures as whatever was asked.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from streamsd.runtime import cgroup_files

_PAGE = os.sysconf("SC_PAGE_SIZE")
_PERIOD_US = 100_000
_UNLIMITED_V1 = 1 << 62
"""v1 writes "no limit" as the largest number of pages: anything this large is it."""


class Mode(StrEnum):
    V2 = "v2"
    HYBRID = "hybrid"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Mounts:
    """Where the hierarchies are mounted and where in them this process sits (absolute directories)."""

    unified: Path | None
    unified_own: Path | None
    v1: dict[str, Path]
    """controller -> this process's own directory."""

    @classmethod
    def read(cls, mountinfo: str, own: str) -> Mounts:
        """From the texts of /proc/self/mountinfo and /proc/self/cgroup (proc(5), cgroups(7))."""
        paths: dict[str, str] = {}
        for line in own.splitlines():
            _, controllers, path = line.split(":", 2)
            for controller in controllers.split(","):
                paths[controller] = path
        unified: Path | None = None
        unified_own: Path | None = None
        v1: dict[str, Path] = {}
        for line in mountinfo.splitlines():
            before, _, after = line.partition(" - ")
            fields, kind = before.split(), after.split()
            root, point = fields[3], Path(fields[4].replace("\\040", " "))
            if kind[0] == "cgroup2" and unified is None:
                unified, unified_own = point, _within(point, root, paths.get("", "/"))
            elif kind[0] == "cgroup":
                for option in kind[2].split(","):
                    if option in paths:
                        v1.setdefault(option, _within(point, root, paths[option]))
        return cls(unified, unified_own, v1)


def _within(point: Path, root: str, path: str) -> Path:
    inside = path.removeprefix(root) if root != "/" else path
    return point / inside.strip("/")


@dataclass(frozen=True, slots=True)
class Place:
    """One unit's groups. `tree` is where its processes are counted and killed; the others only limit."""

    tree: Path
    memory: Path | None
    cpu: Path | None

    @property
    def directories(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(d for d in (self.tree, self.memory, self.cpu) if d is not None))

    @property
    def entrances(self) -> tuple[str, ...]:
        """Files that a process writes `0` into to join."""
        return tuple(str(d / "cgroup.procs") for d in self.directories)

    def members(self) -> list[int]:
        """The pids in it, at any depth; no zombies."""
        try:
            if cgroup_files.field_of(self.tree / "cgroup.events", "populated") == 0:
                return []
        except OSError:
            pass  # v1 has no such file
        pids: list[int] = []
        for directory in cgroup_files.depth_first(self.tree):
            try:
                pids.extend(int(pid) for pid in cgroup_files.read(directory / "cgroup.procs").split())
            except OSError:
                continue
        return pids

    def kill(self) -> None:
        """SIGKILL to everything in it. What forks meanwhile dies too under v2; elsewhere, call until it is empty."""
        try:
            cgroup_files.write(self.tree / "cgroup.kill", "1")
        except OSError:
            for pid in self.members():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue

    def limit_memory(self, limit: int | None) -> None:
        """OSError when the kernel refuses: under v1, EBUSY when more is in use already."""
        if self.memory is None:
            return
        if (self.memory / "memory.max").exists():
            cgroup_files.write(self.memory / "memory.max", "max" if limit is None else str(limit))
            cgroup_files.write_if_there(self.memory / "memory.swap.max", "max" if limit is None else "0")
            cgroup_files.write_if_there(self.memory / "memory.oom.group", "1")
            return
        ram, both = self.memory / "memory.limit_in_bytes", self.memory / "memory.memsw.limit_in_bytes"
        value = "-1" if limit is None else str(limit)
        now = cgroup_files.read(ram).strip()
        # memsw may never be below the limit itself, so the order depends on the direction.
        if limit is None or int(now) < limit:
            cgroup_files.write_if_there(both, value)
            cgroup_files.write(ram, value)
        else:
            cgroup_files.write(ram, value)
            cgroup_files.write_if_there(both, value)

    def limit_cpu(self, percent: int | None) -> None:
        if self.cpu is None:
            return
        quota = None if percent is None else percent * _PERIOD_US // 100
        if (self.cpu / "cpu.max").exists():
            cgroup_files.write(self.cpu / "cpu.max", f"{'max' if quota is None else quota} {_PERIOD_US}")
        else:
            cgroup_files.write(self.cpu / "cpu.cfs_quota_us", "-1" if quota is None else str(quota))

    def memory_limit(self, asked: int | None) -> int | None:
        """As measured. The kernel counts in pages: a value that is `asked` rounded to one is given as `asked`."""
        if self.memory is None:
            return asked
        try:
            text = cgroup_files.read(self.memory / "memory.max").strip()
        except OSError:
            text = cgroup_files.read(self.memory / "memory.limit_in_bytes").strip()
        if text == "max" or int(text) >= _UNLIMITED_V1:
            return None
        measured = int(text)
        return asked if asked is not None and asked // _PAGE == measured // _PAGE else measured

    def cpu_limit(self, asked: int | None) -> int | None:
        if self.cpu is None:
            return asked
        try:
            quota, _, period = cgroup_files.read(self.cpu / "cpu.max").strip().partition(" ")
        except OSError:
            quota = cgroup_files.read(self.cpu / "cpu.cfs_quota_us").strip()
            period = cgroup_files.read(self.cpu / "cpu.cfs_period_us").strip()
        return None if quota in ("max", "-1") else int(quota) * 100 // int(period)

    def out_of_memory(self) -> bool:
        """Whether the kernel has killed something in it for want of memory."""
        if self.memory is None:
            return False
        for name in ("memory.events", "memory.oom_control"):
            try:
                return cgroup_files.field_of(self.memory / name, "oom_kill") > 0
            except OSError:
                continue
        return False

    def remove(self) -> bool:
        """Take the empty groups away; False when the kernel still holds one (ask again)."""
        removed = [cgroup_files.remove_tree(directory) for directory in self.directories]
        return all(removed)


@dataclass(frozen=True, slots=True)
class Cgroups:
    """Where this instance's groups go. `tree` None: mode none."""

    mode: Mode
    tree: Path | None = None
    memory: Path | None = None
    cpu: Path | None = None

    @property
    def bases(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(d for d in (self.tree, self.memory, self.cpu) if d is not None))

    def place(self, slug: str, *, with_cpu: bool) -> Place | None:
        """Make a unit's groups, afresh. Under v1 each costs ~1 ms to join, so the cpu one is made where it limits."""
        if self.tree is None:
            return None
        shared = self.cpu == self.tree
        place = Place(
            tree=self.tree / slug,
            memory=self.memory / slug if self.memory else None,
            cpu=self.cpu / slug if self.cpu and (with_cpu or shared) else None,
        )
        for directory in place.directories:
            # An earlier one that the kernel held on to: its limits and counts are not ours.
            cgroup_files.remove_tree(directory)
            directory.mkdir(mode=0o755, exist_ok=True)
        return place

    def with_cpu(self, place: Place, slug: str) -> Place:
        """The same place, with a cpu group that everything in it has joined."""
        if place.cpu is not None or self.cpu is None:
            return place
        directory = self.cpu / slug
        directory.mkdir(mode=0o755, exist_ok=True)
        for pid in place.members():
            try:
                cgroup_files.write(directory / "cgroup.procs", str(pid))
            except ProcessLookupError:
                continue
        return Place(place.tree, place.memory, directory)

    def remove(self) -> None:
        """Take the instance's own directories away, if empty."""
        for base in self.bases:
            cgroup_files.remove_tree(base)


def base_name(instance: str) -> str:
    return f"streamsd-{instance}"


def open_cgroups(instance: str, mounts: Mounts) -> Cgroups:
    """Find where groups may be made and make the instance's own there. Never raises: the worst is Mode.NONE."""
    name = base_name(instance)
    if mounts.unified is not None and _controllers(mounts.unified):
        for parent in _v2_parents(mounts.unified, mounts.unified_own or mounts.unified):
            base = _made(parent / name)
            if base is None:
                continue
            _enable(parent)
            _enable(base)
            there = _controllers(base, "cgroup.subtree_control")
            return Cgroups(Mode.V2, base, base if "memory" in there else None, base if "cpu" in there else None)
        return Cgroups(Mode.NONE)
    memory = _made(mounts.v1["memory"] / name) if "memory" in mounts.v1 else None
    cpu = _made(mounts.v1["cpu"] / name) if "cpu" in mounts.v1 else None
    tree = _made(mounts.unified_own / name) if mounts.unified_own is not None else None
    tree = tree or memory or cpu
    return Cgroups(Mode.HYBRID if tree else Mode.NONE, tree, memory, cpu)


def read_mounts() -> Mounts:
    """OSError where /proc is not mounted."""
    return Mounts.read(Path("/proc/self/mountinfo").read_text(), Path("/proc/self/cgroup").read_text())


def remember_bases(record: Path, cgroups: Cgroups) -> None:
    """Note the bases for a later sweep: a runtime booted elsewhere would compute others."""
    record.write_text(json.dumps([str(base) for base in cgroups.bases]))


def remembered_bases(record: Path, instance: str) -> tuple[Path, ...]:
    """The bases noted; only such as bear the instance's name, so that a broken record harms nobody."""
    try:
        found = json.loads(record.read_text())
    except (OSError, ValueError):
        return ()
    paths = (Path(text) for text in found if isinstance(text, str))
    return tuple(p for p in paths if p.name == base_name(instance) and p.is_dir())


def places_in(base: Path) -> Iterator[Place]:
    """The unit groups under a base, as trees to kill and remove."""
    try:
        children = sorted(base.iterdir())
    except OSError:
        return
    for child in children:
        if child.is_dir():
            yield Place(child, None, None)


def _v2_parents(root: Path, own: Path) -> Iterator[Path]:
    """Where v2 groups may go, best first.

    Our own group when it was given to us (a systemd unit with Delegate=yes, or one that an ordinary user owns). A
    group that holds processes cannot hand controllers down, except the root, so what is in it moves one down. Else
    the root, which takes root; else beside ourselves without controllers, which still can be killed as a whole.
    """
    if own != root and _is_delegated(own):
        _move_down(own)
        yield own
    yield root
    if own != root:
        yield own


def _is_delegated(own: Path) -> bool:
    """systemd marks what it hands over (systemd.resource-control(5), Delegate=)."""
    try:
        if 0 < own.stat().st_uid == os.geteuid():
            return True
    except OSError:
        return False
    for name in ("trusted.delegate", "user.delegate"):
        try:
            if os.getxattr(own, name) == b"1":
                return True
        except OSError:
            continue
    return False


def _move_down(own: Path) -> None:
    leaf = own / "runtime"
    try:
        leaf.mkdir(exist_ok=True)
        for pid in cgroup_files.read(own / "cgroup.procs").split():
            cgroup_files.write_if_there(leaf / "cgroup.procs", pid)
    except OSError:
        return  # then there are no controllers, and everything else still works


def _made(directory: Path) -> Path | None:
    try:
        directory.mkdir(mode=0o755, exist_ok=True)
        # Making a directory can be allowed where using it is not (a cgroup namespace's edge): try a group inside.
        probe = directory / ".probe"
        probe.mkdir(exist_ok=True)
        probe.rmdir()
    except OSError:
        return None
    return directory


def _controllers(directory: Path, name: str = "cgroup.controllers") -> frozenset[str]:
    try:
        return frozenset(cgroup_files.read(directory / name).split()) & {"memory", "cpu"}
    except OSError:
        return frozenset()


def _enable(directory: Path) -> None:
    for controller in ("memory", "cpu"):
        cgroup_files.write_if_there(directory / "cgroup.subtree_control", f"+{controller}")
