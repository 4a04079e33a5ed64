"""What this host can do, each thing tried rather than assumed. `streamsd doctor` shows it.

A check never raises for what is missing or broken: that is what it finds.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from streamsd.core.settings import Settings

_VERSION = re.compile(r"\d+(?:\.\d+)+(?:[-\w.~+]*)?")
_PATIENCE = 10.0
"""Seconds a program is given to say its version."""
_LITTLE_SPACE = 2 * 1024**3
_FEW_FILES = 4096
_NUMBERS_SHOWN = 10


class Verdict(StrEnum):
    OK = "ok"
    MISSING = "missing"
    WEAK = "weak"
    """It works, but something will be slower, smaller or not possible."""


@dataclass(frozen=True, slots=True)
class Found:
    """One thing looked at. `needed`: streamsd cannot work without it. `install`: the apt package that brings it."""

    group: str
    name: str
    verdict: Verdict
    detail: str = ""
    needed: bool = False
    install: str = ""


@dataclass(frozen=True, slots=True)
class _Program:
    name: str
    ask: tuple[str, ...]
    package: str
    serves: str


_PROGRAMS = (
    _Program("Xvfb", (), "xvfb", "displays"),
    _Program("xrandr", ("--version",), "x11-xserver-utils", "looking at displays by hand"),
    _Program("openbox", ("--version",), "openbox", "a window manager for displays"),
    _Program("xterm", (), "xterm", "a terminal on a display"),
    _Program("xclock", (), "x11-apps", "the quickstart's moving picture"),
    _Program("pulseaudio", ("--version",), "pulseaudio", "audio devices"),
    _Program("obs", ("--version",), "obs-studio", "OBS scenes"),
    _Program("x11vnc", ("-version",), "x11vnc", "VNC to a display that exists"),
    _Program("chromium", ("--version",), "chromium", "browsers on a display"),
)


def all_checks(settings: Settings) -> list[Found]:
    """Everything, in the order in which it is shown. Takes a second or two."""
    checks: tuple[Callable[[Settings], Iterator[Found]], ...] = (
        _python,
        _ffmpeg,
        _programs,
        _display,
        _cgroups,
        _limits,
        _services,
        _places,
    )
    with ThreadPoolExecutor(len(checks)) as pool:
        return [found for group in pool.map(lambda check: list(check(settings)), checks) for found in group]


def _python(settings: Settings) -> Iterator[Found]:
    version = ".".join(map(str, sys.version_info[:3]))
    fine = sys.version_info >= (3, 11)
    yield Found("python", "python", Verdict.OK if fine else Verdict.WEAK, f"{version}, {sys.executable}", needed=True)
    from importlib import metadata

    for package in ("supervisor", "pydantic", "fastapi"):
        try:
            yield Found("python", package, Verdict.OK, metadata.version(package), needed=True)
        except metadata.PackageNotFoundError:
            yield Found("python", package, Verdict.MISSING, f"pip install {package}", needed=True)
    try:
        yield Found("python", "bytewax", Verdict.OK, metadata.version("bytewax"))
    except metadata.PackageNotFoundError:
        less = "not there: flows are of one process each; it has packages for Python 3.11 and 3.12"
        yield Found("python", "bytewax", Verdict.WEAK, less)


def _programs(settings: Settings) -> Iterator[Found]:
    with ThreadPoolExecutor(4) as pool:
        yield from pool.map(_program, _PROGRAMS)


def _program(program: _Program) -> Found:
    path = shutil.which(program.name)
    if path is None:
        return Found("programs", program.name, Verdict.MISSING, f"for {program.serves}", install=program.package)
    version = (_version([path, *program.ask]) if program.ask else "") or _packaged(path)
    return Found("programs", program.name, Verdict.OK, f"{version or 'there'}, for {program.serves}")


def _version(argv: list[str]) -> str:
    found = _VERSION.search(run_quietly(argv) or "")
    return found[0] if found else ""


def _packaged(path: str) -> str:
    """The version of the Debian package that a program came with, for those that do not say their own."""
    owner = (run_quietly(["dpkg-query", "--search", path]) or "").partition(":")[0]
    said = run_quietly(["dpkg-query", "--show", "--showformat=${Version}", owner]) if owner and " " not in owner else ""
    return said if said and _VERSION.search(said) else ""


def run_quietly(argv: list[str]) -> str | None:
    """stdout and stderr together, or None when it cannot be run or does not end in time. No display, no terminal."""
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace")


def _display(settings: Settings) -> Iterator[Found]:
    """A real X server, started and ended again."""
    sockets = Path("/tmp/.X11-unix")
    numbers = sorted(int(p.name[1:]) for p in sockets.glob("X*") if p.name[1:].isdigit())
    shown = ", ".join(f":{n}" for n in numbers[:_NUMBERS_SHOWN])
    more = f" and {len(numbers) - _NUMBERS_SHOWN} more" if len(numbers) > _NUMBERS_SHOWN else ""
    taken = f"taken: {shown}{more}" if numbers else "none taken"
    yield Found("displays", "numbers", Verdict.OK, taken)
    if not shutil.which("Xvfb"):
        yield Found("displays", "start", Verdict.MISSING, "Xvfb is not installed", install="xvfb")
        return
    from pyvirtualdisplay.abstractdisplay import XStartError, XStartTimeoutError
    from pyvirtualdisplay.display import Display

    began = time.monotonic()
    server = Display(visible=False, size=(320, 240), manage_global_env=False)
    try:
        server.start()
    except (XStartError, XStartTimeoutError, OSError) as fault:
        yield Found("displays", "start", Verdict.WEAK, f"Xvfb does not start: {str(fault).splitlines()[0]}")
        return
    took = (time.monotonic() - began) * 1000
    server.stop()
    yield Found("displays", "start", Verdict.OK, f"an Xvfb answered after {took:.0f} ms")


def _limits(settings: Settings) -> Iterator[Found]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    verdict = Verdict.OK if hard >= _FEW_FILES or hard == resource.RLIM_INFINITY else Verdict.WEAK
    yield Found("limits", "open files", verdict, f"{_number(soft)} (at most {_number(hard)})")
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    yield Found("limits", "processes", Verdict.OK, f"{_number(soft)} (at most {_number(hard)})")
    watches = Path("/proc/sys/fs/inotify/max_user_watches")
    if watches.exists():
        yield Found("limits", "file watches", Verdict.OK, watches.read_text().strip())
    yield Found("limits", "cores", Verdict.OK, str(len(os.sched_getaffinity(0))))
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    yield Found("limits", "memory", Verdict.OK, _size(memory))


def _number(limit: int) -> str:
    return "unlimited" if limit == resource.RLIM_INFINITY else str(limit)


def _services(settings: Settings) -> Iterator[Found]:
    running = Path("/run/systemd/system").is_dir()
    program = shutil.which("systemctl")
    if not program:
        yield Found("services", "systemd", Verdict.MISSING, "not installed: start streamsd with `streamsd up`")
        return
    said = (run_quietly([program, "--version"]) or "").split("\n")[0]
    yield Found(
        "services",
        "systemd",
        Verdict.OK if running else Verdict.WEAK,
        said if running else f"{said}; not the init here",
    )


def _places(settings: Settings) -> Iterator[Found]:
    for name, path in (("state", settings.state_dir), ("run", settings.run_dir)):
        there = next(parent for parent in (path, *path.parents) if parent.exists())
        if not os.access(there, os.W_OK | os.X_OK):
            yield Found("places", name, Verdict.MISSING, f"{path}: {there} cannot be written by you", needed=True)
            continue
        free = shutil.disk_usage(there).free
        verdict = Verdict.OK if free >= _LITTLE_SPACE or name == "run" else Verdict.WEAK
        yield Found("places", name, verdict, f"{path}, {_size(free)} free", needed=True)
    exists = settings.profile.exists()
    yield Found(
        "places",
        "profile",
        Verdict.OK if exists else Verdict.WEAK,
        str(settings.profile) if exists else f"none at {settings.profile}: `streamsd init` writes one",
    )


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} TB"


def _cgroups(settings: Settings) -> Iterator[Found]:
    """Whether control groups can be made here, tried as the runtime does it: they end whole trees and set limits."""
    from streamsd.runtime.cgroups import Mode, open_cgroups, read_mounts

    groups = open_cgroups(f"doctor-{os.getpid()}", read_mounts())
    try:
        if groups.mode is Mode.NONE:
            text = "none can be made: no limits, and process trees are found by their environment"
            yield Found("cgroups", "mode", Verdict.WEAK, text)
            return
        yield Found("cgroups", "mode", Verdict.OK, f"{groups.mode}, in {groups.tree}")
        kills = groups.tree is not None and (groups.tree / "cgroup.kill").exists()
        text = "a whole tree at once" if kills else "one process after the other: this kernel has no cgroup.kill"
        yield Found("cgroups", "kill", Verdict.OK if kills else Verdict.WEAK, text)
        for name, there in (("memory limit", groups.memory), ("cpu limit", groups.cpu)):
            yield Found("cgroups", name, Verdict.OK if there else Verdict.WEAK, "" if there else "not enforced here")
    finally:
        groups.remove()


_ENCODERS = (
    "libx264",
    "libx265",
    "libsvtav1",
    "libvpx-vp9",
    "h264_nvenc",
    "hevc_nvenc",
    "av1_nvenc",
    "h264_vaapi",
    "h264_qsv",
)


def _ffmpeg(settings: Settings) -> Iterator[Found]:
    """The ffmpeg that came along and the system's; their encoders, each tried on a frame."""
    from streamsd.drivers.ffmpeg.capabilities import bundled, encoder_works, version

    system = shutil.which("ffmpeg")
    programs = [("bundled", bundled()), ("system", Path(system) if system else None)]
    there = [(name, path) for name, path in programs if path]
    if not there:
        yield Found("ffmpeg", "ffmpeg", Verdict.MISSING, "none at all: no streams", needed=True, install="ffmpeg")
        return
    for name, program in there:
        with ThreadPoolExecutor(2) as pool:
            works = dict(zip(_ENCODERS, pool.map(lambda e, p=program: encoder_works(p, e), _ENCODERS), strict=True))
        said = version(program)
        yield Found("ffmpeg", name, Verdict.OK if said else Verdict.WEAK, f"{said or 'does not run'}, {program}")
        able = ", ".join(encoder for encoder, fine in works.items() if fine)
        verdict = Verdict.OK if works["libx264"] else Verdict.MISSING
        yield Found("ffmpeg", f"{name} encoders", verdict, able or "none works", needed=name == there[0][0])
