"""What the daemon knows, in the shapes of its answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from streamsd.core.answers import PlanAnswer, ProcessAnswer, ResourceAnswer
from streamsd.core.clock import Clock, rfc3339
from streamsd.core.runtime import ProcessState
from streamsd.daemon.profile import Candidate
from streamsd.document.envelope import envelope
from streamsd.engine.desired import Desired, Generation
from streamsd.engine.plan import Plan
from streamsd.engine.reconciler import Reconciler


def resource_answer(desired: Desired, reconciler: Reconciler, clock: Clock) -> ResourceAnswer:
    """A resource's conditions, processes and figures."""
    address, world = desired.address, reconciler.world
    conditions = reconciler.conditions.get(address)
    seen = world.measured.get(address)
    processes: list[ProcessAnswer] = []
    now = datetime.now(UTC)
    for unit in desired.compiled.units:
        observed = world.observed(unit.id)
        life = world.life(unit.id)
        alive = observed is not None and observed.state is not ProcessState.EXITED
        age = clock.monotonic() - observed.started if observed else 0.0
        processes.append(
            {
                "role": unit.id.role,
                "pid": observed.pid if observed and alive else 0,
                "started": rfc3339(now - timedelta(seconds=age)) if alive else "",
                "restarts": life.restarts,
                "phase": life.phase.value,
            }
        )
    return {
        "address": str(address),
        "kind": address.kind,
        "name": address.name,
        "ready": conditions is not None and conditions.is_true("Ready"),
        "conditions": [c.to_json(reconciler.observed_generation) for c in conditions.all()] if conditions else [],
        "processes": processes,
        "observed": dict(seen.observed) if seen else {},
    }


def declaration(desired: Desired, generation: Generation, log_dir: Path) -> dict[str, Any]:
    """What is declared of a resource and what it comes to; secrets masked."""
    address = desired.address
    at = desired.resource.locate(())
    return {
        "spec": envelope(desired.resource)["spec"],
        "declared_at": str(at) if at else None,
        "depends_on": sorted(str(a) for a in desired.dependencies),
        "depended_on_by": sorted(str(a) for a in generation.dependents().get(address, ())),
        "units": [
            {
                "role": unit.id.role,
                "argv": list(unit.argv),
                "environment": sorted(unit.env),
                "files": [str(f.path) for f in unit.files],
                "log": str(log_dir / f"{unit.id.slug}.log"),
                "spec_hash": desired.hashes[unit.id.role],
            }
            for unit in desired.compiled.units
        ],
        "live": {key: part.desired for key, part in desired.compiled.live.items()},
    }


def plan_answer(candidate: Candidate, generation: int, plan: Plan) -> PlanAnswer:
    """A plan for the candidate, compared with the accepted generation of that number."""
    return {
        "revision": candidate.loaded.revision,
        "generation": generation,
        "changes": len(plan.actions),
        "actions": [action.to_json() for action in plan.actions],
        "waits": [{"address": str(address), "why": why} for address, why in sorted(plan.waits.items())],
        "diagnostics": [d.to_json() for d in candidate.diagnostics],
    }
