"""Answers of the daemon, for people."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from streamsd.cli.paint import Colour, ago, coloured, harmless, paint, shorten, table, terminal_width

if TYPE_CHECKING:
    from streamsd.cli.failure import Failure
    from streamsd.core.answers import (
        ActionAnswer,
        ConditionAnswer,
        DiagnosticAnswer,
        PlanAnswer,
        ResourceAnswer,
        StatusAnswer,
    )

_SYMBOLS: Mapping[str, tuple[str, Colour]] = {
    "create": ("+", Colour.GREEN),
    "patch": ("~", Colour.CYAN),
    "restart": ("!", Colour.YELLOW),
    "replace": ("-/+", Colour.YELLOW),
    "delete": ("-", Colour.RED),
}
_OBSERVED_SHOWN = 4
_ONE_BEFORE = "The newest profile was refused, so the one before it goes on. `streamsd plan` says more."
_NONE_BEFORE = "It was refused, and there was none before it. `streamsd plan` says more."


def show_failure(failure: Failure) -> None:
    """`error: …` and `hint: …` on stderr, with the place in the profile where there is one."""
    show_diagnostics(failure.diagnostics)
    # a message may quote others: who holds the lock, what a program said
    click.echo(f"{paint('error:', Colour.RED, sys.stderr)} {harmless(failure.message)}", err=True)
    if failure.hint:
        click.echo(f"{paint('hint:', Colour.CYAN, sys.stderr)} {harmless(failure.hint)}", err=True)


def show_diagnostics(diagnostics: Sequence[DiagnosticAnswer]) -> None:
    """Each with its place and an excerpt of the text, on stderr."""
    if not diagnostics:
        return
    from streamsd.cli.excerpts import excerpt

    for diagnostic in diagnostics:
        click.echo(excerpt(diagnostic, sys.stderr) + "\n", err=True)


def plan_lines(plan: PlanAnswer) -> list[str]:
    """A plan as terraform shows one: a symbol, the resource, why, and what it interrupts; then what waits."""
    if not plan["actions"] and not plan["waits"]:
        return ["Nothing to do: what runs is what the profile says."]
    rows = [_action_row(action) for action in plan["actions"]]
    rows += [[f"{'...':>3} {paint(wait['address'], Colour.BOLD)}", "wait", wait["why"]] for wait in plan["waits"]]
    counts: dict[str, int] = {}
    for action in plan["actions"]:
        counts[action["action"]] = counts.get(action["action"], 0) + 1
    summary = [f"{counts[name]} to {name}" for name in _SYMBOLS if name in counts] or ["nothing to do now"]
    if plan["waits"]:
        summary.append(f"{len(plan['waits'])} to wait for")
    return [*table(rows), "", paint(f"Plan: {', '.join(summary)}.", Colour.BOLD)]


def _action_row(action: ActionAnswer) -> list[str]:
    symbol, colour = _SYMBOLS[action["action"]]
    cause = action["cause"]
    others = [address for address in action["interrupts"] if address != action["address"]]
    if others:
        cause += f"; interrupts {', '.join(others)}"
    return [f"{paint(symbol.rjust(3), colour)} {paint(action['address'], Colour.BOLD)}", action["action"], cause]


def status_lines(status: StatusAnswer) -> list[str]:
    """The table of resources, then what is wrong, then where the whole stands."""
    width = terminal_width()
    rows = [["ADDRESS", "READY", "PROCESSES", "SINCE", "OBSERVED"]]
    rows += [_status_row(resource) for resource in status["resources"]]
    lines = table(rows)
    if not coloured(sys.stdout):
        lines = [shorten(line, width) for line in lines]
    lines[0] = paint(lines[0], Colour.DIM)
    if not status["resources"]:
        refused = status["problems"] and not status["generation"]
        lines = [f"No resources: the profile {'was refused' if refused else 'declares nothing yet'}."]
    problems = _problem_lines(status)
    return [*lines, *([""] if problems else []), *problems, "", _summary(status)]


def _status_row(resource: ResourceAnswer) -> list[str]:
    processes = resource["processes"]
    running = sum(1 for process in processes if process["pid"])
    restarts = sum(process["restarts"] for process in processes)
    counted = f"{running}/{len(processes)}" + (f" ({restarts} restarts)" if restarts else "")
    ready = _condition(resource, "Ready")
    return [
        resource["address"],
        _ready_word(resource),
        counted,
        ago(ready["since"]) if ready else "",
        observed_text(resource["observed"]),
    ]


def why_not_ready(resource: ResourceAnswer) -> ConditionAnswer | None:
    """The condition that says it best: why it was given up says more than its last failure."""
    progressing, ready = _condition(resource, "Progressing"), _condition(resource, "Ready")
    given_up = progressing is not None and progressing["status"] == "False" and progressing["message"] != ""
    return progressing if given_up else ready


def why_degraded(resource: ResourceAnswer) -> ConditionAnswer | None:
    """What is wrong with it though it is ready."""
    degraded = _condition(resource, "Degraded")
    return degraded if degraded is not None and degraded["status"] == "True" else None


def _ready_word(resource: ResourceAnswer) -> str:
    if resource["ready"]:
        if why_degraded(resource):
            return paint("degraded", Colour.YELLOW)
        return paint("yes", Colour.GREEN)
    why = why_not_ready(resource)
    word = f"no: {why['reason']}" if why and why["reason"] else "no"
    return paint(word, Colour.RED)


def observed_text(observed: Mapping[str, object]) -> str:
    """The first few figures in one line: `fps=30 speed=1.0`."""
    flat = [
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in observed.items()
        if isinstance(value, str | int | float) and value != ""
    ]
    return harmless(" ".join(flat[:_OBSERVED_SHOWN]))


def _condition(resource: ResourceAnswer, type_: str) -> ConditionAnswer | None:
    return next((c for c in resource["conditions"] if c["type"] == type_), None)


def _wrong_conditions(resource: ResourceAnswer) -> list[ConditionAnswer]:
    """Those that tell of something wrong; why it is not ready comes first, by the condition that says it best."""
    why = None if resource["ready"] else why_not_ready(resource)
    others = [
        condition
        for condition in resource["conditions"]
        if (condition["status"] == "True") == (condition["type"] in ("Degraded", "Drifted", "Overridden"))
        and condition["type"] not in ("Progressing", "Ready")
    ]
    return [why, *others] if why else others


def _problem_lines(status: StatusAnswer) -> list[str]:
    lines = []
    for resource in status["resources"]:
        told: set[str] = set()
        for condition in _wrong_conditions(resource):
            if any(condition["message"] in message for message in told):
                continue  # Degraded often repeats why it is not Ready
            told.add(condition["message"])
            kind = condition["type"].lower() if condition["status"] == "True" else "not ready"
            message = harmless(condition["message"])
            name = paint(resource["address"], Colour.BOLD)
            lines.append(f"{name}  {kind}: {condition['reason']}" + (f": {message}" if message else ""))
    for problem in status["problems"]:
        where = f"{problem['file']}:{problem['line']}:{problem['column']}: " if problem["file"] else ""
        refused = problem["severity"] == "error"
        word = paint("refused", Colour.RED) if refused else paint("warning", Colour.YELLOW)
        lines.append(f"{word}  {where}{problem['message']} [{problem['code']}]")
    if any(problem["severity"] == "error" for problem in status["problems"]):
        lines.append(_ONE_BEFORE if status["generation"] else _NONE_BEFORE)
    return lines


def _summary(status: StatusAnswer) -> str:
    ready = sum(1 for resource in status["resources"] if resource["ready"])
    state = "converged" if status["converged"] else "not converged"
    return (
        f"{ready} of {len(status['resources'])} ready, generation {status['generation']} {state}, {status['profile']}"
    )


def describe_lines(described: Mapping[str, object]) -> list[str]:
    """Nested plain data as indented lines, in the order it came."""
    lines: list[str] = []
    _indent(described, 0, lines)
    return lines


def _indent(value: object, depth: int, lines: list[str]) -> None:
    pad = "  " * depth
    if isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(item, Mapping | list) and item:
                lines.append(f"{pad}{paint(str(key), Colour.CYAN)}:")
                _indent(item, depth + 1, lines)
            else:
                lines.append(f"{pad}{paint(str(key), Colour.CYAN)}: {_scalar(item)}")
    elif isinstance(value, list):
        if all(not isinstance(item, Mapping | list) for item in value):
            lines.append(pad + " ".join(_scalar(item) for item in value))
            return
        for item in value:
            inner: list[str] = []
            _indent(item, depth + 1, inner)
            lines.append(f"{pad}- {inner[0].lstrip()}" if inner else f"{pad}-")
            lines += inner[1:]
    else:
        lines.append(pad + _scalar(value))


def _scalar(value: object) -> str:
    match value:
        case None:
            return "-"
        case True | False:
            return str(value).lower()
        case {} | []:
            return "none"
        case _:
            return harmless(str(value))
