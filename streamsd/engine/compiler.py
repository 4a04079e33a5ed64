"""Accepted specs to desired state: every check of every kind, and every collision, before anything is touched."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from streamsd.core.address import Address
from streamsd.core.claim import Claim
from streamsd.core.diagnostics import Diagnostic, Problem, ProblemsError, Severity
from streamsd.core.kind import Reference, Registry, Resource, diagnostic, references_of
from streamsd.core.unit import spec_hash
from streamsd.engine.context import HostContext
from streamsd.engine.desired import Desired, dependency_order


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A resource as it was compiled last, with all that went into it."""

    resource: Resource[Any]
    references: tuple[Reference, ...]
    exports: tuple[object, ...]
    desired: Desired


class Compiler:
    """Compiles resources; what did not change since the last round is taken as it was."""

    def __init__(self, registry: Registry, context: HostContext, key: bytes) -> None:
        self._registry = registry
        self._context = context
        self._key = key
        self._cache: dict[Address, _Compiled] = {}
        self._one_at_a_time = threading.Lock()

    def compile(
        self,
        resources: Mapping[Address, Resource[Any]],
        running: frozenset[Address],
        held: frozenset[tuple[str, str]] = frozenset(),
        accepted: Mapping[Address, Resource[Any]] | None = None,
    ) -> tuple[dict[Address, Desired], tuple[Diagnostic, ...]]:
        """Desired state in dependency order, and what is wrong. With any error the first is not to be used. Called
        from threads: a plan is made while an apply is.

        `running`: resources that run and of which it is not known what they hold (ports, displays). `held`: what and
        which of all that is held by processes of ours, so that a renamed resource takes over its port. `accepted`: the
        resources as they are until then.
        """
        with self._one_at_a_time:
            self._context.begin(accepted or {})
            return self._compile(resources, running, held)

    def _compile(
        self, resources: Mapping[Address, Resource[Any]], running: frozenset[Address], held: frozenset[tuple[str, str]]
    ) -> tuple[dict[Address, Desired], tuple[Diagnostic, ...]]:
        found: dict[Address, Desired] = {}
        diagnostics: list[Diagnostic] = []
        failed: set[Address] = set()
        references = {address: self._references(resource) for address, resource in resources.items()}
        for address in dependency_order({a: {r.target for r in its} for a, its in references.items()}):
            resource = resources[address]
            if any(reference.target in failed for reference in references[address]):
                failed.add(address)
                continue
            problems, desired = self._one(resource, references[address], found)
            diagnostics += [self._located(resource, problem) for problem in problems]
            if desired is None or any(p.severity is Severity.ERROR for p in problems):
                failed.add(resource.address)
            else:
                found[resource.address] = desired
        diagnostics += [self._located(resources[a], p) for a, p in _collisions(found, running, held)]
        self._cache = {a: entry for a, entry in self._cache.items() if a in resources}
        return found, tuple(diagnostics)

    def _references(self, resource: Resource[Any]) -> tuple[Reference, ...]:
        cached = self._cache.get(resource.address)
        if cached is not None and cached.resource.spec is resource.spec:
            return cached.references
        return tuple(references_of(resource.spec))

    def _one(
        self, resource: Resource[Any], references: tuple[Reference, ...], found: Mapping[Address, Desired]
    ) -> tuple[list[Problem], Desired | None]:
        targets = sorted({reference.target for reference in references})
        exports = tuple(found[target].compiled.exports for target in targets)
        kind = self._registry.named(resource.address.kind)
        try:
            problems = list(kind.check(resource, self._context))
        except ProblemsError as error:
            return list(error.problems), None
        if any(p.severity is Severity.ERROR for p in problems):
            return problems, None
        cached = self._cache.get(resource.address)
        if (
            cached
            and (cached.resource.spec is resource.spec or cached.resource.spec == resource.spec)
            and cached.resource.base == resource.base
            and cached.exports == exports
        ):
            return problems, cached.desired
        try:
            compiled = kind.compile(resource, self._context)
        except ProblemsError as error:
            return [*problems, *error.problems], None
        self._context.export(resource.address, compiled.exports)
        desired = Desired(
            resource,
            compiled,
            {unit.id.role: spec_hash(unit, self._key) for unit in compiled.units},
            frozenset(targets),
            frozenset(r.target for r in references if r.follows),
        )
        self._cache[resource.address] = _Compiled(resource, references, exports, desired)
        return problems, desired

    def _located(self, resource: Resource[Any], problem: Problem) -> Diagnostic:
        kind = self._registry.named(resource.address.kind)
        return diagnostic(kind, resource.address.name, resource.locate, problem)


def _collisions(
    found: Mapping[Address, Desired], running: frozenset[Address], held: frozenset[tuple[str, str]]
) -> list[tuple[Address, Problem]]:
    holders: dict[tuple[str, str], list[tuple[Claim, Address]]] = {}
    problems: list[tuple[Address, Problem]] = []
    for address, desired in sorted(found.items()):
        for claim in desired.compiled.claims:
            others = holders.setdefault(claim.thing, [])
            other = next((a for theirs, a in others if a != address and theirs.clashes(claim)), None)
            others.append((claim, address))
            if other is not None:
                words = f"{claim} is taken by {other} of this profile"
                problem = Problem(f"{claim.what}-taken", words, hint="give one of them another", path=claim.path)
                problems.append((address, problem))
            elif address in running or claim.thing in held:
                continue
            elif holder := claim.held_outside():
                problem = Problem(f"{claim.what}-taken", holder, hint="free it, or choose another", path=claim.path)
                problems.append((address, problem))
    return problems
