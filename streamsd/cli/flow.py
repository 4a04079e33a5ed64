"""`streamsd flow`: run, test, look into data flows."""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streamsd.cli.client import resource_path
from streamsd.cli.command import Session, command
from streamsd.cli.failure import Exit, Failure
from streamsd.cli.render import show_diagnostics

if TYPE_CHECKING:
    from streamsd.core.answers import DiagnosticAnswer
    from streamsd.core.diagnostics import Problem
    from streamsd.core.kind import Resource
    from streamsd.flow.plan import FlowPlan
    from streamsd.flow.spec.flow import FlowSpec

_FILE = click.Path(exists=True, path_type=Path)


@click.group("flow", context_settings={"help_option_names": ["-h", "--help"]})
def flow() -> None:
    """Run, test and look into data flows.

    `run`, `test` and `explain` need no daemon: they read a profile's flows themselves.
    """


@command("run")
@click.argument("file", type=_FILE)
@click.argument("name", required=False)
@click.option("--keep-state", type=click.Path(path_type=Path), metavar="DIR", help="Keep the flow's state in DIR.")
@click.option("--reset-state", is_flag=True, help="Begin with an empty state.")
def run_flow(session: Session, file: Path, name: str | None, keep_state: Path | None, reset_state: bool) -> Exit | None:
    """Run one flow of FILE in the foreground, without a daemon.

    It ends when its sources are at their end, or with Ctrl-C. Events go to stderr, one JSON object a line.
    """
    from streamsd.flow.checks import check_ends, check_state
    from streamsd.flow.split import split

    resource = _one(_flows(file, session), name)
    plan = _compiled(resource)
    problems = [*check_ends(resource.spec, supervised=False)]
    if keep_state is not None and not reset_state:
        problems += check_state(resource.spec, plan.state_shape, keep_state, "--reset-state")
    _refuse(resource, problems)
    held, live = split(resource.spec)
    directory = Path(tempfile.mkdtemp(prefix="streamsd-flow-"))
    argv = [sys.executable, "-m", "streamsd.programs.flow", "--name", resource.address.name, "--once"]
    argv += ["--base", str(resource.base.absolute())]
    for option, content in (("--spec", held), ("--live", live)):
        path = directory / f"{option[2:]}.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(content))
        argv += [option, str(path)]
    argv += ["--forget", str(directory)]
    if any(source.streamsd is not None for source in resource.spec.all_sources.values()):
        argv += ["--api", str(session.settings.api_socket)]
    if keep_state is not None:
        argv += ["--state", str(keep_state.absolute())]
    if reset_state:
        argv.append("--reset-state")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, argv)  # noqa: S606  # our own program, and a list


@command("test")
@click.argument("file", type=_FILE)
@click.argument("name", required=False)
def test_flow(session: Session, file: Path, name: str | None) -> Exit:
    """Run the tests that the flows of FILE declare, or those of one flow.

    `streamsd validate --test` runs them too.
    """
    from streamsd.cli.flow_tests import counted, run_flow_tests

    resources = _flows(file, session)
    told = run_flow_tests([_one(resources, name)] if name else resources.values())
    failed = [outcome for outcome in told if not outcome["passed"]]
    if session.json:
        session.answer({"tests": len(told), "failed": len(failed), "outcomes": told})
        return Exit.FAILED if failed else Exit.OK
    for outcome in told:
        words = (outcome["flow"], outcome["test"], "passed" if outcome["passed"] else "failed")
        session.say(": ".join(filter(None, words)))  # a flow that is wrong itself has no test to name
        show_diagnostics(outcome["diagnostics"])
    session.say(counted(told))
    return Exit.FAILED if failed else Exit.OK


@command("explain")
@click.argument("file", type=_FILE)
@click.argument("name", required=False)
@click.option("--code", is_flag=True, help="Show the loops that the steps are compiled to.")
def explain_flow(session: Session, file: Path, name: str | None, code: bool) -> None:
    """Show what a flow of FILE comes to: the fields after each step, what each sink promises, and what a change of
    each field would cost.

    A change is `live` (taken in between two batches), a `restart` that goes on from the stored state, or refused until
    the state is `reset` by a higher recovery.generation. What gives a value that a window keeps another type is refused
    too, wherever it stands.
    """
    resource = _one(_flows(file, session), name)
    plan = _compiled(resource)
    if session.json:
        session.answer(_explained(plan))
        return
    for stage in plan.stages:
        shown = "fields known when it runs" if stage.fields is None else _fields(stage.fields)
        click.echo(f"{stage.place:<18} {stage.does:<10} {shown}")
    click.echo()
    for line in (*_promises(resource.spec, plan), *_processes(resource.spec)):
        click.echo(line)
    click.echo()
    for cost, fields in _costs(resource.spec).items():
        click.echo(f"{cost:<10} {', '.join(fields)}")
    if code:
        for kind, ends in (("source", plan.sources), ("sink", plan.sinks)):
            for end in ends.values():
                if end.code:
                    click.echo(f"\n# {kind} {end.name}\n{end.code}")


@command("tap")
@click.argument("name")
@click.argument("step", required=False)
@click.option("--count", type=click.IntRange(1, 10_000), default=10, show_default=True, help="How many messages.")
@click.option("--seconds", type=click.FloatRange(0.1, 60), default=10, show_default=True, help="How long to wait.")
def tap_flow(session: Session, name: str, step: str | None, count: int, seconds: float) -> None:
    """Show the next results of the running flow NAME, and their rate; or what leaves one STEP of it.

    STEP is a number, from 1, or a place as `streamsd flow explain` names them: "source in", "sink out step 1". To look
    costs the flow some speed there while it lasts, and no message.
    """
    asked: dict[str, int | float | str] = {"count": count, "seconds": seconds}
    if step is not None:
        asked["place"] = f"step {step}" if step.isdigit() else step
    answer = session.client.post(_operation(name, "tap"), asked)
    if session.json:
        session.answer(answer)
        return
    for row in answer["rows"]:
        click.echo(json.dumps(row, ensure_ascii=False))
    click.echo(f"{answer['rate']:g} {'messages' if step else 'results'} a second", err=True)


@command("dlq")
@click.argument("name")
@click.argument("action", type=click.Choice(["list", "show", "replay"]), default="list")
@click.option("--count", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many to show.")
def dlq_flow(session: Session, name: str, action: str, count: int) -> None:
    """Show the dead letters of the running flow NAME, or replay them.

    `list` counts them by reason, `show` prints the newest as JSON, `replay` processes them once more: after a
    repair of the steps, say. Those that fail again are new dead letters.
    """
    if action == "replay":
        answer = session.client.post(_operation(name, "replay"), {})
        session.say(f"{answer['replayed']} replayed, {answer['left']} left that are no whole message of a source.")
    else:
        answer = session.client.post(_operation(name, "dead"), {"count": count})
        if action == "list":
            for reason, number in sorted(answer["reasons"].items()):
                session.say(f"{number:>8}  {reason}")
            session.say("" if answer["reasons"] else "No dead letters.")
        else:
            for entry in answer["newest"]:
                session.say(json.dumps(entry, ensure_ascii=False))
    if session.json:
        session.answer(answer)


for _command in (run_flow, test_flow, explain_flow, tap_flow, dlq_flow):
    flow.add_command(_command)


# --- what they share


def _operation(name: str, operation: str) -> str:
    return f"{resource_path(f'Flow/{name}')}/operations/{operation}"


def _flows(file: Path, session: Session) -> dict[str, Resource[FlowSpec]]:
    """The flows of a profile. Failure with every diagnostic when it is wrong."""
    from streamsd.core.diagnostics import Severity
    from streamsd.document.load import load
    from streamsd.kinds import load_kinds

    loaded = load(file.absolute(), load_kinds(), host=socket.gethostname(), environ=dict(os.environ))
    if any(diagnostic.severity is Severity.ERROR for diagnostic in loaded.diagnostics):
        told: list[DiagnosticAnswer] = [diagnostic.to_json() for diagnostic in loaded.diagnostics]
        raise Failure(f"{file} is not valid", code="invalid-profile", diagnostics=told)
    found = {address.name: resource for address, resource in loaded.resources.items() if address.kind == "Flow"}
    if not found:
        raise Failure(f"{file} declares no flow", "declare one under `flows`", code="no-flow")
    return found


def _one(resources: Mapping[str, Resource[FlowSpec]], name: str | None) -> Resource[FlowSpec]:
    from streamsd.core.diagnostics import name_hint

    if name is None:
        if len(resources) == 1:
            return next(iter(resources.values()))
        raise Failure("there are several flows", f"name one: {', '.join(resources)}", code="which-flow")
    if name not in resources:
        raise Failure(f"there is no flow {name!r}", name_hint(name, resources), code="unknown-flow")
    return resources[name]


def _compiled(resource: Resource[FlowSpec]) -> FlowPlan:
    from streamsd.core.diagnostics import ProblemsError
    from streamsd.flow.compiler import compile_flow
    from streamsd.flow.standing import Files, Standing

    base = resource.base.absolute()
    try:
        return compile_flow(resource.spec, Standing(base, Files.READ), base)
    except ProblemsError as fault:
        _refuse(resource, list(fault.problems))
        raise


def _refuse(resource: Resource[FlowSpec], problems: list[Problem]) -> None:
    """Failure when there are problems, each with its place in the text."""
    from streamsd.core.kind import diagnostic
    from streamsd.kinds import load_kinds

    if not problems:
        return
    kind, name = load_kinds().named("Flow"), resource.address.name
    told = [diagnostic(kind, name, resource.locate, problem).to_json() for problem in problems]
    raise Failure(f"the flow {resource.address.name} cannot run", code="invalid-flow", diagnostics=told)


def _fields(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {kind}" for name, kind in fields.items())


def _promises(spec: FlowSpec, plan: FlowPlan) -> list[str]:
    from streamsd.flow.promises import delivery_of

    return [f"{name}: {delivery_of(spec, sink.spec)}" for name, sink in plan.sinks.items()]


def _costs(spec: FlowSpec) -> dict[str, list[str]]:
    """What a change costs, and the fields whose change costs that."""
    from streamsd.core.diagnostics import dotted
    from streamsd.flow.costs import Cost, costs_of

    found = [(dotted(path), cost) for path, cost in costs_of(spec)]
    return {cost: fields for cost in Cost if (fields := [field for field, its in found if its is cost])}


def _processes(spec: FlowSpec) -> list[str]:
    """Who does what, of several."""
    from streamsd.flow.layout import Layout

    layout = Layout(spec)
    lines = []
    for process in range(layout.of if layout.of > 1 else 0):
        sources = [f"part of {n}" if layout.divided(n) else n for n in layout.sources(process)]
        sinks = [name for name in spec.all_sinks if layout.sink(name) in (None, process)]
        reads, writes = (", ".join(names) or "nothing" for names in (sources, sinks))
        lines.append(f"process {process}: reads {reads}; writes {writes}")
    return lines


def _explained(plan: FlowPlan) -> dict[str, Any]:
    from streamsd.flow.promises import delivery_of

    return {
        "stages": [
            {
                "place": stage.place,
                "does": stage.does,
                "fields": None if stage.fields is None else {name: str(kind) for name, kind in stage.fields.items()},
            }
            for stage in plan.stages
        ],
        "delivery": {name: delivery_of(plan.spec, sink.spec) for name, sink in plan.sinks.items()},
        "costs": {field: cost for cost, fields in _costs(plan.spec).items() for field in fields},
    }
