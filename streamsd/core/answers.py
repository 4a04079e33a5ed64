"""The machine-readable contract: what the API answers and `--json` prints, as typed shapes.

Other tools hold us to these. Change them only with a version. Optional keys are marked; all others are always there.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict  # pydantic reads no other one before Python 3.12


class ConditionAnswer(TypedDict):
    type: str
    status: Literal["True", "False"]
    reason: str
    message: str
    since: str
    observed_generation: int


class ProcessAnswer(TypedDict):
    """`pid` is 0 while it does not run. `started` is RFC 3339, or empty."""

    role: str
    pid: int
    started: str
    restarts: int
    phase: str


class ResourceAnswer(TypedDict):
    address: str
    kind: str
    name: str
    ready: bool
    conditions: list[ConditionAnswer]
    processes: list[ProcessAnswer]
    observed: dict[str, Any]


class StatusAnswer(TypedDict):
    generation: int
    observed_generation: int
    converged: bool
    resources: list[ResourceAnswer]
    profile: str
    revision: str
    problems: list[DiagnosticAnswer]
    """Diagnostics of the newest file when it was refused; empty when the newest file is what runs."""
    version: str
    daemon_pid: int


class DiagnosticAnswer(TypedDict):
    code: str
    severity: Literal["error", "warning"]
    message: str
    hint: str
    file: str | None
    line: int | None
    column: int | None
    end_line: int | None
    end_column: int | None
    path: str


class ActionAnswer(TypedDict):
    action: Literal["create", "patch", "restart", "replace", "delete"]
    address: str
    cause: str
    fields: list[str]
    interrupts: list[str]
    """Addresses of resources that stop serving for a moment because of this action (itself too, if it restarts)."""
    processes: list[str]
    """Roles that start anew."""


class WaitAnswer(TypedDict):
    """A resource that needs no action now and yet is not known to be as declared: it is starting, waits to be started
    again, waits for another, or did not answer what it has live."""

    address: str
    why: str


class PlanAnswer(TypedDict):
    """`revision` names the file's content, `generation` the accepted one it was compared with. What runs is as the file
    says where there are neither actions nor waits."""

    revision: str
    generation: int
    changes: int
    actions: list[ActionAnswer]
    waits: list[WaitAnswer]
    diagnostics: list[DiagnosticAnswer]


class FlowTestAnswer(TypedDict):
    flow: str
    test: str
    passed: bool
    diagnostics: list[DiagnosticAnswer]


class ValidateAnswer(TypedDict):
    valid: bool
    diagnostics: list[DiagnosticAnswer]
    """With those of tests that failed."""
    tests: NotRequired[list[FlowTestAnswer]]
    """With `--test`, and a profile that is valid otherwise."""


class ApplyRequest(TypedDict):
    """`plan`: a saved plan; refused when stale. `holder`: who asks, in words, told to whoever comes second.
    `reset_state`: resources, by name or address, that may begin with an empty state where the stored one does not fit
    the change; an apply that is refused resets none."""

    rollback_on_failure: NotRequired[bool]
    allow_interrupt: NotRequired[bool]
    reset_state: NotRequired[list[str]]
    plan: NotRequired[PlanAnswer]
    holder: NotRequired[str]


class ApplyAnswer(TypedDict):
    """Answered once the profile is accepted; converging goes on. `accepted` false: see diagnostics, nothing changed."""

    accepted: bool
    generation: int
    plan: PlanAnswer
    rolled_back: NotRequired[str]
    """With rollback_on_failure the answer comes when all is settled: why it was rolled back; empty when it was not."""


class ErrorAnswer(TypedDict):
    """Every answer with a status of 400 or more."""

    error: str
    message: str
    hint: NotRequired[str]
    diagnostics: NotRequired[list[DiagnosticAnswer]]


class HealthAnswer(TypedDict):
    status: Literal["ok"]
    version: str
    pid: int


class GraphAnswer(TypedDict):
    """`edges`: [from, to] where from depends on to."""

    resources: list[str]
    edges: list[tuple[str, str]]
