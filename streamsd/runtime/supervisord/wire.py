"""What the controller and supervisord say to each other: one JSON object a line, both ways, over `control.sock`.

A request carries `id` and `op`; its answer carries the same `id` and `ok`. Answers come in any order, so requests can
be pipelined. What nobody asked for carries `event` instead of `id`. Standard library only: both sides import it.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

PROTOCOL = 1
"""Raised when the two sides of different versions would misunderstand each other."""

CONTROL_SOCKET = "control.sock"
PLUGIN_SETTINGS = "plugin.json"
CGROUPS_RECORD = "cgroups.json"
"""Where the plugin notes its control groups, for the sweep of whoever comes after it."""
MAX_LINE = 16 * 1024 * 1024
"""Bytes of one message: an environment of a megabyte is already absurd."""

CGROUPS_VARIABLE = "STREAMSD_CGROUPS"
"""`none` in the environment of whoever boots the runtime: do without cgroups."""
RUNTIME_VARIABLE = "STREAMSD_RUNTIME"
"""Carried by supervisord itself; its value is the instance."""
INSTANCE_VARIABLE = "STREAMSD_INSTANCE"
UNIT_VARIABLE = "STREAMSD_UNIT"
HASH_VARIABLE = "STREAMSD_SPEC_HASH"


class Fault(Exception):
    """A request that cannot be carried out, on supervisord's side: becomes RuntimeFault on the other."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        self.message = message
        super().__init__(message)


Operation = Literal["hello", "ping", "observe", "start", "stop", "limit", "shutdown"]


class LimitsWire(TypedDict):
    """`streamsd.core.unit.Limits`."""

    memory_bytes: int | None
    cpu_percent: int | None
    nice: int
    open_files: int | None


class LogWire(TypedDict):
    """`streamsd.core.unit.LogPolicy`."""

    max_bytes: int
    keep: int
    rate: int


class StartWire(TypedDict):
    """A unit to start. `env` is the unit's own; the plugin adds PATH, HOME, LANG and the identity."""

    unit: str
    slug: str
    spec_hash: str
    argv: list[str]
    env: dict[str, str]
    cwd: str | None
    user: str | None
    umask: int
    limits: LimitsWire
    stop: list[tuple[int, float]]
    log: LogWire


class UnitWire(TypedDict):
    """`streamsd.core.runtime.ObservedUnit`."""

    unit: str
    state: Literal["running", "stopping", "exited"]
    pid: int
    started: float
    spec_hash: str
    exit_code: int | None
    oom: bool
    limits: LimitsWire


class PluginSettings(TypedDict):
    """What boot tells the plugin, in `plugin.json`."""

    instance: str
    log_dir: str


class HelloWire(TypedDict):
    """Who answers. `started`: seconds on the boot clock. `cgroups`: v2, hybrid or none."""

    protocol: int
    version: str
    instance: str
    pid: int
    started: float
    cgroups: str


class Request(TypedDict):
    id: int
    op: Operation
    start: NotRequired[StartWire]
    unit: NotRequired[str]
    limits: NotRequired[LimitsWire]


class Answer(TypedDict):
    """`result` on success (its shape depends on the operation); `reason` and `message` on a fault."""

    id: int
    ok: bool
    result: NotRequired[Any]
    reason: NotRequired[str]
    message: NotRequired[str]


class ExitedEvent(TypedDict):
    event: Literal["exited"]
    unit: UnitWire
