"""What the daemon can be asked for: the API serves it, the CLI asks the API for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from streamsd.core.address import Address
from streamsd.core.answers import ApplyAnswer, ApplyRequest, ErrorAnswer, GraphAnswer, PlanAnswer, StatusAnswer
from streamsd.core.settings import Settings


class Refused(Exception):
    """A request that cannot be carried out. `status` is the HTTP status: 404 unknown, 409 conflict (another apply
    holds the lock, a stale plan, a change that would interrupt an output), 422 invalid profile, 503 not yet up,
    504 not done in time (it goes on)."""

    def __init__(self, status: int, answer: ErrorAnswer) -> None:
        self.status = status
        self.answer = answer
        super().__init__(answer["message"])


class Service(Protocol):
    """Every method may raise Refused and nothing else that is expected."""

    settings: Settings

    async def status(self) -> StatusAnswer: ...

    async def plan(self) -> PlanAnswer:
        """What applying the profile as it stands in the file would do. Touches nothing."""
        ...

    async def apply(self, request: ApplyRequest) -> ApplyAnswer:
        """Read the profile, validate all of it, accept it as the next generation and begin to converge."""
        ...

    async def restart(self, address: Address, role: str | None) -> None:
        """Start the resource's processes anew (one role, or all)."""
        ...

    async def operate(self, address: Address, operation: str, arguments: dict[str, Any]) -> Any:
        """Carry out an operator's command of the resource's kind (POST /v1/resources/K/N/operations/OP)."""
        ...

    async def destroy(self, addresses: Sequence[Address]) -> None:
        """Stop resources and what depends on them, and hold them stopped until the next apply."""
        ...

    async def down(self) -> None:
        """Stop everything in reverse order, then the runtime, then the daemon."""
        ...

    async def describe(self, address: Address) -> dict[str, Any]:
        """One resource whole: spec (secrets masked), references, processes with argv and paths, newest events."""
        ...

    async def graph(self) -> GraphAnswer: ...

    async def export(self) -> list[dict[str, Any]]:
        """Every resource as an envelope {apiVersion, kind, name, spec, status}, secrets masked."""
        ...

    async def declared(self) -> dict[str, Any]:
        """The accepted profile, composed: sections of resources, defaults left out. A secret is the reference it came
        by, or `${secret:}`."""
        ...

    def events(self, *, since: int, follow: bool, address: Address | None) -> AsyncIterator[tuple[int, dict[str, Any]]]:
        """Events after the given sequence number (0: from the newest thousand on), each with its own number; endless
        when following."""
        ...

    def log_files(self, address: Address, role: str | None) -> list[tuple[str, Path]]:
        """(role, file) of each process's log."""
        ...
