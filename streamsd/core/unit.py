"""A unit: one process that streamsd keeps, said completely enough that any runtime can run it.

Kinds compile specs to units; runtimes run them; probes watch them. A unit is pure data.
"""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

from streamsd.core.address import UnitId
from streamsd.core.secret import Secret

HASH_VERSION = 1
"""Part of every spec hash: raise it when the same unit must start anew because of how streamsd runs it."""

Text: TypeAlias = str | Secret


@dataclass(frozen=True, slots=True)
class File:
    """A file a unit needs, written 0600 (0700 when executable) before it starts, owned by the unit's user. `content`
    may hold secrets. `encoding`: `latin-1` where the content stands for bytes (an Xauthority file). `live`: the
    process learns of a new content while it runs (through its kind's `patch`), so that the content is no part of the
    spec hash; a process that starts reads the newest all the same."""

    path: Path
    content: Text
    executable: bool = False
    encoding: str = "utf-8"
    live: bool = False

    def data(self) -> bytes:
        """What is written, byte for byte."""
        text = self.content.reveal() if isinstance(self.content, Secret) else self.content
        return text.encode(self.encoding)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a unit may use. All of it can change while the process runs, except `open_files`.

    `memory_bytes`: the tree's memory; past it the kernel kills the tree alone. `cpu_percent`: of one core (150 is one
    and a half). `nice`: -20 to 19. None means no limit.
    """

    memory_bytes: int | None = None
    cpu_percent: int | None = None
    nice: int = 0
    open_files: int | None = None


@dataclass(frozen=True, slots=True)
class StopPolicy:
    """How a unit is asked to end: each signal with the seconds it is given; then the whole tree is SIGKILLed."""

    steps: tuple[tuple[signal.Signals, float], ...] = ((signal.SIGTERM, 10.0),)


class RestartMode(StrEnum):
    ALWAYS = "always"
    ON_FAILURE = "on-failure"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When a unit that ended is started again. The first restart is immediate; later ones wait, with full jitter,
    up to `base * 2**n` seconds, at most `cap`. After `healthy` seconds of running, the count begins anew; from
    `crash_loop` restarts on the resource is in CrashLoop and is retried at the cap.
    """

    mode: RestartMode = RestartMode.ALWAYS
    base: float = 0.5
    cap: float = 30.0
    healthy: float = 30.0
    crash_loop: int = 5


@dataclass(frozen=True, slots=True)
class ProcessAlive:
    """Ready once the process has lived `seconds`."""

    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class FileGrows:
    """The newest file that matches `pattern` (a glob) exists and its size or time of change moves on."""

    pattern: str


@dataclass(frozen=True, slots=True)
class FileExists:
    """The file exists and is not empty."""

    path: Path


@dataclass(frozen=True, slots=True)
class TcpPort:
    """A connection is accepted."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """A connection is accepted."""

    path: Path


@dataclass(frozen=True, slots=True)
class SocketAnswers:
    """A unix socket is sent the text `ask`, and what comes back holds `answer` (within the first 64 KiB)."""

    path: Path
    ask: str
    answer: str


@dataclass(frozen=True, slots=True)
class XAnswers:
    """The X server answers a connection with its cookie, and a round trip. `display` is `:7`."""

    display: str
    authority: Path


@dataclass(frozen=True, slots=True)
class XWindow:
    """A window is mapped whose title contains `title` and whose class or instance is `wm_class` (each if given)."""

    display: str
    authority: Path
    title: str | None = None
    wm_class: str | None = None


@dataclass(frozen=True, slots=True)
class FfmpegProgress:
    """`frame` (or `out_time_us` where there is no video) in a file that ffmpeg's `-progress` writes moves on."""

    path: Path


@dataclass(frozen=True, slots=True)
class HttpOk:
    """GET answers 200–399. `socket`: ask over this unix socket instead of the URL's host."""

    url: str
    socket: Path | None = None


@dataclass(frozen=True, slots=True)
class CommandOk:
    """The command exits 0. It runs with the unit's environment."""

    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reports:
    """The program writes streamsd's own report (see `streamsd.core.report`) and says that it is ready; as liveness:
    that its `beat` moves on."""

    path: Path


@dataclass(frozen=True, slots=True)
class NoComplaint:
    """The file does not exist: whoever works with the process writes it when the process hangs, and why."""

    path: Path


Check: TypeAlias = (
    ProcessAlive
    | FileGrows
    | FileExists
    | TcpPort
    | UnixSocket
    | SocketAnswers
    | XAnswers
    | XWindow
    | FfmpegProgress
    | HttpOk
    | CommandOk
    | Reports
    | NoComplaint
)


@dataclass(frozen=True, slots=True)
class Probe:
    """A check, asked every `interval` seconds, each given `timeout`; `failures` in a row are a no."""

    check: Check
    interval: float = 5.0
    timeout: float = 3.0
    failures: int = 3


@dataclass(frozen=True, slots=True)
class Probes:
    """`startup` must succeed within `within` seconds before anything that depends on the unit starts.
    `readiness` says whether the unit serves now. `liveness` failing replaces the process."""

    startup: Probe = field(default_factory=lambda: Probe(ProcessAlive(), interval=0.05))
    readiness: Probe | None = None
    liveness: Probe | None = None
    within: float = 30.0


@dataclass(frozen=True, slots=True)
class LogPolicy:
    """stdout and stderr together, in one file: rotated at `max_bytes`, `keep` old ones, at most `rate` bytes a
    second (a flood is cut and counted, so that it cannot take the runtime's core)."""

    max_bytes: int = 5 * 1024 * 1024
    keep: int = 2
    rate: int = 256 * 1024


_EMPTY: Mapping[str, Text] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Unit:
    """One process.

    `argv`: absolute program first; never a secret. `env`: the whole environment beside PATH, HOME, LANG and the
    identity the runtime adds. `directories`: made 0700 before the start, owned by `user`. `after`: roles of the same
    resource that must have started (their startup probe) first. `follows`: roles of the same resource whose restart
    restarts this unit.
    """

    id: UnitId
    argv: tuple[str, ...]
    env: Mapping[str, Text] = field(default_factory=lambda: _EMPTY)
    cwd: Path | None = None
    user: str | None = None
    umask: int = 0o077
    files: tuple[File, ...] = ()
    directories: tuple[Path, ...] = ()
    limits: Limits = Limits()
    probes: Probes = field(default_factory=Probes)
    stop: StopPolicy = StopPolicy()
    restart: RestartPolicy = RestartPolicy()
    log: LogPolicy = LogPolicy()
    after: tuple[str, ...] = ()
    follows: tuple[str, ...] = ()


def spec_hash(unit: Unit, key: bytes) -> str:
    """What the running process was started with, as 32 hex digits.

    Covers argv, environment, working directory, user, umask, files and the open-files limit: what only a new process
    can take. Not probes, policies, order, live files or the limits that change live. Secrets count by keyed digest.
    """

    def text(value: Text) -> str:
        return f"secret:{value.digest(key)}" if isinstance(value, Secret) else value

    content = [
        HASH_VERSION,
        unit.argv,
        sorted((name, text(value)) for name, value in unit.env.items()),
        str(unit.cwd),
        unit.user,
        unit.umask,
        [(str(f.path), "" if f.live else text(f.content), f.executable) for f in unit.files],
        unit.limits.open_files,
    ]
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()
