"""A stand-in for the daemon behind the API: it answers what a test puts in, and writes down what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from streamsd.core.address import Address
from streamsd.core.answers import ApplyAnswer, ApplyRequest, GraphAnswer, PlanAnswer, ResourceAnswer, StatusAnswer
from streamsd.core.service import Refused
from streamsd.core.settings import Settings

SINCE = "2026-01-02T03:04:05.000Z"


def resource(address: str, *, ready: bool = True, reason: str = "Serving", message: str = "") -> ResourceAnswer:
    kind, _, name = address.partition("/")
    return {
        "address": address,
        "kind": kind,
        "name": name,
        "ready": ready,
        "conditions": [
            {
                "type": "Ready",
                "status": "True" if ready else "False",
                "reason": reason,
                "message": message,
                "since": SINCE,
                "observed_generation": 3,
            }
        ],
        "processes": [{"role": "main", "pid": 4711, "started": SINCE, "restarts": 0, "phase": "running"}],
        "observed": {"fps": 30, "resolution": "1280x720"},
    }


def status_of(*resources: ResourceAnswer, generation: int = 3, converged: bool = True) -> StatusAnswer:
    return {
        "generation": generation,
        "observed_generation": generation,
        "converged": converged,
        "resources": list(resources),
        "profile": "/etc/streamsd/profile.yaml",
        "revision": "abc123",
        "problems": [],
        "version": "0",
        "daemon_pid": 1,
    }


def empty_plan() -> PlanAnswer:
    return {"revision": "abc123", "generation": 3, "changes": 0, "actions": [], "waits": [], "diagnostics": []}


class FakeService:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.asked: list[Any] = []
        self.statuses = [status_of(resource("Display/desk"), resource("Stream/desktop"))]
        self.plan_answer = empty_plan()
        self.rolled_back = ""
        self.refuses: Refused | None = None
        self.past: list[tuple[int, dict[str, Any]]] = []
        self.coming: asyncio.Queue[tuple[int, dict[str, Any]]] = asyncio.Queue()
        self.followers = 0
        self.nobody_follows = asyncio.Event()
        self.logs: list[tuple[str, Path]] = []
        self.on_down: Callable[[], object] = lambda: None

    def _ask(self, *what: Any) -> None:
        self.asked.append(what)
        if self.refuses:
            raise self.refuses

    async def status(self) -> StatusAnswer:
        self._ask("status")
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]

    async def plan(self) -> PlanAnswer:
        self._ask("plan")
        return self.plan_answer

    async def apply(self, request: ApplyRequest) -> ApplyAnswer:
        self._ask("apply", request)
        answer: ApplyAnswer = {"accepted": True, "generation": 3, "plan": self.plan_answer}
        if request.get("rollback_on_failure"):
            answer["rolled_back"] = self.rolled_back
        return answer

    async def restart(self, address: Address, role: str | None) -> None:
        self._ask("restart", str(address), role)

    async def operate(self, address: Address, operation: str, arguments: dict[str, Any]) -> Any:
        self._ask("operate", str(address), operation, arguments)
        return {"scene": "live"}

    async def destroy(self, addresses: Sequence[Address]) -> None:
        self._ask("destroy", [str(a) for a in addresses])

    async def down(self) -> None:
        self._ask("down")
        asyncio.get_running_loop().call_later(0.05, self.on_down)

    async def describe(self, address: Address) -> dict[str, Any]:
        self._ask("describe", str(address))
        return {"address": str(address), "spec": {"key": "***"}}

    async def graph(self) -> GraphAnswer:
        self._ask("graph")
        return {"resources": ["Display/desk", "Stream/desktop"], "edges": [("Stream/desktop", "Display/desk")]}

    async def export(self) -> list[dict[str, Any]]:
        self._ask("export")
        return [{"apiVersion": "streamsd/v1", "kind": "Display", "name": "desk", "spec": {}, "status": {}}]

    async def events(
        self, *, since: int, follow: bool, address: Address | None
    ) -> AsyncIterator[tuple[int, dict[str, Any]]]:
        for seq, event in self.past:
            if seq > since and (address is None or event["address"] == str(address)):
                yield seq, event
        if not follow:
            return
        self.followers += 1
        try:
            while True:
                yield await self.coming.get()
        finally:
            self.followers -= 1
            if not self.followers:
                self.nobody_follows.set()

    def log_files(self, address: Address, role: str | None) -> list[tuple[str, Path]]:
        self._ask("logs", str(address), role)
        return [(r, path) for r, path in self.logs if role in (None, r)]
