"""A plan as text, for comparing with a file."""

from __future__ import annotations

from typing import assert_never

from streamsd.engine.plan import Patch, Plan, Start, Step, Stop


def plan_text(plan: Plan) -> str:
    """What people are shown of each action, then each step with those it waits for. Empty for an empty plan."""
    lines = []
    for action in plan.actions:
        line = f"{action.action.value} {action.address}: {action.cause}"
        if action.drift:
            line += " (drift)"
        if action.processes:
            line += f"; processes {', '.join(action.processes)}"
        if action.interrupts:
            line += f"; interrupts {', '.join(map(str, action.interrupts))}"
        lines.append(line)
    if plan.steps:
        lines.append("")
    for index, step in enumerate(plan.steps):
        line = f"{index}. {_step(step)}"
        befores = sorted(plan.after.get(index, ()))
        if befores:
            line += f" <- {', '.join(map(str, befores))}"
        lines.append(line)
    return "".join(line + "\n" for line in lines)


def _step(step: Step) -> str:
    match step:
        case Stop(address, roles, delete):
            return f"{'delete' if delete else 'stop'} {address} [{' '.join(sorted(roles))}]"
        case Start(address, roles):
            return f"start {address} [{' '.join(sorted(roles))}]"
        case Patch(address, parts, limits):
            words = [*sorted(parts), *(f"limits:{role}" for role in sorted(limits))]
            return f"patch {address} [{' '.join(words)}]"
        case _:
            assert_never(step)
