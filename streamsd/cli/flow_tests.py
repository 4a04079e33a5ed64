"""The tests that flows declare, run for `streamsd flow test` and `streamsd validate --test`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from streamsd.core.answers import FlowTestAnswer

if TYPE_CHECKING:
    from streamsd.core.kind import Resource
    from streamsd.flow.spec.flow import FlowSpec


def run_flow_tests(resources: Iterable[Resource[FlowSpec]]) -> list[FlowTestAnswer]:
    """Every test of every flow. A flow that is wrong on this host has one outcome, without a name: what is wrong."""
    from streamsd.core.diagnostics import Problem, ProblemsError
    from streamsd.core.kind import diagnostic
    from streamsd.flow.trial_room import run_tests
    from streamsd.kinds import load_kinds

    kind = load_kinds().named("Flow")
    told: list[FlowTestAnswer] = []

    def tell(resource: Resource[Any], test: str, problems: Iterable[Problem]) -> None:
        name = resource.address.name
        found = [diagnostic(kind, name, resource.locate, problem).to_json() for problem in problems]
        told.append({"flow": name, "test": test, "passed": not found, "diagnostics": found})

    for resource in resources:
        try:
            for outcome in run_tests(resource.spec, resource.base.absolute()):
                tell(resource, outcome.name, outcome.problems)
        except ProblemsError as fault:
            tell(resource, "", fault.problems)
    return told


def counted(told: list[FlowTestAnswer]) -> str:
    """`3 tests, 1 failed.`"""
    failed = sum(not outcome["passed"] for outcome in told)
    return f"{len(told)} test{'s' * (len(told) != 1)}, {failed} failed." if told else "No flow declares a test."
