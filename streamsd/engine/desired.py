"""Desired state: accepted resources with everything the planner needs to know of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from streamsd.core.address import Address
from streamsd.core.kind import Compiled, Resource, references_of


@dataclass(frozen=True, slots=True)
class Desired:
    """One resource, compiled. `hashes`: role to spec hash."""

    resource: Resource[Any]
    compiled: Compiled
    hashes: Mapping[str, str]
    dependencies: frozenset[Address]
    follows: frozenset[Address]

    @property
    def address(self) -> Address:
        return self.resource.address

    @property
    def required(self) -> frozenset[str]:
        """Roles the resource is not Ready without."""
        if self.compiled.required is not None:
            return self.compiled.required
        return frozenset(unit.id.role for unit in self.compiled.units)


@dataclass(frozen=True)
class Generation:
    """An accepted configuration. `number` counts up from 1; 0 is the empty one before the first."""

    number: int = 0
    revision: str = ""
    resources: Mapping[Address, Desired] = field(default_factory=dict)

    def dependents(self) -> dict[Address, set[Address]]:
        """For each resource, those that refer to it."""
        found: dict[Address, set[Address]] = {address: set() for address in self.resources}
        for address, desired in self.resources.items():
            for target in desired.dependencies:
                found.setdefault(target, set()).add(address)
        return found


def dependency_order(resources: Iterable[Resource[Any]]) -> list[Resource[Any]]:
    """Referred before referring; by address where the order is free. References are known to be complete and acyclic
    (the document layer has checked). ValueError otherwise."""
    by_address = {resource.address: resource for resource in resources}
    order: list[Resource[Any]] = []
    done: set[Address] = set()
    for start in sorted(by_address):
        stack = [(start, iter(_targets(by_address[start])))]
        path = {start}
        while stack:
            address, targets = stack[-1]
            if address in done:
                stack.pop()
                path.discard(address)
                continue
            target = next((t for t in targets if t not in done), None)
            if target is None:
                done.add(address)
                path.discard(address)
                order.append(by_address[address])
                stack.pop()
            elif target in path or target not in by_address:
                raise ValueError(f"{address} refers to {target}, which is {'a cycle' if target in path else 'missing'}")
            else:
                path.add(target)
                stack.append((target, iter(_targets(by_address[target]))))
    return order


def _targets(resource: Resource[Any]) -> list[Address]:
    return sorted({reference.target for reference in references_of(resource.spec)})
