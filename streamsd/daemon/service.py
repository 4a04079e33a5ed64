"""What the daemon can be asked for: the Service that the API serves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from streamsd import __version__
from streamsd.core.address import Address
from streamsd.core.answers import (
    ApplyAnswer,
    ApplyRequest,
    DiagnosticAnswer,
    ErrorAnswer,
    GraphAnswer,
    PlanAnswer,
    ResourceAnswer,
    StatusAnswer,
)
from streamsd.core.clock import Clock, rfc3339
from streamsd.core.diagnostics import Diagnostic, Severity
from streamsd.core.kind import OperationFault, Registry
from streamsd.core.runtime import ProcessState, Runtime, RuntimeFault
from streamsd.core.service import Refused
from streamsd.core.settings import Settings
from streamsd.daemon.air import Air
from streamsd.daemon.eventlog import EventLog
from streamsd.daemon.profile import Candidate, Profiles
from streamsd.daemon.shapes import declaration, plan_answer, resource_answer
from streamsd.daemon.state_reset import resets_allowed
from streamsd.document.envelope import declared, envelope
from streamsd.engine.desired import Desired, Generation
from streamsd.engine.live import fault_words
from streamsd.engine.plan import Plan
from streamsd.engine.reconciler import Reconciler

_SETTLE = 120.0
"""Seconds an apply that may be rolled back is given to converge."""
_LOOK = 2.0
_STOP = 60.0
"""Seconds that stopping resources is waited for."""
SAVED = "the save of a file"
"""Who applies when a file has changed."""


class DaemonService:
    """See streamsd.core.service.Service. `released(addresses)` gives back what resources that are gone held."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        profiles: Profiles,
        reconciler: Reconciler,
        runtime: Runtime,
        log: EventLog,
        clock: Clock,
        released: Callable[[frozenset[Address]], None],
    ) -> None:
        self.settings = settings
        self.stopped = asyncio.Event()
        self.files_changed: Callable[[frozenset[Path]], None] = lambda files: None
        self._registry = registry
        self._profiles = profiles
        self._reconciler = reconciler
        self._runtime = runtime
        self._log = log
        self._clock = clock
        self._released = released
        self._lock = asyncio.Lock()
        self._holder = ""
        self._problems: list[DiagnosticAnswer] = []
        self._refused = ""
        self._last_read = ""
        self._accepted: Candidate | None = None
        self._air = Air(reconciler.world)

    async def broken(self) -> None:
        """Wait until the engine cannot go on: raises why. The daemon ends then, and the next one adopts what runs."""
        await self._reconciler.broken()

    # -- reading

    async def status(self) -> StatusAnswer:
        generation = self._reconciler.world.generation
        return {
            "generation": generation.number,
            "observed_generation": self._reconciler.observed_generation,
            "converged": self._reconciler.converged(),
            "resources": [self._resource(d) for _, d in sorted(generation.resources.items())],
            "profile": str(self.settings.profile),
            "revision": generation.revision,
            "problems": self._problems,
            "version": __version__,
            "daemon_pid": os.getpid(),
        }

    async def plan(self) -> PlanAnswer:
        candidate = await self._read()
        if candidate.generation is None:
            return self._plan_answer(candidate, Plan())
        try:
            return self._plan_answer(candidate, await self._reconciler.survey.plan(candidate.generation))
        except RuntimeFault as fault:
            words = f"what runs is not known, so there is no plan: {fault}"
            raise Refused(503, _error("runtime-unreachable", words, "it is joined again; plan then")) from fault

    async def describe(self, address: Address) -> dict[str, Any]:
        desired = self._find(address)
        events = self._log.events(since=0, follow=False, address=address)
        return {
            **self._resource(desired),
            **declaration(desired, self._reconciler.world.generation, self.settings.log_dir),
            "events": [fields async for _, fields in events][-20:],
        }

    async def graph(self) -> GraphAnswer:
        resources = self._reconciler.world.generation.resources
        return {
            "resources": [str(a) for a in sorted(resources)],
            "edges": [(str(a), str(t)) for a in sorted(resources) for t in sorted(resources[a].dependencies)],
        }

    async def export(self) -> list[dict[str, Any]]:
        resources = self._reconciler.world.generation.resources
        return [dict(envelope(resources[a].resource, self._resource(resources[a]))) for a in sorted(resources)]

    async def declared(self) -> dict[str, Any]:
        found: dict[str, Any] = {"version": 1}
        for address, resource in sorted(self._accepted.loaded.resources.items() if self._accepted else ()):
            found.setdefault(self._registry.named(address.kind).section, {})[address.name] = declared(resource)
        return found

    def events(self, *, since: int, follow: bool, address: Address | None) -> AsyncIterator[tuple[int, dict[str, Any]]]:
        return self._log.events(since=since, follow=follow, address=address)

    def log_files(self, address: Address, role: str | None) -> list[tuple[str, Path]]:
        desired = self._find(address)
        roles = [unit.id for unit in desired.compiled.units if role in (None, unit.id.role)]
        if not roles:
            names = ", ".join(unit.id.role for unit in desired.compiled.units)
            raise Refused(404, _error("role-unknown", f"{address} has no process {role!r}", f"it has: {names}"))
        return [(unit.role, self.settings.log_dir / f"{unit.slug}.log") for unit in roles]

    # -- changing

    async def news(self) -> bool:
        """Whether the profile's files say something else than at the last apply, whatever became of that."""
        try:
            return await asyncio.to_thread(self._profiles.revision) != self._last_read
        except Exception:  # noqa: BLE001  # an apply meets the same fault, and says so
            return True

    async def apply(self, request: ApplyRequest) -> ApplyAnswer:
        holder = request.get("holder", "somebody")
        # The file that somebody has just saved and now applies: the second waits for the first.
        if self._lock.locked() and not self._holder.startswith(SAVED):
            raise Refused(409, _error("conflict", f"{self._holder} is applying", "try again when it has finished"))
        async with self._lock:
            self._holder = f"{holder}, since {rfc3339(self._clock.now())},"
            before = self._accepted
            answer = await self._apply(request)
            if request.get("rollback_on_failure"):
                answer["rolled_back"] = await self._settle_or_roll_back(answer["generation"], before)
            return answer

    async def _apply(self, request: ApplyRequest) -> ApplyAnswer:
        accepted = self._reconciler.world.generation.resources
        with resets_allowed(request.get("reset_state", ()), accepted, self._registry) as resets:
            candidate = await self._read()
            self._last_read = candidate.loaded.revision
            self.files_changed(candidate.loaded.files)
            if candidate.generation is None:
                self._refuse(candidate)
            assert candidate.generation is not None
            planned = request.get("plan")
            if planned is not None:
                self._fresh(planned, candidate.generation)
            await self._reconciler.survey.acquaint()
            plan = self._reconciler.survey.preview(candidate.generation)
            if not request.get("allow_interrupt"):
                self._air.guard(plan)
        answer = self._plan_answer(candidate, plan)
        for action in answer["actions"]:
            if words := resets.get(Address.parse(action["address"])):
                action["cause"] += f"; {words}"
        self._accept(candidate)
        return {"accepted": True, "generation": self._reconciler.world.generation.number, "plan": answer}

    async def _read(self) -> Candidate:
        """The profile as its files stand now. A kind that fails in a way nobody foresaw (it may be another package's)
        must not take the controller of all others with it: it refuses the profile, and the log has the traceback,
        without what the error says: that may quote a secret."""
        try:
            return await asyncio.to_thread(self._profiles.read)
        except Exception as error:
            traceback.print_tb(error.__traceback__)
            words = f"reading the profile failed inside streamsd: {fault_words(error)}"
            self._reconciler.tell("profile-unread", message=words)
            raise Refused(
                500, _error("internal-error", words, "this is a fault of streamsd; its log says more")
            ) from error

    def _accept(self, candidate: Candidate) -> None:
        generation = candidate.generation
        assert generation is not None
        self._air.wait_no_more()
        self._problems = [d.to_json() for d in candidate.diagnostics]
        self._refused = ""
        current = self._reconciler.world.generation
        if generation.revision == current.revision and generation.resources == current.resources:
            if self._reconciler.world.held:
                self._reconciler.accept(current)
            return  # nothing changed: no new generation either
        self._profiles.keep(candidate)
        self._accepted = candidate
        self._reconciler.accept(generation)
        self._released(frozenset(generation.resources))
        self._reconciler.tell(
            "profile-accepted",
            generation=generation.number,
            revision=generation.revision,
            resources=len(generation.resources),
        )

    def tell(self, event: str, **fields: Any) -> None:
        """An event of the daemon's own."""
        self._reconciler.tell(event, **fields)

    def accept_last_good(self) -> bool:
        """At a start, when the file is not valid: go on with what was accepted last. False when there is nothing."""
        candidate = self._profiles.read_last_good()
        if candidate is None:
            return False
        problems = self._problems
        self._accept(candidate)
        self._problems = problems
        self._reconciler.tell("last-good-restored", generation=self._reconciler.world.generation.number)
        return True

    def _refuse(self, candidate: Candidate) -> None:
        self._air.wait_no_more()
        self._problems = [d.to_json() for d in candidate.diagnostics]
        errors = [d for d in candidate.diagnostics if d.severity == "error"]
        first = errors[0] if errors else None
        words = str(first) if first else "the profile is not valid"
        if self._refused != candidate.loaded.revision:
            self._refused = candidate.loaded.revision
            self._reconciler.tell("profile-refused", problems=len(errors), first=words)
        counted = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        answer = _error("invalid-profile", f"the profile was refused: {counted}", "nothing was touched")
        raise Refused(422, {**answer, "diagnostics": self._problems})

    def _fresh(self, planned: PlanAnswer, generation: Generation) -> None:
        now = self._reconciler.world.generation.number
        if planned["generation"] != now:
            words = f"the plan was made against generation {planned['generation']}, now it is {now}"
            raise Refused(409, _error("stale-plan", words, "plan again"))
        if planned["revision"] != generation.revision:
            raise Refused(409, _error("stale-plan", "the profile has changed since the plan was made", "plan again"))

    def wait_for_the_air(self, why: str) -> None:
        """The saved file was refused for what is on the air: it is to be applied when that has ended."""
        self._air.wait()
        hint = "it is applied when that is off the air, or at once by `streamsd apply --allow-interrupt`"
        held = Diagnostic("would-interrupt", f"the newest file waits: {why}", hint, severity=Severity.WARNING)
        self._problems = [held.to_json()]

    def may_go_on(self) -> bool:
        """Whether a file waited for the air, and need not any longer."""
        return self._air.is_over()

    async def _settle_or_roll_back(self, number: int, before: Candidate | None) -> str:
        deadline = self._clock.monotonic() + _SETTLE
        reconciler = self._reconciler
        why = f"it did not converge within {_SETTLE:g} s"
        while self._clock.monotonic() < deadline:
            if reconciler.world.generation.number != number:
                return ""  # somebody went on from there
            if reconciler.converged():
                return ""
            failed = reconciler.failed()
            if failed:
                condition = reconciler.conditions[failed[0]].get("Ready")
                why = f"{failed[0]}: {condition.message if condition else 'failed'}"
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await reconciler.moved()
        if before is None or before.generation is None:
            self._reconciler.tell("rollback-impossible", why=why)
            return ""  # the caller sees that it failed: the generation is the one it asked for, and is not converged
        back = Generation(self._profiles.number + 1, before.generation.revision, before.generation.resources)
        self._profiles.keep(Candidate(before.loaded, back, before.diagnostics))
        self._accepted = Candidate(before.loaded, back, before.diagnostics)
        reconciler.accept(back)
        reconciler.tell("rolled-back", generation=back.number, why=why)
        return why

    async def restart(self, address: Address, role: str | None) -> None:
        self.log_files(address, role)  # refuses what is not known
        roles = frozenset([role] if role else [u.id.role for u in self._find(address).compiled.units])
        self._reconciler.force(address, roles)

    async def operate(self, address: Address, operation: str, arguments: dict[str, Any]) -> Any:
        desired = self._find(address)
        try:
            kind = self._registry.named(address.kind)
            answer = await kind.operate(desired.resource, desired.compiled, operation, arguments)
        except OperationFault as fault:
            status, code = (409, "conflict") if fault.conflict else (422, "operation-failed")
            raise Refused(status, _error(code, str(fault), fault.hint)) from fault
        self._reconciler.tell("operation", address, operation=operation)
        # who asks for the status next sees what came of it
        await self._reconciler.survey.look_closely([desired])
        self._reconciler.look(address)
        await self._until(lambda: not self._reconciler.is_due(address), _LOOK)
        return answer

    async def destroy(self, addresses: Sequence[Address]) -> None:
        for address in addresses:
            self._find(address)
        held = self._reconciler.hold(addresses)
        self._reconciler.tell("destroyed", resources=sorted(str(a) for a in held))
        if not await self._until(lambda: not any(self._runs(a) for a in held), _STOP):
            left = ", ".join(sorted(str(a) for a in held if self._runs(a)))
            hint = "it goes on stopping; `streamsd status` shows what is left"
            raise Refused(504, _error("timed-out", f"{left} still runs after {_STOP:g} s", hint))

    async def down(self) -> None:
        async with self._lock:
            self._holder = "down"
            reconciler = self._reconciler
            reconciler.tell("down")
            reconciler.accept(Generation(self._profiles.number, "", {}))
            await self._until(lambda: not reconciler.world.units, _STOP)  # what is left then, the runtime ends
            await self._runtime.shutdown()
            self.stopped.set()

    async def _until(self, fact: Callable[[], bool], seconds: float) -> bool:
        """Wait for it; whether it came."""
        deadline = self._clock.monotonic() + seconds
        while not fact() and self._clock.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await self._reconciler.moved()
        return fact()

    # -- shapes

    def _runs(self, address: Address) -> bool:
        units = self._reconciler.world.units.get(address, {})
        return any(unit.state is not ProcessState.EXITED for unit in units.values())

    def _find(self, address: Address) -> Desired:
        resources = self._reconciler.world.generation.resources
        if address not in resources:
            same = sorted(str(a) for a in resources if a.kind == address.kind)
            hint = f"there are: {', '.join(same)}" if same else "see `streamsd status`"
            raise Refused(404, _error("resource-unknown", f"there is no {address}", hint))
        return resources[address]

    def _resource(self, desired: Desired) -> ResourceAnswer:
        return resource_answer(desired, self._reconciler, self._clock)

    def _plan_answer(self, candidate: Candidate, plan: Plan) -> PlanAnswer:
        return plan_answer(candidate, self._reconciler.world.generation.number, plan)


def _error(code: str, message: str, hint: str = "") -> ErrorAnswer:
    return {"error": code, "message": message, "hint": hint}
